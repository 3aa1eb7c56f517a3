"""An article as a builder reads it, before its links are known to lead anywhere."""

from __future__ import annotations

import enum
from typing import NamedTuple

from osvl_plugins.corpus.page import Picture


class NodeFlag(enum.IntFlag):
    """What a node is and has."""

    LIST = 1
    """A list, an outline, an index: it is about no entity."""
    DISAMBIGUATION = 2
    """Tells apart what shares a name, or gathers the bearers of one."""
    DATE = 4
    """A day, a year, a century, or what happened in one."""
    INFOBOX = 8
    """Has at least one fact."""
    PICTURE = 16
    """Has a lead picture, by name at least, that no other page has as far as the builder knows."""


class ArticleLink(NamedTuple):
    """A hyperlink: the title that it names, its text, and where it stands.

    ``position``: characters from the article's start.
    """

    title: str
    anchor: str
    position: int


class ArticleFact(NamedTuple):
    """A line of the infobox; ``title`` is what it links to when its value is exactly one link."""

    relation: str
    value: str
    title: str | None = None


class Article(NamedTuple):
    """One article. ``links`` come in the order of the text."""

    id: str
    title: str
    kind: str
    lead: str
    facts: tuple[ArticleFact, ...] = ()
    links: tuple[ArticleLink, ...] = ()
    flags: NodeFlag = NodeFlag(0)
    pictures: tuple[Picture, ...] = ()
    body: str = ""
    source: str = ""


class Redirect(NamedTuple):
    """A name that leads to another title; ``partial`` when it leads to a section, and so names something else."""

    title: str
    target: str
    partial: bool = False
