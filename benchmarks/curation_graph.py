"""The graph of the data pipeline: reading a dump, building a graph of English Wikipedia's size, drawing paths from it.

    python benchmarks/curation_graph.py .cache/sources [--nodes 7000000] [--edges 250000000] [--paths 1000000]

The dump repeats the real articles of the sample under new titles, over 200 MB of it; expat passes over the same bytes
for comparison. The large graph is made up (in-degrees and out-degrees of a power law) and written through the store's
own writer; it takes 9.3 GB below the folder for temporary files, removed at the end. Paths are drawn under the
published rules, by two processes at once. Rates are by CPU time unless they say otherwise, as cores may be shared.
"""

from __future__ import annotations

import argparse
import bz2
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from osvl_plugins.curation.graph.article import Article, NodeFlag
from osvl_plugins.curation.graph.assemble import assemble
from osvl_plugins.curation.graph.build import build_dump
from osvl_plugins.curation.graph.dump import Piece, read_piece, read_wiki
from osvl_plugins.curation.graph.files import Manifest, Origin
from osvl_plugins.curation.graph.names import Blob, string_hashes
from osvl_plugins.curation.graph.pages import page_record
from osvl_plugins.curation.graph.part import OWN_TITLE, Part
from osvl_plugins.curation.graph.rules import PathRules
from osvl_plugins.curation.graph.sample import wiki_sample
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.graph.walks import Walker
from osvl_plugins.curation.stages.paths import shard_generator

ARTICLES_A_PART = 50_000
DUMP_BYTES = 200_000_000
LIMIT_PATHS, LIMIT_GB = 50_000, 3.0
SPREAD = 10 / 3
"""A target's rank is n · uˢᵖʳᵉᵃᵈ: in-degrees fall with the rank to the power −0.7, and some hundred are hubs."""
RELATIONS = 200
KINDS = (NodeFlag.LIST, NodeFlag.DISAMBIGUATION, NodeFlag.DATE)
ANCHORS = 3_000_000


def repeated_dump(sample: Path, out: Path) -> int:
    """A plain dump of over 200 MB, whose articles are the sample's under new titles; returns its size."""
    text = bz2.decompress(sample.read_bytes())
    head, *pages = text.split(b"  <page>\n")
    pages[-1] = pages[-1].partition(b"</mediawiki>")[0]
    with out.open("wb") as dump:
        dump.write(head)
        number = 0
        while dump.tell() < DUMP_BYTES:
            number += 1
            for page in pages:
                title, rest = page.partition(b"</title>")[::2]
                numbered = rest.replace(b"<id>", b"<id>%d00000" % number, 1)
                again = title + (b" (copy %d)" % number) + b"</title>" + numbered
                dump.write(b"  <page>\n" + (page if number == 1 else again))
        dump.write(b"</mediawiki>\n")
        return dump.tell()


def seconds(function: Callable[[], object]) -> float:
    """Of CPU, of one call in this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def expat_pass(dump: Path) -> None:
    """Every element and all text, thrown away."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: None
    parser.CharacterDataHandler = lambda text: None
    with dump.open("rb") as content:
        parser.ParseFile(content)


def full_grammar(sample: Path) -> float | None:
    """MB/s of mwparserfromhell over some of the sample's text, or None when it is not installed."""
    try:
        import mwparserfromhell
    except ImportError:
        return None
    text = bz2.decompress(sample.read_bytes()).decode()[:1_000_000]
    return len(text.encode()) / 1e6 / seconds(lambda: mwparserfromhell.parse(text).filter_wikilinks())


def reading(sample: Path, folder: Path) -> Table:
    """Rates of reading a dump."""
    dump = folder / "dump.xml"
    size = repeated_dump(sample, dump)
    wiki = read_wiki(dump)
    table = Table("", "MB/s", "of expat", title=f"a dump of {size / 1e6:.0f} MB")
    base = size / 1e6 / seconds(lambda: expat_pass(dump))
    table.add_row("expat, one process", f"{base:.0f}", "1")
    alone = size / 1e6 / seconds(lambda: sum(1 for _ in read_piece(Piece(dump, 0, size), wiki)))
    table.add_row("articles, links, infoboxes, one process", f"{alone:.0f}", f"{alone / base:.2f}")
    start = time.perf_counter()
    build_dump([dump], folder / "small", workers=2)
    both = size / 1e6 / (time.perf_counter() - start)
    table.add_row("the whole build, two processes, by the clock", f"{both:.0f}", f"{both / base:.2f}")
    dump.unlink()
    grammar = full_grammar(sample)
    if grammar is not None:
        table.add_row("mwparserfromhell, links alone", f"{grammar:.1f}", f"{grammar / base:.3f}")
    return table


