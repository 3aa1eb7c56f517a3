"""The scripted expert for questions of the pipeline: it knows the path, and reads all that it says from the tools.

It follows labelled edges either way and plain links, repairs a degraded picture once it is of no use as it is, makes no
call twice, and gives up where the tools do not bring what the next step needs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from PIL import Image

from osvl_plugins.conversation import Message, text_of
from osvl_plugins.curation.candidate import Candidate, Hop, Repair
from osvl_plugins.curation.expert import GaveUp, Step
from osvl_plugins.trajectory import Span

VISIT_SHARE = 0.3
"""How often the first page is read by its address instead of searched."""
MAX_REPEATS = 3
"""How often a call that failed is tried again."""
_HEAD = r"\[(?:Passage|Image) \d+\]\n"
_RESULT = re.compile(
    rf"^{_HEAD}Title: ([^\n]+)\nURL: (\S+)(?:\nSummary: (.*?))?(?=\n\n{_HEAD}|\Z)", re.MULTILINE | re.DOTALL
)
_PAGE = re.compile(r"\ATitle: ([^\n]+)\n?(.*)\Z", re.DOTALL)
_PICTURE = re.compile(r"^(img_\d+) \(", re.MULTILINE)
_REPAIRS = {
    "sharpen": "it is blurred, so I sharpen it",
    "super_resolution": "it is very small, so I enlarge it",
    "perspective_correct": "it is seen at an angle, so I straighten it",
}


class Guide(NamedTuple):
    """The way to an answer: titles of the path's pages, the hops, and how each page after the first is described."""

    titles: tuple[str, ...]
    hops: tuple[Hop, ...]
    descriptions: tuple[str, ...]
    attribute: str
    repair: Repair | None = None

    @classmethod
    def of(cls, row: Candidate, titles: Sequence[str]) -> Guide:
        """The guide of a row with a path, whose pages have ``titles``."""
        described = {rewrite.node: rewrite.description for rewrite in row.rewrites}
        descriptions = tuple(described.get(page, "") for page in row.path[1:])
        return cls(tuple(titles), row.hops, descriptions, row.attribute, row.repair)


