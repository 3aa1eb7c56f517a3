"""Search that reads: each found page is fetched and, where there is a summariser, reduced to what answers the query."""

from __future__ import annotations

import asyncio

from osvl_plugins.backends.search import Hit, Pages, Reading, TextSearch
from osvl_plugins.backends.summary import Summariser
from osvl_plugins.errors import ToolError


class ReadingSearch:
    """Searches with ``searcher``, then reads all found pages at the same time.

    A page has the time that its reader and the summariser have: their own deadlines, not one that is shared, so that a
    slow page costs nobody else's, and a recorded run sees the same pages fail. A page that cannot be read is shown by
    the search's own snippet, and its text says so; only a failing search is an error.
    """

    def __init__(self, searcher: TextSearch, pages: Pages, summariser: Summariser | None) -> None:
        self.name = " + ".join(part.name for part in (searcher, pages, summariser) if part is not None)
        self._searcher = searcher
        self._pages = pages
        self._summariser = summariser

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        hits = await self._searcher.search(query, language, k)
        return list(await asyncio.gather(*(self._read(query, hit) for hit in hits)))

    async def _read(self, query: str, hit: Hit) -> Hit:
        try:
            reading = await self._pages.read(hit.url, query)
            text = await self._summariser.summarise(query, reading) if self._summariser else reading.text
        except ToolError as error:
            return Hit(hit.title, hit.url, f"(the page was not read: {error.kind}) {hit.text}", hit.page)
        return Hit(reading.title or hit.title, hit.url, text, hit.page)


class GoalPages:
    """Pages reduced to what the reader looks for; a page that cannot be summarised is given as it is."""

    def __init__(self, pages: Pages, summariser: Summariser) -> None:
        self.name = f"{pages.name} + {summariser.name}"
        self._pages = pages
        self._summariser = summariser

    async def read(self, url: str, goal: str) -> Reading:
        reading = await self._pages.read(url, goal)
        if not goal.strip():
            return reading
        try:
            text = await self._summariser.summarise(goal, reading)
        except ToolError as error:
            text = f"(the page was not summarised: {error.kind})\n{reading.text}"
        return Reading(reading.title, reading.url, text, reading.page)
