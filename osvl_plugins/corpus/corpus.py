"""The embedded corpus: pages, their pictures, and search by text and by picture. Read only.

On disk a corpus is a folder with ``manifest.json``, ``pages.jsonl``, ``images/``, ``images.npz``, ``text/`` and
``SOURCES.md``; ``osvl_plugins.corpus.build`` writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from PIL import Image, UnidentifiedImageError

from osvl_plugins.corpus.image_index import MAX_PIXELS, ImageHit, ImageIndex, PictureKey
from osvl_plugins.corpus.page import URL_SCHEME, Page
from osvl_plugins.corpus.text_index import TextHit, TextIndex
from osvl_plugins.errors import CorpusError, ToolError

VERSION = 1
MANIFEST, PAGES, IMAGES, IMAGE_INDEX, TEXT_INDEX = "manifest.json", "pages.jsonl", "images", "images.npz", "text"
MAX_REFERENCE_CHARS = 500


@dataclass(frozen=True)
class Manifest:
    """What was built: the layout's version, a hash of the content, and the pictures that have a twin."""

    version: int
    fingerprint: str
    ambiguous: tuple[PictureKey, ...]
    sources: dict[str, str]
    missing: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a corpus.

        Raises ``CorpusError`` when the folder holds no complete corpus of this version.
        """
        remedy = "`osvl atlas build` makes one"
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if data["version"] != VERSION:
                raise CorpusError(f"{folder}: corpus of version {data['version']}, {VERSION} is needed; {remedy}")
            pairs = tuple((str(page), int(index)) for page, index in data["ambiguous"])
            return cls(VERSION, data["fingerprint"], pairs, data["sources"], data["missing"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{folder}: no corpus there ({error!r}); {remedy}") from error


class Corpus:
    """Pages under ids, with their indexes. Use from several threads is safe; open it once in each process.

    ``folder`` is where the pictures lie.
    """

    def __init__(
        self,
        folder: Path,
        pages: Mapping[str, Page],
        text: TextIndex,
        images: ImageIndex,
        ambiguous: frozenset[PictureKey],
        fingerprint: str,
    ) -> None:
        self._folder = folder
        self._pages = MappingProxyType(dict(pages))
        self._text = text
        self._images = images
        self._ambiguous = ambiguous
        self._fingerprint = fingerprint

    @classmethod
    def open(cls, path: Path | str) -> Corpus:
        """Open a built corpus.

        Raises ``CorpusError`` when the folder holds no complete corpus of this version.
        """
        folder = Path(path)
        manifest = Manifest.read(folder)
        pages = read_pages(folder / PAGES)
        text = TextIndex.open(folder / TEXT_INDEX, pages)
        images = ImageIndex.open(folder / IMAGE_INDEX)
        return cls(folder, pages, text, images, frozenset(manifest.ambiguous), manifest.fingerprint)

    @property
    def folder(self) -> Path:
        """Where the corpus lies on disk."""
        return self._folder

    @property
    def pages(self) -> Mapping[str, Page]:
        """All pages by id."""
        return self._pages

    @property
    def ambiguous_pictures(self) -> frozenset[PictureKey]:
        """Pictures, as (page id, position), that another page's picture is nearly equal to."""
        return self._ambiguous

    @property
    def fingerprint(self) -> str:
        """Hash of the content: equal for corpora with the same pages and pictures."""
        return self._fingerprint

    def page(self, reference: str) -> Page:
        """The page with that id, address, or exact title or alias (case and diacritics do not count).

        Raises ``ToolError("not_found")``, with what may have been meant, when there is none.
        """
        key = reference.strip()[:MAX_REFERENCE_CHARS]
        page = self._pages.get(key.removeprefix(URL_SCHEME).strip("/"))
        if page is not None:
            return page
        named = self._text.titles.find(key)
        if named:
            return self._pages[named[0]]
        raise ToolError("not_found", f"no page {key[:100]!r}{self._hint(key)}")

    def search_text(self, query: str, k: int) -> list[TextHit]:
        """The ``k`` best pages for a text. Raises as ``TextIndex.search``."""
        return self._text.search(query, k)

    def search_image(self, image: Image.Image, k: int) -> list[ImageHit]:
        """The ``k`` pictures most like an image. Raises as ``ImageIndex.search``."""
        return self._images.search(image, k)

    def picture(self, page_id: str, index: int = 0) -> Image.Image:
        """A picture of a page, RGB, read from disk.

        Raises ``ToolError("not_found")`` when there is none, ``CorpusError`` when its file is damaged.
        """
        page = self._pages.get(page_id)
        if page is None or not 0 <= index < len(page.pictures):
            raise ToolError("not_found", f"page {page_id!r} has no picture {index}")
        file = page.pictures[index].file
        try:
            with Image.open(self._folder / IMAGES / file) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise CorpusError(f"{file}: over {MAX_PIXELS} pixels")
                rgb: Image.Image = image.convert("RGB")
                return rgb
        except (OSError, UnidentifiedImageError) as error:
            raise CorpusError(f"{file}: not readable ({error}); build the corpus again") from error

    def derive(self, pages: Iterable[Page]) -> Corpus:
        """A corpus with the same pictures and other pages, searched in memory.

        Raises ``CorpusError`` when an id occurs twice, or a page with a picture of this corpus is not among them.
        """
        listed = list(pages)
        replaced = {page.id: page for page in listed}
        if len(replaced) != len(listed):
            raise CorpusError("derived pages have an id twice")
        gone = [page.id for page in self._pages.values() if page.pictures and page.id not in replaced]
        if gone:
            raise CorpusError(f"derived pages lack {gone[0]!r}, which has a picture; keep the pages of all pictures")
        fingerprint = content_hash(self._fingerprint, replaced.values())
        text = TextIndex.build(replaced)
        return Corpus(self._folder, replaced, text, self._images, self._ambiguous, fingerprint)

    def _hint(self, key: str) -> str:
        try:
            hits = self._text.search(key, 3)
        except ToolError:
            return "; give an address, an id or a title"
        titles = ", ".join(f"{self._pages[hit.page_id].title} ({self._pages[hit.page_id].url})" for hit in hits)
        return f"; did you mean {titles}?" if titles else "; find pages with text_search"


def content_hash(seed: str, pages: Iterable[Page]) -> str:
    """SHA-256 of ``seed`` and the pages in order, as hexadecimal digits."""
    digest = hashlib.sha256(seed.encode())
    for page in pages:
        digest.update(page_line(page).encode())
    return digest.hexdigest()


def page_line(page: Page) -> str:
    """A page as one line of JSON."""
    return json.dumps(asdict(page), ensure_ascii=False, sort_keys=True) + "\n"


def read_pages(file: Path) -> dict[str, Page]:
    """Pages of a ``pages.jsonl``, by id.

    Raises ``CorpusError`` when the file is missing or damaged.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            return {page.id: page for page in (Page.from_dict(json.loads(line)) for line in lines)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{file}: not readable ({error!r}); build the corpus again") from error
