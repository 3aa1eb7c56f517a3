"""visit: read a page by its address."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.passages import SearchSettings, clip


class VisitArguments(Arguments):
    url: str = Field(description="The page's address.", max_length=2000)
    goal: str = Field(default="", description="What to look for on the page.", max_length=1000)


class Visit:
    """Reads pages of the embedded corpus."""

    name: ClassVar[str] = "visit"
    description: ClassVar[str] = "Read a page."
    arguments: ClassVar[type[Arguments]] = VisitArguments
    backend = "corpus"

    def __init__(self, corpus: Corpus, settings: SearchSettings) -> None:
        self._corpus = corpus
        self._settings = settings

    async def run(self, arguments: VisitArguments, context: ToolContext) -> ToolResult:
        page = self._corpus.page(arguments.url)
        parts = (f"Title: {page.title}", page.lead, page.fact_box, page.body)
        text = clip("\n".join(part for part in parts if part), self._settings.page_chars)
        return ToolResult(text=text, pages=(page.id,))
