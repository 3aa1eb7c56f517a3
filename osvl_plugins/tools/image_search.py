"""image_search: what a picture shows."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult, in_worker
from osvl_plugins.tools.passages import SearchSettings


class ImageSearchArguments(Arguments):
    url: str = Field(description="Name of the picture, e.g. img_1.", max_length=2000)


class ImageSearch:
    """Looks a picture of the episode up among the corpus's pictures and lists only confident matches."""

    name: ClassVar[str] = "image_search"
    description: ClassVar[str] = "Find out what a picture shows. Gives titles and addresses of pages with that picture."
    arguments: ClassVar[type[Arguments]] = ImageSearchArguments
    backend = "corpus"

    def __init__(self, corpus: Corpus, settings: SearchSettings) -> None:
        self._corpus = corpus
        self._settings = settings

    async def run(self, arguments: ImageSearchArguments, context: ToolContext) -> ToolResult:
        image = context.images.original(context.images.resolve(arguments.url))
        hits = await in_worker(self._corpus.search_image, image, self._settings.top_k)
        pages = [self._corpus.pages[hit.page_id] for hit in hits if hit.confident]
        if not pages:
            return ToolResult(text="No picture matches.")
        text = "\n\n".join(
            f"[Image {rank}]\nTitle: {page.title}\nURL: {page.url}" for rank, page in enumerate(pages, 1)
        )
        return ToolResult(text=text, pages=tuple(page.id for page in pages))
