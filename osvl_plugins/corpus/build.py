"""Building the embedded corpus "atlas": fetch, read, store pictures, index."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from osvl_plugins.corpus.corpus import (
    IMAGE_INDEX,
    IMAGES,
    MANIFEST,
    PAGES,
    TEXT_INDEX,
    VERSION,
    Manifest,
    content_hash,
    page_line,
    read_pages,
)
from osvl_plugins.corpus.countries import add_countries
from osvl_plugins.corpus.credits import SOURCES_FILE, sources_table
from osvl_plugins.corpus.explored import add_animals, add_monuments
from osvl_plugins.corpus.histories import add_histories
from osvl_plugins.corpus.image_index import Features, ImageIndex, PictureKey, describe
from osvl_plugins.corpus.page import Page, Picture
from osvl_plugins.corpus.paintings import add_paintings
from osvl_plugins.corpus.sources import SOURCES, fetch, fetched_version
from osvl_plugins.corpus.text_index import TextIndex
from osvl_plugins.corpus.world import SourcePicture, World
from osvl_plugins.errors import CorpusError

Progress = Callable[[str], None]
Builder = Callable[[Path, World], None]

# In this order: later builders link to pages of earlier ones.
BUILDERS: dict[str, tuple[Builder, ...]] = {
    "world-countries": (add_countries,),
    "gcompris-qt-data": (add_monuments, add_animals, add_paintings),
    "freeciv-data": (add_histories,),
}
MAX_THREADS = 4
JPEG_QUALITY = 90


@dataclass(frozen=True)
class BuildReport:
    """What a corpus holds. ``sources`` gives the version of each, ``missing`` the reason of each that failed."""

    pages: int
    pictures: int
    linked_facts: int
    sources: dict[str, str]
    missing: dict[str, str]
    reused: bool


def build_atlas(out: Path, cache: Path, progress: Progress = lambda message: None) -> BuildReport:
    """Build the corpus at ``out``, downloading below ``cache``; a complete one of this version is left as it is.

    One that lacks a source is built again. ``out`` is replaced at once when everything is written.

    Raises ``CorpusError`` when no source can be had or the content is not as expected.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(out.parent / f".{out.name}.lock"):
        manifest = _complete(out)
        if manifest is not None:
            progress(f"{out} is complete")
            return _report(manifest, read_pages(out / PAGES), reused=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            built = Path(scratch) / "built"
            manifest, pages = _build(built, cache, progress)
            if out.exists():
                out.rename(Path(scratch) / "replaced")
            built.rename(out)
    return _report(manifest, pages, reused=False)


def _build(folder: Path, cache: Path, progress: Progress) -> tuple[Manifest, dict[str, Page]]:
    world = World()
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for source in SOURCES:
        progress(f"fetching {source.name}")
        try:
            unpacked = fetch(source, cache)
        except CorpusError as error:
            missing[source.name] = str(error)
            progress(f"without {error}")
            continue
        progress(f"reading {source.name}")
        for builder in BUILDERS[source.name]:
            builder(unpacked, world)
        versions[source.name] = fetched_version(unpacked)
    if not world.pictures:
        raise CorpusError("no source with pictures could be fetched: " + "; ".join(missing.values()))
    (folder / IMAGES).mkdir(parents=True)
    (folder / TEXT_INDEX).mkdir()
    progress(f"storing {sum(map(len, world.pictures.values()))} pictures")
    pages, features, picture_hash = _store(world, folder / IMAGES)
    (folder / PAGES).write_text("".join(map(page_line, pages.values())), encoding="utf-8")
    progress("indexing")
    images = ImageIndex.build(features)
    images.save(folder / IMAGE_INDEX)
    TextIndex.build(pages, folder / TEXT_INDEX)
    used = [source for source in SOURCES if source.name in versions]
    table = sources_table(used, versions, pages, world.pictures)
    (folder / SOURCES_FILE).write_text(table, encoding="utf-8")
    fingerprint = content_hash(picture_hash, pages.values())
    manifest = Manifest(VERSION, fingerprint, tuple(sorted(images.ambiguous())), versions, missing)
    # Last, because its presence says that the corpus is complete.
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), encoding="utf-8")
    return manifest, pages


def _store(world: World, folder: Path) -> tuple[dict[str, Page], dict[PictureKey, Features], str]:
    jobs = [(page_id, at, given) for page_id, pictures in world.pictures.items() for at, given in enumerate(pictures)]

    def store(job: tuple[str, int, SourcePicture]) -> tuple[PictureKey, Picture, Features, bytes]:
        page_id, at, given = job
        file = folder / f"{page_id}-{at + 1}.{'png' if given.flat else 'jpg'}"
        if given.flat:
            given.image.save(file, optimize=True)
        else:
            given.image.save(file, quality=JPEG_QUALITY)
        # Features come from the stored file, which is what readers see.
        with Image.open(file) as stored:
            features = describe(stored)
        picture = Picture(file.name, given.image.width, given.image.height, given.caption)
        return (page_id, at), picture, features, file.read_bytes()

    digest = hashlib.sha256()
    features: dict[PictureKey, Features] = {}
    pages = dict(world.pages)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        for key, picture, described, data in pool.map(store, jobs):
            features[key] = described
            digest.update(data)
            page = pages[key[0]]
            pages[page.id] = replace(page, pictures=(*page.pictures, picture))
    return pages, features, digest.hexdigest()


def _complete(out: Path) -> Manifest | None:
    try:
        manifest = Manifest.read(out)
    except CorpusError:
        return None
    return manifest if not manifest.missing else None


def _report(manifest: Manifest, pages: Mapping[str, Page], reused: bool) -> BuildReport:
    return BuildReport(
        pages=len(pages),
        pictures=sum(len(page.pictures) for page in pages.values()),
        linked_facts=sum(fact.target is not None for page in pages.values() for fact in page.facts),
        sources=manifest.sources,
        missing=manifest.missing,
        reused=reused,
    )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    # Two processes that build the same corpus take turns; the second finds it complete.
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
