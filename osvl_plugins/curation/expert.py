"""The scripted expert: knows a question's chain, but reads every name and value from what the tools return.

It is a policy like any other and runs through ``run_episode``, with the wire profile ``native``; a search that does
not bring what the chain needs makes it give up, and the trajectory is rejected. A failed call is repeated.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from osvl_plugins.conversation import Message, text_of
from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.questions import Chain
from osvl_plugins.curation.views import QUADRANTS, View, inside
from osvl_plugins.errors import PolicyError
from osvl_plugins.protocol import format_answer, format_call
from osvl_plugins.trajectory import Span

_TITLE = re.compile(r"^Title: (.+)$", re.MULTILINE)
_URL = re.compile(r"^URL: (\S+)$", re.MULTILINE)
_IMAGE = re.compile(r"^(img_\d+) \(", re.MULTILINE)


class GaveUp(PolicyError):
    """The tools did not bring what the chain needs; the trajectory is no example."""


@dataclass(frozen=True)
class Step:
    """A call or, with ``call`` None, the final answer."""

    thought: str
    call: tuple[str, dict[str, Any]] | None = None
    answer: str = ""

    @property
    def text(self) -> str:
        """The turn as the policy writes it."""
        if self.call is None:
            return format_answer(self.answer, self.thought)
        return format_call(*self.call, self.thought)


class Expert:
    """Policy that follows ``chain`` over pages whose text is that of ``pages``.

    ``sharpen_amount`` is what repairs a blurred view; ``quadrant`` is where a framed view has its frame;
    ``visit_share`` is how often the first page is read by address instead of searched.
    """

    def __init__(
        self,
        chain: Chain,
        pages: Mapping[str, Page],
        view: View,
        rng: random.Random,
        *,
        quadrant: str | None = None,
        sharpen_amount: float | None = None,
        visit_share: float = 0.3,
    ) -> None:
        self._chain = chain
        self._pages = pages
        self._view = view
        self._quadrant = quadrant
        self._amount = sharpen_amount
        self._visits = rng.random() < visit_share
        self._step: Step | None = None
        self._last = ""
        self._repaired = False
        self._reached = -1

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        """Nothing to do: the expert knows the question."""

    async def act(self) -> tuple[str, Span | None]:
        """The next turn. Raises ``GaveUp``."""
        if self._step is None or not self._last.startswith("Error ("):
            self._step = self._next()
        return self._step.text, None

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        """Remember what came back."""
        self._last = text_of(message)
        return True

    def _next(self) -> Step:
        tool = self._step.call[0] if self._step is not None and self._step.call is not None else ""
        if tool in ("crop", "sharpen"):
            self._repaired = True
            return self._look(self._match(_IMAGE))
        if tool == "image_search":
            if "Title:" in self._last:
                return self._read_first()
            if self._view == "blurred" and not self._repaired:
                return Step("blurred", ("sharpen", {"image": "img_1", "amount": self._amount}))
            raise GaveUp("image search found nothing")
        if tool in ("text_search", "visit"):
            return self._read_on()
        if self._view == "framed" and self._quadrant is not None:
            box = inside(QUADRANTS[self._quadrant])
            return Step(f"frame {self._quadrant}", ("crop", {"image": "img_1", **box._asdict()}))
        return self._look("img_1")

    def _look(self, image: str) -> Step:
        return Step(f"search {image}", ("image_search", {"url": image}))

    def _read_first(self) -> Step:
        title = self._match(_TITLE)
        if title != self._pages[self._chain.pages[0]].title:
            raise GaveUp(f"image search found {title!r}")
        self._reached = 0
        if self._visits:
            return Step(f"picture: {title}", ("visit", {"url": self._match(_URL)}))
        return Step(f"picture: {title}", ("text_search", {"q": title}))

    def _read_on(self) -> Step:
        if self._match(_TITLE) != self._pages[self._chain.pages[self._reached]].title:
            raise GaveUp(f"search found {self._match(_TITLE)!r}")
        if self._reached == self._chain.hops:
            answer = self._value(self._chain.attribute)
            return Step(f"({self._reached + 1}) {self._chain.attribute}: {answer}", answer=answer)
        relation = self._chain.relations[self._reached]
        value = self._value(relation)
        self._reached += 1
        return Step(f"({self._reached}) {relation}: {value}", ("text_search", {"q": value}))

    def _value(self, relation: str) -> str:
        return self._match(re.compile(rf"(?:^|: |; ){re.escape(relation)}: ([^;\n]+)", re.MULTILINE))

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.search(self._last)
        if match is None:
            raise GaveUp(f"{pattern.pattern!r} is not in the observation")
        return match[1].strip()
