"""Articles of a ZIM archive, the form in which Kiwix publishes wikis: rendered pages instead of wikitext.

Needs libzim and lxml. An article's id is its path in the archive, and its pictures are entries of the archive.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from osvl_plugins.corpus.page import Picture
from osvl_plugins.curation.graph.article import Article, ArticleFact, ArticleLink, NodeFlag, Redirect
from osvl_plugins.curation.graph.infobox import MAX_FACTS, MAX_VALUE_CHARS
from osvl_plugins.curation.graph.kinds import kind_flags
from osvl_plugins.curation.graph.names import capitalised
from osvl_plugins.curation.graph.pictures import open_zim, picture_size, zim_bytes
from osvl_plugins.curation.graph.wikitext import MAX_ANCHOR_CHARS, MAX_LEAD_CHARS, Rejected
from osvl_plugins.errors import CorpusError

MAX_HTML_BYTES = 16 * 2**20
MAX_REFERENCE_CHARS = 2_000
MIN_PICTURE_PIXELS = 64
"""Smaller ones are icons."""

_HTML = "text/html"
_NAMESPACE = re.compile(r"^[AC]/")
"""Archives of older versions keep articles below "A"."""


class Entries(NamedTuple):
    """Entries ``start`` to ``stop`` of an archive, in the order of their paths."""

    file: Path
    start: int
    stop: int


def zim_pieces(file: Path, entries: int = 5_000) -> list[Entries]:
    """An archive in pieces for ``read_entries``.

    Raises ``CorpusError`` when libzim is missing or the file is no archive.
    """
    count = open_zim(file).all_entry_count
    return [Entries(file, start, min(start + entries, count)) for start in range(0, count, entries)]


def zim_name(file: Path) -> str:
    """The name that an archive gives itself, as ``wikipedia_en_all``."""
    archive = open_zim(file)
    return str(archive.get_metadata("Name").decode()) if "Name" in archive.metadata_keys else file.stem


def read_entries(piece: Entries, source: str) -> Iterator[Article | Redirect | Rejected]:
    """The articles and redirects of a piece, and what was not taken; ``source`` is the archive's name."""
    archive = open_zim(piece.file)
    for number in range(piece.start, piece.stop):
        entry = archive._get_entry_by_id(number)
        if entry.is_redirect:
            yield Redirect(title_of(entry.path), title_of(entry.get_redirect_entry().path))
            continue
        item = entry.get_item()
        if item.mimetype.partition(";")[0] != _HTML:
            continue
        if item.size > MAX_HTML_BYTES:
            yield Rejected(entry.title, "too_long")
            continue
        yield read_html(entry.path, bytes(item.content), archive, source)


def title_of(path: str) -> str:
    """The title under which a path of the archive is linked: ``"A/Eiffel_Tower"`` → ``"Eiffel Tower"``."""
    return capitalised(_NAMESPACE.sub("", path).replace("_", " ").strip())


def read_html(path: str, content: bytes, archive: Any, source: str) -> Article | Rejected:
    """The article of a rendered page; ``archive`` is asked for the size of its lead picture.

    Raises ``CorpusError`` when lxml is missing.
    """
    title = title_of(path)
    root = _parsed(content)
    if root is None or not title:
        return Rejected(title, "no_html" if title else "no_title")
    for element in root.xpath("//script|//style|//sup[contains(@class,'reference')]"):
        element.drop_tree()
    boxes = root.xpath("//table[contains(concat(' ', @class), ' infobox')]")
    links = _links(root, path)
    facts = _facts(boxes[0], path) if boxes else ()
    picture = _picture([*boxes[:1], root], path, archive, title)
    flags = kind_flags(title)
    flags |= NodeFlag.INFOBOX if facts else NodeFlag(0)
    flags |= NodeFlag.PICTURE if picture else NodeFlag(0)
    pictures = (picture,) if picture else ()
    return Article(path, title, "article", _lead(root), facts, links, flags, pictures, source=source)


def _parsed(content: bytes) -> Any:
    try:
        from lxml import etree, html
    except ImportError as error:
        raise CorpusError("ZIM archives need lxml: pip install 'osvl-plugins[zim]'") from error
    try:
        return html.document_fromstring(content, parser=html.HTMLParser(encoding="utf-8"))
    except (ValueError, etree.LxmlError):
        return None


def _links(root: Any, path: str) -> tuple[ArticleLink, ...]:
    found: dict[str, ArticleLink] = {}
    position = 0
    for element in root.iter():
        if element.tag == "a":
            title = _linked(element, path)
            anchor = " ".join(element.text_content().split())[:MAX_ANCHOR_CHARS]
            if title:
                found.setdefault(title, ArticleLink(title, anchor or title, position))
        # Comments have a text that is not shown; what follows an element is counted a little early.
        position += (len(element.text or "") if isinstance(element.tag, str) else 0) + len(element.tail or "")
    return tuple(found.values())


def _linked(element: Any, path: str) -> str:
    """The title that a link inside the archive leads to, or ""."""
    target = _resolved(element.get("href", ""), path)
    return title_of(target) if target else ""


def _resolved(reference: str, path: str) -> str:
    """The path in the archive that a reference of the page at ``path`` means, or "" for one outside."""
    parts = urllib.parse.urlsplit(reference) if len(reference) < MAX_REFERENCE_CHARS else None
    if parts is None or parts.scheme or parts.netloc or not parts.path:
        return ""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), urllib.parse.unquote(parts.path)))
    return "" if joined.startswith("..") else joined.lstrip("/")


def _facts(box: Any, path: str) -> tuple[ArticleFact, ...]:
    facts: dict[str, ArticleFact] = {}
    for row in box.iter("tr"):
        heads, cells = row.findall("th"), row.findall("td")
        if len(heads) != 1 or len(cells) != 1:
            continue
        relation = " ".join(heads[0].text_content().split()).lower().strip(" :•")
        value = _shown(cells[0])
        if relation and relation not in facts and 0 < len(value) <= MAX_VALUE_CHARS:
            links = cells[0].findall(".//a[@href]")
            whole = len(links) == 1 and _shown(links[0]) == value
            facts[relation] = ArticleFact(relation, value, (_linked(links[0], path) or None) if whole else None)
    return tuple(facts.values())[:MAX_FACTS]


def _shown(cell: Any) -> str:
    for element in cell.iter("br", "li"):
        element.tail = "\n" + (element.tail or "")
    items = (" ".join(item.split()) for item in cell.text_content().split("\n"))
    return "; ".join(item for item in items if item)


def _picture(places: list[Any], path: str, archive: Any, title: str) -> Picture | None:
    for place in places:
        for image in place.iter("img"):
            file = _resolved(image.get("src", ""), path)
            if file and archive.has_entry_by_path(file):
                width, height = picture_size(zim_bytes(archive, file))
                if min(width, height) >= MIN_PICTURE_PIXELS:
                    return Picture(file, width, height, image.get("alt") or title)
    return None


def _lead(root: Any) -> str:
    paragraphs: list[str] = []
    for element in root.iter("p", "h2"):
        if element.tag == "h2":
            break
        if element.getparent().tag not in ("td", "th"):
            paragraphs.append(" ".join(element.text_content().split()))
    return "\n".join(filter(None, paragraphs))[:MAX_LEAD_CHARS]