class PathExpert:
    """Policy (``osvl_plugins.episode.Policy``) that follows ``guide``."""

    def __init__(self, guide: Guide, rng: random.Random) -> None:
        self._guide = guide
        self._visits = rng.random() < VISIT_SHARE
        self._step: Step | None = None
        self._last = ""
        self._repeats = 0
        self._repaired = False
        self._reached = -1
        self._urls: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._made: set[tuple[str, str]] = set()

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        """Nothing to do: the expert knows the way."""

    async def act(self) -> tuple[str, Span | None]:
        """The next turn. Raises ``GaveUp``."""
        failed = self._last.startswith("Error (")
        self._repeats = self._repeats + 1 if failed else 0
        if self._repeats > MAX_REPEATS:
            raise GaveUp(f"a call failed {self._repeats} times: {self._last[:200]}")
        if self._step is None or not failed:
            self._step = self._next()
        return self._step.text, None

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        """Remember what came back."""
        self._last = text_of(message)
        return True

    def _next(self) -> Step:
        call = self._step.call if self._step is not None else None
        if call is None:
            late = self._guide.repair is None or self._guide.repair.metric == "image_search"
            return self._look("img_1", "I look up what the picture shows.") if late else self._repair("I look at it: ")
        if call[0] in _REPAIRS:
            found = _PICTURE.search(self._last)
            if found is None:
                raise GaveUp(f"{call[0]} gave no picture")
            return self._look(found[1], "Now I look up the repaired picture.")
        if call[0] == "image_search":
            return self._identify()
        self._read(call[0])
        return self._go_on([])

    def _look(self, picture: str, thought: str) -> Step:
        return Step(thought, ("image_search", {"url": picture}))

    def _repair(self, thought: str) -> Step:
        assert self._guide.repair is not None
        self._repaired = True
        tool = self._guide.repair.tool
        return Step(f"{thought}{_REPAIRS[tool]}.", (tool, dict(self._guide.repair.arguments)))

    def _identify(self) -> Step:
        found = _RESULT.search(self._last)
        if found is None and self._guide.repair is not None and not self._repaired:
            return self._repair("No page is found by the picture: ")
        if found is None or found[1] != self._guide.titles[0]:
            raise GaveUp(f"image search found {found[1] if found else 'nothing'!r}")
        self._reached = 0
        self._urls[found[1]] = found[2]
        return self._go_on([f"The picture shows {found[1]}."])

    def _read(self, tool: str) -> None:
        """Take in what a search or a visit brought."""
        if tool == "visit":
            page = _PAGE.match(self._last)
            if page is not None:
                self._texts[page[1]] = page[2]
            return
        for title, url, text in _RESULT.findall(self._last):
            self._urls.setdefault(title, url)
            self._texts.setdefault(title, text)

    def _go_on(self, thoughts: list[str]) -> Step:
        """As many hops as what is known allows, and then the next call or the answer."""
        guide = self._guide
        while self._reached < len(guide.hops):
            hop, here, there = guide.hops[self._reached], *guide.titles[self._reached : self._reached + 2]
            options, said = self._options(hop, here, there)
            if options is not None:
                return self._call(options, thoughts)
            thoughts.append(said)
            self._reached += 1
        here = guide.titles[-1]
        answer = self._value(here, guide.attribute)
        if answer is None:
            return self._call(self._reading(here), thoughts)
        return Step(" ".join([*thoughts, f"The {guide.attribute} of {here} is {answer}."]), answer=answer)

    def _options(self, hop: Hop, here: str, there: str) -> tuple[Iterator[Step] | None, str]:
        """What may bring the hop's end, best first; None, with what is known, where it is there."""
        if hop.inverse:
            value = self._value(there, hop.relation)
            if value is not None:
                return None, f"The {hop.relation} of {there} is {value}."
            return self._inverse(hop, here, there), ""
        value = self._value(here, hop.relation) if hop.relation else self._anchor(here, hop.anchor)
        if value is None:
            return self._reading(here), ""
        said = f"The {hop.relation} of {here} is {value}." if hop.relation else f"The page on {here} names {value}."
        return (None, said) if there in self._texts else (iter([_search(f"{said} I look that up.", value)]), "")

    def _inverse(self, hop: Hop, here: str, there: str) -> Iterator[Step]:
        if there in self._texts:
            yield from self._reading(there)
        thought = f"I look for what has {here} as its {hop.relation}."
        description = self._guide.descriptions[self._reached]
        yield _search(thought, f"{hop.relation}: {here}")
        if description:
            yield _search(thought, f"{description} {here}")

    def _reading(self, title: str) -> Iterator[Step]:
        """Ways to read a page."""
        visit = Step(f"I read the page on {title}.", ("visit", {"url": self._urls[title]}))
        if title not in self._texts and not self._visits:
            yield _search(f"I look up {title}.", title)
        yield visit

    def _call(self, options: Iterator[Step], thoughts: Sequence[str]) -> Step:
        """The first of ``options`` that has not been made."""
        for step in options:
            assert step.call is not None
            made = (step.call[0], str(step.call[1]))
            if made not in self._made:
                self._made.add(made)
                return Step(" ".join([*thoughts, step.thought]), step.call)
        raise GaveUp(f"the tools do not bring step {self._reached + 1}")

    def _value(self, title: str, relation: str) -> str | None:
        """The value of a line of the page's fact box, where it is known whole."""
        pattern = rf"(?:^|: |; ){re.escape(relation)}: ([^;\n]+)"
        found = re.search(pattern, self._texts.get(title, ""), re.MULTILINE)
        return found[1].strip() if found is not None and not found[1].endswith(" …") else None

    def _anchor(self, title: str, anchor: str) -> str | None:
        return anchor if anchor and anchor in self._texts.get(title, "") else None


def _search(thought: str, query: str) -> Step:
    return Step(thought, ("text_search", {"q": query}))
