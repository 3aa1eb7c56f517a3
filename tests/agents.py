"""Tools over a corpus, pictures for them, and a policy that says what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from PIL import Image

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.conversation import Message, text_of
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.protocol import format_answer, format_call
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Span


def agent(**settings: Any) -> AgentSettings:
    """Settings for tools over a corpus that is given as an object."""
    return AgentSettings(corpus="given", **settings)


def toolset(corpus: Corpus, **settings: Any) -> ToolSet:
    """The real tools over ``corpus``."""
    return build_tools(agent(**settings), corpus)


def context(*images: Image.Image, **settings: Any) -> ToolContext:
    """An episode's pictures: ``images``, or one of 200 x 100 pixels."""
    store = ImageStore(ImageSettings(**settings))
    for image in images or (Image.new("RGB", (200, 100), "teal"),):
        store.add(image)
    return ToolContext(store)


def call(name: str, **arguments: Any) -> str:
    """A turn that calls a tool."""
    return format_call(name, arguments, "next")


def answer(text: str) -> str:
    """A turn that answers."""
    return format_answer(text, "done")


class Scripted:
    """Policy that takes ``turns`` one after the other, raises those that are errors, and then hangs.

    ``room`` is how many observations fit.
    """

    def __init__(self, turns: Sequence[str | Exception], room: int = 100) -> None:
        self.turns = list(turns)
        self.room = room
        self.messages: list[Message] = []
        self.observed: list[tuple[str, list[tuple[int, int]]]] = []

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        self.messages = list(messages)

    async def act(self) -> tuple[str, Span | None]:
        if not self.turns:
            await asyncio.Event().wait()
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn, None

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        if len(self.observed) == self.room:
            return False
        self.observed.append((text_of(message), [image.size for image in images]))
        return True
