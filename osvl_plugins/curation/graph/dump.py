"""Pages of a Wikimedia dump (``pages-articles``), cut into pieces that several processes can read at once.

A plain file is cut anywhere. A bz2 file is cut where a compressed stream starts: a multistream dump starts one every
hundred pages, an ordinary one has a single stream and is unpacked by one process for all. A page belongs to the piece
in which its ``<page>`` stands.
"""

from __future__ import annotations

import bz2
import html
import mmap
import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, NamedTuple

from osvl_plugins.curation.graph.article import Article, Redirect
from osvl_plugins.curation.graph.names import normal_title
from osvl_plugins.curation.graph.wikitext import ENGLISH_NAMESPACES, Rejected, read_article
from osvl_plugins.errors import CorpusError

PIECE_BYTES = 32 * 2**20
"""Of wikitext in a piece, about."""
BZ2_RATIO = 4
MAX_PAGE_BYTES = 64 * 2**20
_CHUNK = 2**20
_HEADER_BYTES = 2**20

_STREAM = re.compile(rb"BZh[1-9]1AY&SY")
"""Start of a bz2 stream: ten bytes that do not come up by chance."""
_OPEN, _CLOSE = b"<page>", b"</page>"
_TITLE = re.compile(rb"<title>(.*?)</title>", re.DOTALL)
_NS = re.compile(rb"<ns>\s*(-?\d+)\s*</ns>")
_ID = re.compile(rb"<id>\s*(\d+)\s*</id>")
_REDIRECT = re.compile(rb'<redirect title="([^"]*)"')
_MODEL = re.compile(rb"<model>(.*?)</model>")
_TEXT = re.compile(rb"<text\b[^>]*?(/?)>")
_PARTIAL = re.compile(r"#[^\[\]]{0,40}\[\[[^\[\]#|]*#")
_NAMESPACE = re.compile(rb'<namespace key="(-?\d+)"[^>]*>([^<]*)</namespace>')
_DATABASE = re.compile(rb"<dbname>([^<]*)</dbname>")


class Wiki(NamedTuple):
    """The wiki of a dump: its name in the database, and the prefixes of titles that are no articles."""

    name: str
    namespaces: frozenset[str]


class Piece(NamedTuple):
    """Bytes ``start`` to ``stop`` of a dump's file; of a bz2 file these are whole streams."""

    file: Path
    start: int
    stop: int


def read_wiki(file: Path) -> Wiki:
    """The wiki that a dump's header names; the English namespaces where the header is missing.

    Raises ``CorpusError`` when the file cannot be read or is no dump.
    """
    try:
        with _opened(file) as content:
            header = content.read(_HEADER_BYTES)
    except (OSError, EOFError) as error:
        raise _unreadable(file, error) from error
    if b"<mediawiki" not in header and _OPEN not in header:
        raise CorpusError(f"{file}: no dump of wiki pages; give pages-articles as XML, plain (.xml) or packed (.bz2)")
    header = header.partition(_OPEN)[0]
    found = {html.unescape(name.decode("utf-8", "replace")).lower() for _, name in _NAMESPACE.findall(header)}
    name = _DATABASE.search(header)
    return Wiki(name[1].decode("utf-8", "replace") if name else file.name, frozenset(found - {""}) | ENGLISH_NAMESPACES)


