"""The logical form of a description: what a page must be to fit it.

"the country in Northern Europe whose capital is Oslo" is the form with the kind ``country``, the tie ``capital`` that
leads back to Oslo, and the line ``region: Northern Europe``.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

Direction = Literal["forward", "inverse", "link"]
"""forward: the page that the relation of the known page leads to. inverse: a page whose relation leads to the known
page. link: a page that the known page's article links to."""


class Tie(NamedTuple):
    """What ties a description to a known page. ``relation`` is "" for a link; ``page`` is the known page's id."""

    direction: Direction
    relation: str
    page: str


class Line(NamedTuple):
    """A line of the fact box that the page must have; ``target`` is the page that the value names, None for text."""

    relation: str
    value: str
    target: str | None = None


class Form(NamedTuple):
    """``kind``: what the page is called, "" for anything. All of tie, kind and lines must hold."""

    tie: Tie
    kind: str = ""
    lines: tuple[Line, ...] = ()

    def to_json(self) -> str:
        """The form as a line of JSON."""
        return json.dumps({"tie": self.tie._asdict(), "kind": self.kind, "lines": [x._asdict() for x in self.lines]})

    @classmethod
    def from_json(cls, text: str) -> Form:
        """Inverse of ``to_json``."""
        data = json.loads(text)
        return cls(Tie(**data["tie"]), data["kind"], tuple(Line(**line) for line in data["lines"]))