class Made:
    """A made-up graph, part by part."""

    def __init__(self, nodes: int, edges: int) -> None:
        self._nodes = nodes
        self._mean = edges / nodes
        self._hashes = string_hashes(f"Article {number}" for number in range(nodes))
        self._record = page_record(Article("0", "Article", "thing", "An article is a thing."))
        texts = [f"what is called {number} here" for number in range(ANCHORS)]
        self._anchors, self._anchor_hashes = Blob.of_texts(texts), string_hashes(texts)
        self._chance = np.random.default_rng(0)

    def part(self, first: int) -> Part:
        """The articles from ``first`` on."""
        chance = self._chance
        count = min(ARTICLES_A_PART, self._nodes - first)
        link_counts = np.minimum(chance.lognormal(np.log(self._mean) - 0.5, 1.0, count), 5000).astype(np.int32)
        fact_counts = (chance.random(count) < 0.5).astype(np.int32) * 3
        links, facts = int(link_counts.sum()), int(fact_counts.sum())
        ranks = (self._nodes * chance.random(links + facts) ** SPREAD).astype(np.int64)
        # A stride without common factors scatters the large ones over all nodes.
        used, local = np.unique(ranks * 2_654_435_761 % self._nodes, return_inverse=True)
        anchors = np.full(links, OWN_TITLE)
        other = chance.random(links) < 0.4
        chosen = (ANCHORS * chance.random(int(other.sum())) ** (4 * SPREAD)).astype(np.int64)
        texts, anchors[other] = np.unique(chosen, return_inverse=True)
        flags = self._flags(fact_counts)
        pictured = (flags & NodeFlag.PICTURE) != 0
        names = [str(number) for number in range(first, first + count)]
        redirects = [f"Redirect {name}" for name in names[::2]]
        return Part(
            ids=Blob.of_texts(names),
            titles=Blob.of_texts(f"Article {name}" for name in names),
            title_hashes=self._hashes[first : first + count],
            id_hashes=string_hashes(names),
            pages=Blob.of([self._record] * count),
            flags=flags,
            image_hashes=np.zeros(count, np.uint64),
            image_sizes=(chance.integers(200, 2000, (count, 2)) * pictured[:, None]).astype(np.int32),
            redirects=Blob.of_texts(redirects),
            redirect_hashes=string_hashes(redirects),
            redirect_targets=self._hashes[first : first + count : 2],
            redirect_partial=np.zeros(len(redirects), np.bool_),
            targets=self._hashes[used],
            link_counts=link_counts,
            link_targets=local[:links].astype(np.int32),
            link_anchors=anchors.astype(np.int32),
            link_positions=chance.integers(0, 50_000, links).astype(np.int32),
            anchors=self._anchors.take(texts),
            anchor_hashes=self._anchor_hashes[texts],
            fact_counts=fact_counts,
            fact_targets=local[links:].astype(np.int32),
            fact_relations=(np.arange(facts) % 3 + 3 * chance.integers(0, RELATIONS // 3, facts)).astype(np.int32),
            relations=Blob.of_texts(f"relation {number}" for number in range(RELATIONS)),
            rejects=Blob.of([]),
        )

    def _flags(self, fact_counts: NDArray[np.int32]) -> NDArray[np.uint16]:
        kind = self._chance.random(len(fact_counts))
        kinds = np.select([kind < 0.02, kind < 0.06, kind < 0.07], [int(flag) for flag in KINDS], 0)
        pictures = np.where(self._chance.random(len(kind)) < 0.4, int(NodeFlag.PICTURE), 0)
        return (kinds | pictures | np.where(fact_counts > 0, int(NodeFlag.INFOBOX), 0)).astype(np.uint16)


def made_parts(nodes: int, edges: int, folder: Path) -> list[Path]:
    """The parts of a made-up graph, as files."""
    made = Made(nodes, edges)
    files = []
    for first in range(0, nodes, ARTICLES_A_PART):
        files.append(folder / f"{first:08}")
        made.part(first).save(files[-1])
    return files


class Built(NamedTuple):
    """Cost of a build."""

    manifest: Manifest
    seconds: float
    peak_gb: float


def build(parts: list[Path], out: Path, scratch: Path) -> Built:
    """Join parts, in a process of its own so that its memory can be told."""
    start = time.perf_counter()
    manifest = assemble(parts, out, scratch, Origin("made up", "CC0-1.0"))
    return Built(manifest, time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


class Drawn(NamedTuple):
    """What one process drew, and the memory that it held then, in GB: all of it, and its own."""

    lengths: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    anchors: int
    opened_s: float
    draw_s: float
    resident: float
    own: float


def draw(folder: Path, shard: int, count: int) -> Drawn:
    """Draw paths under the published rules."""
    start = time.perf_counter()
    walker = Walker(Graph.open(folder), PathRules())
    opened = time.perf_counter() - start
    start = time.process_time()
    paths = walker.draw(shard_generator(0, shard), count)
    drawn = time.process_time() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, own = (int(status[name].split()[0]) / 2**20 for name in ("VmRSS", "RssAnon"))
    side = walker.held_out[paths.nodes[:, 0]]
    return Drawn(paths.lengths, side, len(walker.anchors), opened, drawn, resident, own)


def large(folder: Path, nodes: int, edges: int, count: int) -> Iterator[Table]:
    """The made-up graph, and paths through it; each step in processes of its own, so that its memory can be told."""
    parts, scratch, out = (folder / name for name in ("parts", "scratch", "graph"))
    for made in (parts, scratch, out):
        made.mkdir()
    fresh = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        files = pool.submit(made_parts, nodes, edges, parts).result()
    parts_gb = sum(file.stat().st_size for file in files) / 1e9
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        built = pool.submit(build, files, out, scratch).result()
    manifest = built.manifest
    size, texts = (sum(file.stat().st_size for file in out.glob(name)) / 1e9 for name in ("*", "pages.text"))
    title = f"{manifest.nodes:,} nodes, {manifest.edges:,} links, {manifest.facts:,} labelled edges"
    table = Table("", "", title=title)
    rate = manifest.edges / built.seconds / 1e6
    table.add_row("joining the parts, one process", f"{built.seconds:.0f} s, {rate:.1f} million links a second")
    table.add_row("the parts, removed as they are joined", f"{parts_gb:.2f} GB")
    table.add_row("its peak memory", f"{built.peak_gb:.2f} GB")
    table.add_row("size on disk", f"{size:.2f} GB, of which {texts:.2f} GB are page texts (made up, short)")
    yield table
    with ProcessPoolExecutor(2, mp_context=fresh) as pool:
        # Each once before the clock starts, so that neither waits for the other's start.
        list(pool.map(abs, [0, 0]))
        drawn = list(pool.map(draw, [out] * 2, range(2), [count // 2] * 2))
    lengths, side = (np.concatenate([each[place] for each in drawn]) for place in (0, 1))
    rate = sum((each.lengths > 0).sum() / each.draw_s for each in drawn)
    resident = max(each.resident for each in drawn)
    table = Table("", "", "limit", title="paths under the published rules, two processes")
    table.add_row("paths a second", f"{rate:,.0f}", f"at least {LIMIT_PATHS:,}")
    table.add_row("memory of a process with the mapped files", f"{resident:.2f} GB", f"at most {LIMIT_GB} GB")
    table.add_row("of which its own", f"{max(each.own for each in drawn):.2f} GB")
    table.add_row("opening the graph and weighing its nodes", f"{max(each.opened_s for each in drawn):.1f} s")
    table.add_row("anchors", f"{drawn[0].anchors:,}")
    for name, chosen in (("found on the training side", ~side), ("found on the held-out side", side)):
        table.add_row(name, f"{(lengths[chosen] > 0).mean():.3f} of {chosen.sum():,}")
    table.add_row("hops on average", f"{lengths[lengths > 0].mean():.2f}")
    yield table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The graph of the data pipeline.")
    parser.add_argument("sources", type=Path, help="where fetched packages are kept")
    parser.add_argument("--nodes", type=int, default=7_000_000)
    parser.add_argument("--edges", type=int, default=265_000_000, help="before repeated ones are dropped")
    parser.add_argument("--paths", type=int, default=1_000_000)
    options = parser.parse_args()
    console = Console()
    sample = wiki_sample(options.sources)
    with tempfile.TemporaryDirectory(prefix="curation-graph-") as folder:
        console.print(reading(sample, Path(folder)))
        for table in large(Path(folder), options.nodes, options.edges, options.paths):
            console.print(table)


if __name__ == "__main__":
    main()
