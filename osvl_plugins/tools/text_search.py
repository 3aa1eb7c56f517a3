"""text_search: passages about a query."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from osvl_plugins.backends import search
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.passages import SearchSettings, passage


class TextSearchArguments(Arguments):
    q: str = Field(description="What to look for.", max_length=1000)
    hl: str = Field(default="en", description="Language of the results.", max_length=16)
    top_k: int = Field(default=5, ge=1, le=20, description="Number of passages.")


class TextSearch:
    """Shows what a page about the query says; the setting ``search.top_k`` bounds what the model may ask for."""

    name: ClassVar[str] = "text_search"
    description: ClassVar[str] = "Search for text. Gives passages with title, address and summary."
    arguments: ClassVar[type[Arguments]] = TextSearchArguments

    def __init__(self, backend: search.TextSearch, settings: SearchSettings) -> None:
        self.backend = backend.name
        self._search = backend
        self._settings = settings

    async def run(self, arguments: TextSearchArguments, context: ToolContext) -> ToolResult:
        if not arguments.q.strip():
            raise ToolError("bad_arguments", "q is empty: write what to look for")
        k = min(arguments.top_k, self._settings.top_k)
        hits = (await self._search.search(arguments.q, arguments.hl, k))[:k]
        if not hits:
            return ToolResult(text=f"Nothing found for {arguments.q[:200]!r}.")
        text = "\n\n".join(passage(hit, rank, self._settings) for rank, hit in enumerate(hits, 1))
        return ToolResult(text=text, pages=tuple(hit.page for hit in hits))