def pieces(file: Path, piece_bytes: int = PIECE_BYTES) -> Iterator[Piece | bytes]:
    """A dump's file in pieces for ``read_piece``: places in the file, or, of a single bz2 stream, the pages themselves.

    Raises ``CorpusError`` when the file cannot be read.
    """
    size = file.stat().st_size
    packed = file.suffix == ".bz2"
    starts = _stream_starts(file, piece_bytes // BZ2_RATIO) if packed else list(range(0, size, piece_bytes))
    if packed and len(starts) == 1:
        with _opened(file) as content:
            yield from _whole_pages(content, file, piece_bytes)
        return
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        yield Piece(file, start, stop)


def read_piece(piece: Piece | bytes, wiki: Wiki) -> Iterator[Article | Redirect | Rejected]:
    """The articles and redirects of a piece, and what was not taken. Pages of other namespaces are left out.

    Raises ``CorpusError`` when the file cannot be read.
    """
    for page in _pages_of(piece) if isinstance(piece, bytes) else _pages_at(piece):
        item = read_page(page, wiki)
        if item is not None:
            yield item


def read_page(page: bytes, wiki: Wiki) -> Article | Redirect | Rejected | None:
    """What the XML of a page holds; None for a page that is in no article's namespace."""
    if not page.endswith(_CLOSE):
        return Rejected("", "truncated")
    found_title, namespace, page_id = _TITLE.search(page), _NS.search(page), _ID.search(page)
    if found_title is None or namespace is None or page_id is None:
        return Rejected("", "malformed_xml")
    if namespace[1] != b"0":
        return None
    title = normal_title(html.unescape(found_title[1].decode("utf-8", "replace")))
    if not title:
        return Rejected("", "no_title")
    opening = _TEXT.search(page)
    end = page.rfind(b"</text>")
    text = page[opening.end() : end] if opening and not opening[1] and end >= opening.end() else b""
    written = _unescaped(text.decode("utf-8", "replace"))
    redirect = _REDIRECT.search(page, 0, opening.start() if opening else len(page))
    if redirect is not None:
        target = normal_title(html.unescape(redirect[1].decode("utf-8", "replace")))
        return Redirect(title, target, partial=_PARTIAL.search(written[:400]) is not None)
    model = _MODEL.search(page)
    if model is not None and model[1] != b"wikitext":
        return Rejected(title, "not_wikitext")
    return read_article(page_id[1].decode(), title, written, wiki.name, wiki.namespaces)


def _unescaped(text: str) -> str:
    # XML's own entities only: those of the wikitext inside are escaped once more.
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


def _pages_of(data: bytes) -> Iterator[bytes]:
    at = data.find(_OPEN)
    while at >= 0:
        end = data.find(_CLOSE, at)
        yield data[at : end + len(_CLOSE)] if end >= 0 else data[at:]
        at = data.find(_OPEN, end) if end >= 0 else -1


def _pages_at(piece: Piece) -> Iterator[bytes]:
    """The pages that start between ``start`` and ``stop``; the last of them may end later."""
    packed = piece.file.suffix == ".bz2"
    try:
        with piece.file.open("rb") as content:
            content.seek(piece.start)
            data = content.read(piece.stop - piece.start)
            data = bz2.decompress(data) if packed else data
            if content.peek(1):
                with bz2.open(content) if packed else nullcontext(content) as following:
                    data += _rest(data, following)
    except (OSError, EOFError, ValueError) as error:
        raise _unreadable(piece.file, error) from error
    return _pages_of(data)


def _rest(data: bytes, following: IO[bytes]) -> bytes:
    """What of ``following`` belongs to the page that ``data`` breaks off in; nothing when it does not."""
    last = data.rfind(_OPEN)
    tail = data[last:] if last > data.rfind(_CLOSE) else data[-len(_OPEN) :]
    more = following.read(_CHUNK)
    start = (tail + more).find(_OPEN)
    if not 0 <= start < len(tail):
        return b""
    while (end := (tail + more).find(_CLOSE, start)) < 0 and len(more) < MAX_PAGE_BYTES:
        chunk = following.read(_CHUNK)
        if not chunk:
            return more
        more += chunk
    return more[: end + len(_CLOSE) - len(tail)] if end >= 0 else more


def _whole_pages(content: IO[bytes], file: Path, piece_bytes: int) -> Iterator[bytes]:
    rest = b""
    while True:
        try:
            data = rest + content.read(piece_bytes)
        except (OSError, EOFError) as error:
            raise _unreadable(file, error) from error
        if len(data) == len(rest):
            break
        end = data.rfind(_CLOSE)
        cut = end + len(_CLOSE) if end >= 0 else 0
        if cut:
            yield data[:cut]
        rest = data[cut:]
        if len(rest) > MAX_PAGE_BYTES:
            raise CorpusError(f"{file}: a page is over {MAX_PAGE_BYTES} bytes; is it a dump of wiki pages?")
    if _OPEN in rest:
        yield rest


def _stream_starts(file: Path, apart: int) -> list[int]:
    """Where bz2 streams start, at least ``apart`` bytes from each other."""
    starts = [0]
    with file.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for stream in _STREAM.finditer(mapped):
            if stream.start() >= starts[-1] + apart:
                starts.append(stream.start())
    return starts


def _opened(file: Path) -> IO[bytes]:
    return bz2.open(file) if file.suffix == ".bz2" else file.open("rb")


def _unreadable(file: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{file}: not readable ({error}); download it again")
