"""A page of the embedded corpus: an entity with facts, links, text and pictures.

The values are what a builder writes and what every reader (search, tools, questions) relies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

URL_SCHEME = "atlas://"


@dataclass(frozen=True)
class Fact:
    """One line of a page's fact box.

    ``target`` is the id of the page that ``value`` names, or None when it is a plain value. A page has at most one
    fact for a relation, so "the <relation> of <title>" has one answer.
    """

    relation: str
    value: str
    target: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture of the page's entity: a file below the corpus's ``images/``, its size in pixels, and what it shows."""

    file: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Page:
    """One entity. ``id`` is a short slug, unique in the corpus; ``source`` names the package it came from."""

    id: str
    title: str
    kind: str
    lead: str
    facts: tuple[Fact, ...] = ()
    body: str = ""
    aliases: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    source: str = ""

    @property
    def url(self) -> str:
        """Address under which ``visit`` finds the page."""
        return URL_SCHEME + self.id

    def fact(self, relation: str) -> Fact | None:
        """The fact of that relation, or None."""
        return next((fact for fact in self.facts if fact.relation == relation), None)

    @property
    def fact_box(self) -> str:
        """The facts as one line: ``capital: Mexico City; currency: Mexican peso``."""
        return "; ".join(f"{fact.relation}: {fact.value}" for fact in self.facts)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Page:
        """Inverse of ``dataclasses.asdict``."""
        return cls(
            **{
                **data,
                "facts": tuple(Fact(**fact) for fact in data["facts"]),
                "aliases": tuple(data["aliases"]),
                "pictures": tuple(Picture(**picture) for picture in data["pictures"]),
            }
        )
