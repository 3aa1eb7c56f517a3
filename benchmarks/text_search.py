"""Text search over many pages: the tool, the index behind it, and tantivy alone on the same index.

    python benchmarks/text_search.py [--pages 100000] [--queries 2000]

The pages are made up: words of a Zipf distribution, about 1.1 KB each, a title of two rare words. A query is a page's
title and two words of its text. tantivy alone parses the same query with the same boosts and reads the same ids.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tantivy
from rich.console import Console
from rich.table import Table

from osvl_plugins.backends.embedded import CorpusText
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.image_index import ImageIndex
from osvl_plugins.corpus.page import Page
from osvl_plugins.corpus.text_index import ANALYSER, BOOSTS, TextIndex, _analyser
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.passages import SearchSettings
from osvl_plugins.tools.text_search import TextSearch
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import ToolCall

LIMIT = 1.2
K = 5
ROUNDS = 5


def made_up(count: int, seed: int = 0) -> dict[str, Page]:
    """``count`` pages of about 1.1 KB."""
    chance = np.random.default_rng(seed)
    letters = random.Random(seed)
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=letters.randint(3, 9))) for _ in range(50_000)]
    ranks = np.minimum(chance.zipf(1.3, size=(count, 170)), len(words)) - 1
    names = chance.integers(1000, len(words), size=(count, 2))
    pages = {}
    for number in range(count):
        title = " ".join(words[index] for index in names[number])
        text = " ".join(words[index] for index in ranks[number])
        pages[f"p{number}"] = Page(f"p{number}", title, "thing", text[:300], body=text[300:])
    return pages


def seconds(function: Callable[[str], object], queries: Sequence[str]) -> list[float]:
    """Of each query."""
    taken = []
    for query in queries:
        start = time.perf_counter()
        function(query)
        taken.append(time.perf_counter() - start)
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Text search against tantivy alone.")
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2000)
    options = parser.parse_args()
    pages = made_up(options.pages)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        TextIndex.build(pages, Path(folder))
        built = time.perf_counter() - start
        text = TextIndex.open(Path(folder), pages)
        raw = tantivy.Index.open(folder)
        raw.register_tokenizer(ANALYSER, _analyser())
        corpus = Corpus(Path(folder), pages, text, ImageIndex.build({}), frozenset(), "")
        tools = ToolSet([TextSearch(CorpusText(corpus), SearchSettings())], CallSettings())
        context = ToolContext(ImageStore(ImageSettings()))
        searcher = raw.searcher()
        loop = asyncio.new_event_loop()

        def alone(query: str) -> object:
            parsed, _ = raw.parse_query_lenient(query, list(BOOSTS), field_boosts=BOOSTS)
            return [searcher.doc(address)["id"][0] for _, address in searcher.search(parsed, K).hits]

        def index(query: str) -> object:
            return text.search(query, K)

        def tool(query: str) -> object:
            return loop.run_until_complete(tools.run(ToolCall("text_search", {"q": query}), context))

        chance = random.Random(1)
        chosen = chance.sample(list(pages.values()), options.queries)
        queries = [f"{page.title} {' '.join(chance.sample(page.lead.split(), 2))}" for page in chosen]
        ways = {"tantivy alone": alone, "TextIndex.search": index, "text_search through the tool set": tool}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                taken[name] += seconds(way, queries[: max(1, options.queries // ROUNDS)])
        found = sum(text.search(query, K)[0].page_id == page.id for query, page in zip(queries, chosen, strict=True))
    base = statistics.mean(taken["tantivy alone"])
    table = Table(
        "", "ms mean", "p50", "p95", "ratio", f"limit {LIMIT}",
        title=f"{len(pages):,} pages, index built in {built:.1f} s, first hit right {found / len(queries):.3f}",
    )  # fmt: skip
    for name, values in taken.items():
        ordered = sorted(value * 1000 for value in values)
        ratio = statistics.mean(values) / base
        table.add_row(
            name,
            f"{statistics.mean(ordered):.3f}",
            f"{ordered[len(ordered) // 2]:.3f}",
            f"{ordered[int(len(ordered) * 0.95)]:.3f}",
            f"{ratio:.2f}",
            "within" if ratio <= LIMIT else "over",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
