"""web_search: short snippets about a query, without reading pages."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from osvl_plugins.backends import search
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.passages import SearchSettings, result


class WebSearchArguments(Arguments):
    q: str = Field(description="What to look for.", max_length=1000)
    hl: str = Field(default="en", description="Language of the results.", max_length=16)


class WebSearch:
    """Shows ``search.web_results`` results, each with one line of text: a quick look before ``visit``."""

    name: ClassVar[str] = "web_search"
    description: ClassVar[str] = "Search for pages. Gives titles, addresses and short snippets."
    arguments: ClassVar[type[Arguments]] = WebSearchArguments

    def __init__(self, backend: search.TextSearch, settings: SearchSettings) -> None:
        self.backend = backend.name
        self._search = backend
        self._settings = settings

    async def run(self, arguments: WebSearchArguments, context: ToolContext) -> ToolResult:
        if not arguments.q.strip():
            raise ToolError("bad_arguments", "q is empty: write what to look for")
        k = self._settings.web_results
        hits = (await self._search.search(arguments.q, arguments.hl, k))[:k]
        if not hits:
            return ToolResult(text=f"Nothing found for {arguments.q[:200]!r}.")
        text = "\n\n".join(result(hit, rank, self._settings) for rank, hit in enumerate(hits, 1))
        return ToolResult(text=text, pages=tuple(hit.page for hit in hits))
