"""The offline default: search and pages of the embedded corpus. Its content is English; a language is not asked for."""

from __future__ import annotations

import re

from PIL import Image

from osvl_plugins.backends.search import Hit, Reading
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import URL_SCHEME, Page
from osvl_plugins.corpus.world import fold
from osvl_plugins.errors import ToolError
from osvl_plugins.threads import in_thread

SNIPPET_CHARS = 200
LEAD_CHARS = 60
"""Of a snippet, how much may stand before the first word that was looked for, to be read in context."""
_WORD = re.compile(r"[^\W_]+")


class CorpusText:
    """Pages about a query; the text is the page's lead and its fact box, or with ``lead=False`` the fact box alone."""

    name = "corpus"

    def __init__(self, corpus: Corpus, lead: bool = True) -> None:
        self._corpus = corpus
        self._lead = lead

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        hits = await in_thread(self._corpus.search_text, query, k)
        return [self._hit(self._corpus.pages[hit.page_id]) for hit in hits]

    def _hit(self, page: Page) -> Hit:
        parts = [page.lead] if self._lead or not page.facts else []
        parts += [page.fact_box] if page.facts else []
        return Hit(page.title, page.url, "\n".join(parts), page.id)


class CorpusSnippets:
    """Pages about a query; the text is the part of the page, 200 characters, that holds most words of the query."""

    name = "corpus"

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        return await in_thread(self._search, query, k)

    def _search(self, query: str, k: int) -> list[Hit]:
        words = set(_WORD.findall(fold(query)))
        pages = [self._corpus.pages[hit.page_id] for hit in self._corpus.search_text(query, k)]
        return [Hit(page.title, page.url, snippet(_text(page), words), page.id) for page in pages]


class CorpusImages:
    """Pages that show a picture, if the match is certain."""

    name = "corpus"

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    async def search(self, image: Image.Image, k: int) -> list[Hit]:
        hits = await in_thread(self._corpus.search_image, image, k)
        pages = [self._corpus.pages[hit.page_id] for hit in hits if hit.confident]
        return [Hit(page.title, page.url, page=page.id) for page in pages]

    async def search_url(self, url: str, k: int) -> list[Hit]:
        """Looks up the first picture of a page of the corpus; raises ``not_found`` for every other address."""
        if not url.startswith(URL_SCHEME):
            raise ToolError("not_found", f"there is no picture {url[:80]!r} here; pass a picture's name, e.g. img_1")
        page = await in_thread(self._corpus.page, url)
        return await self.search(await in_thread(self._corpus.picture, page.id), k)


class CorpusPages:
    """Pages by address, id, or exact title. They are short: the goal selects nothing."""

    name = "corpus"

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    async def read(self, url: str, goal: str) -> Reading:
        page = await in_thread(self._corpus.page, url)
        return Reading(page.title, page.url, _text(page), page.id)


def snippet(text: str, words: set[str]) -> str:
    """The part of ``text``, on one line of at most 200 characters, with most of the folded ``words``.

    A "… " before and a " …" after it stand for what was left out.
    """
    text = " ".join(text.split())
    found = [(match.start(), word) for match in _WORD.finditer(text) if (word := fold(match[0])) in words]

    def coverage(at: int) -> int:
        return len({word for start, word in found if at <= start < at + SNIPPET_CHARS - LEAD_CHARS})

    best = max([start for start, _ in found] or [0], key=coverage)
    start = max(0, min(best - LEAD_CHARS, len(text) - SNIPPET_CHARS))
    end = min(len(text), start + SNIPPET_CHARS)
    if start:
        start = text.find(" ", start, best) + 1 or best
    if end < len(text):
        end = max(end - LEAD_CHARS, text.rfind(" ", start, end))
    return ("… " if start else "") + text[start:end].strip() + (" …" if end < len(text) else "")


def _text(page: Page) -> str:
    return "\n".join(part for part in (page.lead, page.fact_box, page.body) if part)
