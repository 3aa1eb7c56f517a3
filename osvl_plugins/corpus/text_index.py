"""Full-text search over pages: BM25 by tantivy, with exact names first."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import tantivy

from osvl_plugins.corpus.page import Page
from osvl_plugins.corpus.world import fold
from osvl_plugins.errors import CorpusError, ToolError

BOOSTS = {"title": 3.0, "aliases": 2.0, "lead": 1.5, "facts": 1.0, "body": 1.0}
ANALYSER = "folded"
MAX_QUERY_CHARS = 1000
MAX_QUERY_WORDS = 32
WRITER_BYTES = 15_000_000


class TextHit(NamedTuple):
    """A page that matches a query. ``score`` is comparable within one result only."""

    page_id: str
    score: float


class Titles:
    """Pages by exact title or alias, without regard to case and diacritics."""

    def __init__(self, pages: Iterable[Page]) -> None:
        titles: dict[str, list[str]] = defaultdict(list)
        aliases: dict[str, list[str]] = defaultdict(list)
        for page in pages:
            titles[fold(page.title)].append(page.id)
            for alias in page.aliases:
                aliases[fold(alias)].append(page.id)
        # A title goes before an alias: "Georgia" is first of all the page of that title.
        self._ids = {
            key: tuple(dict.fromkeys([*titles.get(key, []), *aliases.get(key, [])])) for key in {*titles, *aliases}
        }

    def find(self, name: str) -> tuple[str, ...]:
        """Ids of the pages called ``name``, those with that title first."""
        return self._ids.get(fold(name), ())


class TextIndex:
    """A tantivy index and the exact names of its pages. Reading is safe from several threads and processes."""

    def __init__(self, index: tantivy.Index, titles: Titles) -> None:
        index.register_tokenizer(ANALYSER, _analyser())
        index.config_reader(reload_policy="manual")
        index.reload()
        self._index = index
        self._titles = titles

    @classmethod
    def build(cls, pages: Mapping[str, Page], folder: Path | None = None) -> TextIndex:
        """Index ``pages`` in memory, or in an existing empty ``folder``."""
        index = tantivy.Index(_schema(), path=str(folder)) if folder is not None else tantivy.Index(_schema())
        index.register_tokenizer(ANALYSER, _analyser())
        writer = index.writer(WRITER_BYTES, num_threads=1)
        for page in pages.values():
            writer.add_document(
                tantivy.Document(
                    id=[page.id],
                    title=[page.title],
                    aliases=list(page.aliases),
                    lead=[page.lead],
                    facts=[page.fact_box],
                    body=[page.body],
                )
            )
        writer.commit()
        return cls(index, Titles(pages.values()))

    @classmethod
    def open(cls, folder: Path, pages: Mapping[str, Page]) -> TextIndex:
        """Open what ``build`` wrote for the same ``pages``.

        Raises ``CorpusError`` when the folder holds no readable index.
        """
        try:
            return cls(tantivy.Index.open(str(folder)), Titles(pages.values()))
        except (ValueError, OSError) as error:
            raise CorpusError(f"{folder}: no readable text index ({error}); build the corpus again") from error

    @property
    def titles(self) -> Titles:
        """Exact names of the pages."""
        return self._titles

    def search(self, query: str, k: int) -> list[TextHit]:
        """The ``k`` best pages for any text, best first; a page whose title or alias is the query comes first.

        Raises ``ToolError("bad_arguments")`` when the query has no word, is over 1,000 characters, or ``k`` is
        not positive.
        """
        words = _words(query, k)
        # Lower-case words only: nothing in them is query syntax.
        parsed, _ = self._index.parse_query_lenient(" ".join(words), list(BOOSTS), field_boosts=BOOSTS)
        searcher = self._index.searcher()
        exact = self._titles.find(query)
        found = searcher.search(parsed, k + len(exact)).hits
        scored = [(str(searcher.doc(address)["id"][0]), float(score)) for score, address in found]
        top = scored[0][1] if scored else 0.0
        hits = [TextHit(page_id, top + len(exact) - rank) for rank, page_id in enumerate(exact)]
        hits += [TextHit(page_id, score) for page_id, score in scored if page_id not in exact]
        return hits[:k]


def _words(query: str, k: int) -> list[str]:
    if k < 1:
        raise ToolError("bad_arguments", f"k must be at least 1, not {k}")
    if len(query) > MAX_QUERY_CHARS:
        raise ToolError("bad_arguments", f"the query has {len(query)} characters; at most {MAX_QUERY_CHARS}")
    words = re.findall(r"[^\W_]+", fold(query))
    if not words:
        raise ToolError("bad_arguments", "the query is empty; give at least one word")
    return words[:MAX_QUERY_WORDS]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    for name in BOOSTS:
        builder.add_text_field(name, stored=False, tokenizer_name=ANALYSER)
    return builder.build()


def _analyser() -> tantivy.TextAnalyzer:
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.ascii_fold())
        .build()
    )
