"""Pages read directly: fetched behind the guard, and reduced to their main text by trafilatura in a worker process."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.remote import Answer, Text, ask
from osvl_plugins.backends.search import Reading
from osvl_plugins.backends.workers import Workers
from osvl_plugins.errors import ToolError
from osvl_plugins.settings import Settings
from osvl_plugins.threads import in_thread

PROVIDER = "web"
LOCAL = "local/"
_HTML = frozenset(("text/html", "application/xhtml+xml"))
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# As browsers read them (WHATWG Encoding): pages use more characters than the encoding that they name has.
_SUPERSETS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "iso-8859-1": "windows-1252",
    "us-ascii": "windows-1252",
}
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_CHARSET_PARAMETER = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


class WebSettings(Settings):
    """Bounds of a page that is read directly. What may be fetched at all is in ``HttpSettings``."""

    deadline_s: float = Field(default=10.0, gt=0)
    """Seconds for fetching a page, waiting, retries and redirects included."""
    extract_s: float = Field(default=10.0, gt=0)
    """Seconds for finding the text in it, the wait for a worker process included."""
    max_bytes: int = Field(default=5_000_000, ge=1000)
    """Most bytes of a page."""
    max_chars: int = Field(default=100_000, ge=1000)
    """Most characters of a page's text that are kept."""


class Extract(NamedTuple):
    """A page's title and main text; either may be empty."""

    title: str
    text: str


class _Page(Answer):
    title: Text
    text: Text


class Extractor:
    """Finds the text of a page in a worker process: some pages keep trafilatura busy for minutes."""

    def __init__(self, settings: WebSettings, workers: Workers) -> None:
        self.settings = settings
        self._workers = workers

    async def run(self, body: bytes, content_type: str) -> Extract:
        """The text of a page.

        Raises ``ToolError``: ``limit`` for one that is too large, ``timeout``, and ``failed`` for what is neither HTML
        nor plain text, or has no text.
        """
        settings = self.settings
        if len(body) > settings.max_bytes:
            raise ToolError("limit", f"{PROVIDER}: the page has {len(body)} bytes, over {settings.max_bytes}")
        kind = content_type.partition(";")[0].strip().lower() or "text/html"
        if kind not in _HTML and not kind.startswith("text/"):
            raise ToolError("failed", f"{PROVIDER}: cannot read {kind[:60]!r}; only HTML and plain text")
        named = _CHARSET_PARAMETER.search(content_type)
        work = self._workers.run(extract, body, named[1] if named else "", kind in _HTML, settings.max_chars)
        try:
            page = await asyncio.wait_for(work, settings.extract_s)
        except asyncio.TimeoutError:
            raise ToolError("timeout", f"{PROVIDER}: no text found in the page in {settings.extract_s:g} s") from None
        if not page.text:
            raise ToolError("failed", f"{PROVIDER}: there is no readable text on the page")
        return page


class WebPages:
    """Web pages by address. Pages that only JavaScript fills have no text here."""

    name = PROVIDER

    def __init__(self, http: Http, recorder: Recorder, extractor: Extractor) -> None:
        self._http = http
        self._recorder = recorder
        self._extractor = extractor

    async def read(self, url: str, goal: str) -> Reading:
        """Raises ``ToolError`` as ``Http.fetch`` and ``Extractor.run`` do."""
        address = url.strip()

        async def send() -> Response:
            deadline_s = self._extractor.settings.deadline_s
            got = await self._http.fetch(
                PROVIDER, address, headers={"Accept": "text/html, text/plain;q=0.9"}, deadline_s=deadline_s
            )
            page = await self._extractor.run(got.body, got.headers.get("Content-Type", ""))
            return Response(got.status, got.url, got.headers, json.dumps(page._asdict()).encode(), PROVIDER)

        page = await ask(self._recorder, PROVIDER, _Page, {"url": address}, send)
        return Reading(page.title, address, page.text, address)


class LocalPages:
    """Pages in the files of one folder, by addresses ``local/<path>``; nothing outside it can be named."""

    name = "local"

    def __init__(self, folder: Path, extractor: Extractor) -> None:
        self._folder = folder.resolve()
        self._extractor = extractor

    async def read(self, url: str, goal: str) -> Reading:
        """Raises ``ToolError``: ``denied``, ``not_found``, and as ``Extractor.run`` does."""
        if not url.startswith(LOCAL):
            raise ToolError("not_found", f"no page {url[:100]!r}; addresses here start with {LOCAL}")
        body = await in_thread(self._load, url)
        page = await self._extractor.run(body, "text/plain" if url.endswith((".txt", ".md")) else "text/html")
        return Reading(page.title, url, page.text, url)

    def _load(self, url: str) -> bytes:
        try:
            path = (self._folder / url.removeprefix(LOCAL)).resolve()
            if not path.is_relative_to(self._folder):
                raise ToolError("denied", f"{url[:100]!r} is outside the folder of pages")
            if not path.is_file():
                raise ToolError("not_found", f"no page {url[:100]!r}")
            with path.open("rb") as file:
                return file.read(self._extractor.settings.max_bytes + 1)
        except (OSError, ValueError, RuntimeError):  # too long a name, a null character, a loop of links
            raise ToolError("not_found", f"no page {url[:100]!r}") from None


def extract(body: bytes, charset: str, html: bool, max_chars: int) -> Extract:
    """Title and main text of a page, the text cut to ``max_chars``; runs in a worker process.

    ``charset`` is what the server said, or empty.
    """
    text = decode(body, charset)
    if not html:
        return _kept("", text, max_chars)
    try:
        import trafilatura  # takes half a second
    except ImportError:
        raise ToolError("unavailable", f"{PROVIDER}: reading pages needs the package trafilatura") from None

    # As text: of bytes, trafilatura would unpack what looks packed, without a bound.
    tree = trafilatura.load_html(text)
    if tree is None:
        return Extract("", "")
    title = tree.findtext(".//head/title") or tree.findtext(".//title") or ""
    return _kept(title, trafilatura.extract(tree, include_comments=False, favor_recall=True) or "", max_chars)


def decode(body: bytes, charset: str) -> str:
    """``body`` as text: by its byte order mark, else as UTF-8 if it is that, else as the server or the page says."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body.decode(encoding, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        declared = _CHARSET.search(body[:4096])
    for named in (charset, declared[1].decode() if declared else ""):
        encoding = named.lower()
        if encoding and encoding not in ("utf-8", "utf8"):
            try:
                return body.decode(_SUPERSETS.get(encoding, encoding), "replace")
            except (LookupError, ValueError):  # a made-up name, or a codec that is none of text
                continue
    return body.decode("windows-1252", "replace")


def _kept(title: str, text: str, max_chars: int) -> Extract:
    # A character reference may stand for half a surrogate pair, which no encoding has.
    title, text = (part.encode("utf-8", "replace").decode() for part in (title, text))
    return Extract(title.strip()[:1000], text.strip()[:max_chars])
