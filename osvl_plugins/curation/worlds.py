"""Counterfactual worlds: the corpus with other names and other facts, so that nothing can be known by heart.

A small model that is fine-tuned on trajectories over one corpus learns the corpus instead of the tools. In a
counterfactual world the pictures and the shape of the pages stay, while titles are invented and every relation's
values are dealt out anew among the pages that have it; what a world says is true in that world alone.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from osvl_plugins.corpus.page import Fact, Page

_WORD = re.compile(r"[^\W\d_]{2,}")


class NameMaker:
    """Invents names by putting words of given names together anew."""

    def __init__(self, names: Iterable[str]) -> None:
        self.words = sorted({word[0].upper() + word[1:] for name in names for word in _WORD.findall(name)})
        if len(self.words) < 20:
            raise ValueError(f"only {len(self.words)} words to make names of; give more names")

    def name(self, rng: random.Random) -> str:
        """One to three words."""
        return " ".join(rng.choices(self.words, k=rng.choices((1, 2, 3), (0.6, 0.35, 0.05))[0]))


def counterfactual(
    pages: Mapping[str, Page], known: AbstractSet[str], names: NameMaker, rng: random.Random, keep_names: float
) -> list[Page]:
    """A world over ``pages``: facts dealt out anew, titles invented.

    Pages in ``known`` keep their title with probability ``keep_names``; no other real title appears. Links keep
    pointing to pages of the kind that they pointed to. Only facts are kept of a page's text.
    """
    titles = _titles(pages, known, names, rng, keep_names)
    dealt = _deal(pages, rng)
    world = []
    for page in pages.values():
        facts = []
        for fact in page.facts:
            value, target = dealt[page.id, fact.relation]
            if target is not None and target in titles:
                facts.append(Fact(fact.relation, titles[target], target))
            elif value.replace(" ", "").isalpha() and rng.random() >= keep_names:
                facts.append(Fact(fact.relation, names.name(rng)))
            else:
                facts.append(Fact(fact.relation, value))
        rng.shuffle(facts)
        title = titles[page.id]
        world.append(replace(page, title=title, lead=f"{title} is a {page.kind}.", facts=tuple(facts), body="", aliases=()))
    return world


def _titles(
    pages: Mapping[str, Page], known: AbstractSet[str], names: NameMaker, rng: random.Random, keep_names: float
) -> dict[str, str]:
    titles, used = {}, {page.title.casefold() for page in pages.values()}
    for page in pages.values():
        title = page.title
        if page.id not in known or rng.random() >= keep_names:
            while title.casefold() in used:
                title = names.name(rng)
            used.add(title.casefold())
        titles[page.id] = title
    return titles


def _deal(pages: Mapping[str, Page], rng: random.Random) -> dict[tuple[str, str], tuple[str, str | None]]:
    decks: dict[str, list[tuple[str, Fact]]] = defaultdict(list)
    for page in pages.values():
        for fact in page.facts:
            decks[fact.relation].append((page.id, fact))
    dealt = {}
    for relation, deck in decks.items():
        facts = [fact for _, fact in deck]
        rng.shuffle(facts)
        for (page_id, own), fact in zip(deck, facts, strict=True):
            if fact.target == page_id:
                fact = own
            dealt[page_id, relation] = (fact.value, fact.target)
    return dealt
