"""Multi-hop questions over a corpus: a picture, a chain of links, an attribute of the last page.

A question of h hops follows h links from the page that the picture shows to the answer page, and asks for one fact
of that page. Relations of a chain differ, and so do its pages, so that every step says something new.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from osvl_plugins.corpus.page import Page

HOP_SHARES = {2: 0.4, 3: 0.4, 4: 0.2}
"""Shares of chain lengths (arXiv 2605.05185, section 3)."""


@dataclass(frozen=True)
class Chain:
    """``pages[0]`` is shown by picture ``picture``; ``relations[i]`` leads from ``pages[i]`` to ``pages[i + 1]``.

    The question asks for ``attribute`` of the last page; ``answer`` is its value.
    """

    pages: tuple[str, ...]
    relations: tuple[str, ...]
    attribute: str
    answer: str
    picture: int = 0

    @property
    def hops(self) -> int:
        """Number of links followed."""
        return len(self.relations)


def sample_chain(
    pages: Mapping[str, Page],
    anchors: Sequence[tuple[str, int]],
    rng: random.Random,
    hops: int | None = None,
    attempts: int = 200,
) -> Chain | None:
    """A random chain from one of ``anchors`` (page id, picture index) inside ``pages``, or None.

    ``hops`` is drawn with ``HOP_SHARES`` unless given. A chain never leaves ``pages``.
    """
    for _ in range(attempts):
        length = hops or rng.choices(list(HOP_SHARES), list(HOP_SHARES.values()))[0]
        anchor, picture = rng.choice(anchors)
        chain = _walk(pages, anchor, picture, length, rng)
        if chain is not None:
            return chain
    return None


def _walk(pages: Mapping[str, Page], anchor: str, picture: int, hops: int, rng: random.Random) -> Chain | None:
    path, relations = [anchor], list[str]()
    for _ in range(hops):
        links = [
            (fact.relation, fact.target)
            for fact in pages[path[-1]].facts
            if fact.target in pages and fact.target not in path and fact.relation not in relations
        ]
        if not links:
            return None
        relation, target = rng.choice(links)
        relations.append(relation)
        path.append(str(target))
    shown = {pages[page].title.casefold() for page in path}
    facts = [
        fact for fact in pages[path[-1]].facts if fact.relation not in relations and fact.value.casefold() not in shown
    ]
    if not facts:
        return None
    fact = rng.choice(facts)
    return Chain(tuple(path), tuple(relations), fact.relation, fact.value, picture)


def question_text(chain: Chain, framed: bool = False) -> str:
    """The question as a form to fill in; ``framed`` when the picture is the framed one of several."""
    shown = "the framed picture" if framed else "the picture"
    blanks = " ".join(f"({step}) {label}: ?" for step, label in enumerate((*chain.relations, chain.attribute), 1))
    return f"Start from what {shown} shows and fill in: {blanks}\nAnswer with the last."


def split_pages(pages: Mapping[str, Page], held_out_share: float, seed: int) -> tuple[set[str], set[str]]:
    """(train, held out): disjoint sets of page ids, cut along the links so that chains fit on either side.

    The held-out side grows from random pictured pages along links until it has ``held_out_share`` of the pictured
    pages. Pages that more than 2 % of all link to stay on the training side, or they would join everything.
    """
    if not 0 < held_out_share < 1:
        raise ValueError(f"held_out_share must lie between 0 and 1, got {held_out_share}")
    rng = random.Random(seed)
    neighbours: dict[str, set[str]] = {page_id: set() for page_id in pages}
    for page in pages.values():
        for fact in page.facts:
            if fact.target in neighbours:
                neighbours[page.id].add(fact.target)
                neighbours[fact.target].add(page.id)
    hubs = {page_id for page_id, linked in neighbours.items() if len(linked) > max(3, 0.02 * len(pages))}
    pictured = sorted(page.id for page in pages.values() if page.pictures and page.id not in hubs)
    rng.shuffle(pictured)
    wanted = held_out_share * len(pictured)
    held_out: set[str] = set()
    frontier: list[str] = []
    while sum(bool(pages[page_id].pictures) for page_id in held_out) < wanted:
        if not frontier:
            frontier = [page_id for page_id in pictured if page_id not in held_out][:1]
        page_id = frontier.pop(0)
        if page_id in held_out or page_id in hubs:
            continue
        held_out.add(page_id)
        frontier += sorted(neighbours[page_id] - held_out - hubs)
    return set(pages) - held_out, held_out


def anchors_of(
    pages: Mapping[str, Page], side: AbstractSet[str], unusable: AbstractSet[tuple[str, int]]
) -> list[tuple[str, int]]:
    """(page id, picture index) of the pictures on one side of a split that can start a question."""
    return [
        (page_id, index)
        for page_id in sorted(side)
        for index in range(len(pages[page_id].pictures))
        if (page_id, index) not in unusable
    ]
