"""What the stages ask of a language engine: to word a question of which every part is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from osvl_plugins.curation.forms import Form

PARALLEL = 32
"""Rows that wait for a language engine at a time."""


class Place(NamedTuple):
    """A page as a question speaks of it: its plain title, the kind of its page, and the word for that kind."""

    title: str
    kind: str
    word: str


class Plan(NamedTuple):
    """All that a question says.

    ``places``: the path, anchor first. ``forms[i]`` describes ``places[i + 1]`` by ``places[i]``. ``attribute``: the
    relation that is asked for. ``described``: the first place that is described and not named, 0 when a picture stands
    for the anchor; of those before it the question says by name how each leads to the next. ``shown``: the visual
    expression for the anchor, "" while it is named. ``seed``: equal plans with equal seeds are worded alike.
    """

    places: tuple[Place, ...]
    forms: tuple[Form, ...]
    attribute: str
    described: int
    seed: str
    shown: str = ""


class Wording(NamedTuple):
    """A question, and the part of it that is new: a description, or a visual expression."""

    question: str
    phrase: str


class Language(Protocol):
    """Words questions. All methods raise ``ToolError``.

    Of its kinds ``timeout``, ``rate_limited`` and ``unavailable`` say that the engine did not answer, ``denied`` that
    it refused, ``failed`` and ``limit`` that what it wrote cannot be used.
    """

    @property
    def version(self) -> str:
        """The engine, its model, and its prompts: what a question's wording depends on."""

    async def ask(self, plan: Plan) -> Wording:
        """The canonical question; the phrase describes the page that it asks about."""

    async def rewrite(self, plan: Plan, question: str) -> Wording:
        """``question`` with the name of ``places[described]`` replaced by a description; the phrase is that."""

    async def ground(self, plan: Plan, question: str, picture: str) -> Wording:
        """``question`` with the anchor's name replaced by words for what is shown; ``picture`` is its caption."""

    async def objection(self, plan: Plan, question: str) -> str:
        """Why a question is not what the plan says, or "" where nothing speaks against it."""

    async def aclose(self) -> None:
        """Close what the engine holds in the running event loop."""


T = TypeVar("T")
R = TypeVar("R")


def for_each(language: Language, work: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """``work`` on every item, ``PARALLEL`` at a time, in an event loop of its own; results in the order of items."""

    async def run() -> list[R]:
        turns = asyncio.Semaphore(PARALLEL)

        async def one(item: T) -> R:
            async with turns:
                return await work(item)

        try:
            return await asyncio.gather(*map(one, items))
        finally:
            await language.aclose()

    return asyncio.run(run())
