"""visit: read a page by its address."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from osvl_plugins.backends import search
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.passages import SearchSettings, page


class VisitArguments(Arguments):
    url: str = Field(description="The page's address.", max_length=2000)
    goal: str = Field(default="", description="What to look for on the page.", max_length=1000)


class Visit:
    """Shows a page's title and text, cut at ``search.page_chars``."""

    name: ClassVar[str] = "visit"
    description: ClassVar[str] = "Read a page."
    arguments: ClassVar[type[Arguments]] = VisitArguments

    def __init__(self, backend: search.Pages, settings: SearchSettings) -> None:
        self.backend = backend.name
        self._pages = backend
        self._settings = settings

    async def run(self, arguments: VisitArguments, context: ToolContext) -> ToolResult:
        reading = await self._pages.read(arguments.url, arguments.goal)
        return ToolResult(text=page(reading, self._settings), pages=(reading.page,))
