"""What the builders fill: pages under unique ids and titles, and their pictures before they are stored."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

from PIL import Image

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.errors import CorpusError


def fold(text: str) -> str:
    """``text`` without case, diacritics and runs of white space: what two spellings of one name share."""
    stripped = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return " ".join(stripped.casefold().split())


def slug(text: str) -> str:
    """ASCII id of a title: ``Chichén Itzá`` becomes ``chichen-itza``. Empty when nothing of it is ASCII."""
    ascii_text = fold(text).replace("ł", "l").replace("đ", "d").replace("ø", "o").replace("æ", "ae")
    return re.sub(r"[^a-z0-9]+", "-", ascii_text.encode("ascii", "ignore").decode()).strip("-")


class Name(NamedTuple):
    """An entity before it has a page. ``plain`` is how facts call it; ``title`` is unique in the world."""

    id: str
    title: str
    plain: str

    def fact(self, relation: str) -> Fact:
        """A fact that links here."""
        return Fact(relation, self.plain, self.id)


@dataclass(frozen=True)
class SourcePicture:
    """A picture as it came from its source, with the attribution that its licence asks for.

    ``flat`` marks drawings, which are stored without loss.
    """

    image: Image.Image
    caption: str
    licence: str
    author: str = ""
    origin: str = ""
    flat: bool = False


@dataclass
class World:
    """Pages by id, and pictures by page id."""

    pages: dict[str, Page] = field(default_factory=dict)
    pictures: dict[str, list[SourcePicture]] = field(default_factory=dict)
    _titles: set[str] = field(default_factory=set)
    _ids: set[str] = field(default_factory=set)

    def claim(self, plain: str, *qualifiers: str) -> Name:
        """Reserve a title: ``plain`` itself, or ``plain (qualifier)`` with the first qualifier that makes it unique.

        Raises ``CorpusError`` when every one of them is taken.
        """
        for title in (plain, *(f"{plain} ({qualifier})" for qualifier in qualifiers)):
            key = slug(title)
            if key and key not in self._ids and fold(title) not in self._titles:
                self._titles.add(fold(title))
                self._ids.add(key)
                return Name(key, title, plain)
        raise CorpusError(f"no unique title for {plain!r}; add a qualifier")

    def add(self, page: Page, *pictures: SourcePicture) -> None:
        """Add the page of a claimed name.

        Raises ``CorpusError`` when its id was not claimed, is already there, or a relation occurs twice.
        """
        if page.id not in self._ids or page.id in self.pages:
            raise CorpusError(f"page {page.id!r} was not claimed or is there twice")
        relations = [fact.relation for fact in page.facts]
        if len(set(relations)) != len(relations):
            raise CorpusError(f"page {page.id!r} has a relation twice: {relations}")
        self.pages[page.id] = page
        if pictures:
            self.pictures[page.id] = list(pictures)
