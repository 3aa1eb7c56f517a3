"""image_search: what a picture shows."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from osvl_plugins.backends import search
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.passages import SearchSettings, picture

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ImageSearchArguments(Arguments):
    url: str = Field(description="Name of the picture, e.g. img_1.", max_length=2000)


class ImageSearch:
    """Looks up a picture of the episode, or one by its address, and lists the pages that show it."""

    name: ClassVar[str] = "image_search"
    description: ClassVar[str] = "Find out what a picture shows. Gives titles and addresses of pages with that picture."
    arguments: ClassVar[type[Arguments]] = ImageSearchArguments

    def __init__(self, backend: search.ImageSearch, settings: SearchSettings) -> None:
        self.backend = backend.name
        self._search = backend
        self._settings = settings

    async def run(self, arguments: ImageSearchArguments, context: ToolContext) -> ToolResult:
        k = self._settings.top_k
        reference = arguments.url.strip()
        if _ADDRESS.match(reference):
            hits = await self._search.search_url(reference, k)
        else:
            image = context.images.original(context.images.resolve(reference))
            hits = await self._search.search(image, k)
        hits = hits[:k]
        if not hits:
            return ToolResult(text="No picture matches.")
        text = "\n\n".join(picture(hit, rank) for rank, hit in enumerate(hits, 1))
        return ToolResult(text=text, pages=tuple(hit.page for hit in hits))
