"""Every tool once, for real, on one picture of a corpus, with what should come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.errors import CorpusError
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.trajectory import Observation, ToolCall


class Trial(NamedTuple):
    """How a tool did: whether it worked, its first line, and the seconds it took."""

    tool: str
    worked: bool
    said: str
    latency_s: float


def try_tools(corpus: Corpus) -> list[Trial]:
    """One trial of each tool.

    Raises ``CorpusError`` when the corpus has no picture that is unlike all others, or its file is damaged.
    """
    page, position = _subject(corpus)
    tools = build_tools(AgentSettings(corpus=str(corpus.folder)), corpus)
    picture = corpus.picture(page.id, position)

    def shows(found: Observation) -> bool:
        return page.id in found.pages

    def draws(found: Observation) -> bool:
        return bool(found.image_ids)

    quarter = {"x": 0, "y": 0, "width": max(1, picture.width // 2), "height": max(1, picture.height // 2)}
    trials: list[tuple[ToolCall, Callable[[Observation], bool]]] = [
        (ToolCall("crop", {"image": "img_1", **quarter}), draws),
        (ToolCall("sharpen", {"image": "img_1"}), draws),
        (ToolCall("image_search", {"url": "img_1"}), shows),
        (ToolCall("text_search", {"q": page.title}), shows),
        (ToolCall("visit", {"url": page.url}), shows),
    ]

    async def run() -> list[Observation]:
        store = ImageStore(ImageSettings())
        store.add(picture)
        return [await tools.run(call, ToolContext(store)) for call, _ in trials]

    return [
        Trial(call.name, found.error is None and expected(found), " ".join(found.text.split())[:120], found.latency_s)
        for (call, expected), found in zip(trials, asyncio.run(run()), strict=True)
    ]


def _subject(corpus: Corpus) -> tuple[Page, int]:
    for page in corpus.pages.values():
        for position in range(len(page.pictures)):
            if (page.id, position) not in corpus.ambiguous_pictures:
                return page, position
    raise CorpusError(f"{corpus.folder}: every picture has a twin, so none tells whether image search works")
