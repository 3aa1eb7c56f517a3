"""Building a graph: from a Wikimedia dump, a ZIM archive, or the embedded corpus.

Articles are read by several processes, each piece to a file of its own; then the pieces are joined in their order, so
that the graph does not depend on how many processes there were. It is written beside its place and moved there whole.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as Late
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import TypeVar

from osvl_plugins.corpus.corpus import IMAGES as CORPUS_IMAGES
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.graph.article import Article, Redirect
from osvl_plugins.curation.graph.assemble import assemble
from osvl_plugins.curation.graph.atlas import corpus_articles
from osvl_plugins.curation.graph.dump import Piece, Wiki, pieces, read_piece, read_wiki
from osvl_plugins.curation.graph.files import IMAGES, MANIFEST, Manifest, Origin, sync
from osvl_plugins.curation.graph.part import PartMaker
from osvl_plugins.curation.graph.relink import LinkTables
from osvl_plugins.curation.graph.tables import ImageSizes
from osvl_plugins.curation.graph.wikitext import Rejected
from osvl_plugins.curation.graph.zim import Entries, read_entries, zim_name, zim_pieces
from osvl_plugins.errors import CorpusError

P = TypeVar("P")
Progress = Callable[[str], None]

WIKIPEDIA_LICENCE = "CC-BY-SA-4.0"
PIECE_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Extras:
    """What a dump may be read with, all optional.

    ``links``: the wiki's link tables, which then say what links to what. ``image_tables``: its table ``image`` and that
    of Wikimedia Commons, which know how large pictures are. ``images``: a folder with pictures under their names
    (``Eiffel_Tower.jpg``), which ``Graph.picture`` reads.
    """

    links: LinkTables | None = None
    image_tables: tuple[Path, ...] = ()
    images: Path | None = None


def build_dump(
    files: Sequence[Path],
    out: Path,
    extras: Extras = Extras(),
    workers: int = 2,
    licence: str = WIKIPEDIA_LICENCE,
    progress: Progress = lambda message: None,
) -> Manifest:
    """The graph of a Wikimedia dump, ``pages-articles`` as XML, plain or bz2, in one or several files, at ``out``.

    A graph that is there is replaced. Raises ``CorpusError`` when a file is missing or damaged, two articles share an
    id, or ``out`` is something else.
    """
    for file in files:
        if not file.is_file():
            raise CorpusError(f"{file}: no such file; give the files of a pages-articles dump")
    if not files:
        raise CorpusError("no dump file was given")
    wiki, *_ = [read_wiki(file) for file in files]
    origin = Origin(wiki.name, licence, links="tables" if extras.links else "text")
    sizes = ImageSizes(extras.image_tables) if extras.image_tables else None
    with _staged(out) as (staged, scratch):
        given = (piece for file in files for piece in pieces(file))
        parts = _parts(partial(_dump_part, wiki), given, scratch, workers, progress)
        progress(f"joining {len(parts)} parts")
        manifest = assemble(parts, staged, scratch, origin, extras.links, sizes)
        _link_images(staged, extras.images)
    return manifest


def build_zim(
    file: Path,
    out: Path,
    workers: int = 2,
    licence: str = WIKIPEDIA_LICENCE,
    progress: Progress = lambda message: None,
) -> Manifest:
    """The graph of a ZIM archive at ``out``; its pictures are read from the archive where it lies.

    A graph that is there is replaced. Raises ``CorpusError`` when libzim or lxml is missing, the file is no archive,
    or ``out`` is something else.
    """
    name = zim_name(file)
    with _staged(out) as (staged, scratch):
        parts = _parts(partial(_zim_part, name), zim_pieces(file), scratch, workers, progress)
        progress(f"joining {len(parts)} parts")
        manifest = assemble(parts, staged, scratch, Origin(name, licence))
        _link_images(staged, file)
    return manifest


def build_atlas_graph(corpus: Corpus, out: Path) -> Manifest:
    """The graph of the embedded corpus at ``out``; its pictures are read from the corpus where it lies.

    A graph that is there is replaced. Raises ``CorpusError`` when ``out`` is something else.
    """
    with _staged(out) as (staged, scratch):
        file = scratch / "part"
        _write_part(corpus_articles(corpus), file)
        licence = "as listed in the corpus's SOURCES.md"
        manifest = assemble([file], staged, scratch, Origin("atlas", licence))
        _link_images(staged, corpus.folder / CORPUS_IMAGES)
    return manifest


def _dump_part(wiki: Wiki, piece: Piece | bytes, file: Path) -> int:
    return _write_part(read_piece(piece, wiki), file)


def _zim_part(name: str, piece: Entries, file: Path) -> int:
    return _write_part(read_entries(piece, name), file)


def _write_part(items: Iterable[Article | Redirect | Rejected], file: Path) -> int:
    maker = PartMaker()
    for item in items:
        maker.add(item)
    part = maker.make()
    part.save(file)
    return len(part.flags)


def _parts(
    write: Callable[[P, Path], int], given: Iterable[P], scratch: Path, workers: int, progress: Progress
) -> list[Path]:
    """The part of each piece, in the order of the pieces; a few pieces wait at a time."""
    files: list[Path] = []
    waiting: deque[Future[int]] = deque()
    articles = 0
    others = set(active_children())
    with ProcessPoolExecutor(workers) as pool:
        try:
            for piece in given:
                files.append(scratch / f"part-{len(files):06}")
                waiting.append(pool.submit(write, piece, files[-1]))
                if len(waiting) > 2 * workers:
                    articles += waiting.popleft().result(PIECE_TIMEOUT_S)
                    progress(f"{articles:,} articles read")
            while waiting:
                articles += waiting.popleft().result(PIECE_TIMEOUT_S)
        except (BrokenProcessPool, Late) as error:
            # The executor would wait for a process that hangs.
            for process in set(active_children()) - others:
                process.kill()
            raise CorpusError(f"a process that reads articles died or hangs ({error!r}); use fewer workers") from error
    return files


def _link_images(staged: Path, images: Path | None) -> None:
    if images is not None:
        (staged / IMAGES).symlink_to(images.absolute())


@contextmanager
def _staged(out: Path) -> Iterator[tuple[Path, Path]]:
    """(folder to write the graph to, folder for temporary files); the first becomes ``out`` at the end."""
    if out.exists() and not (out / MANIFEST).is_file():
        raise CorpusError(f"{out}: there is something that is no graph; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        staged, scratch = Path(temporary) / "graph", Path(temporary) / "scratch"
        staged.mkdir()
        scratch.mkdir()
        yield staged, scratch
        sync(staged)
        if out.exists():
            out.rename(Path(temporary) / "replaced")
        staged.rename(out)
