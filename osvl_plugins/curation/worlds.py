"""Counterfactual worlds: the corpus with its names and facts dealt out anew, so that nothing can be known by heart.

A small model that is fine-tuned on trajectories over one corpus learns the corpus instead of the tools. In a
counterfactual world the pictures and the shape of the pages stay, while titles and every relation's values are
shuffled among the pages; what a world says is true in that world alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from osvl_plugins.corpus.page import Fact, Page


def counterfactual(pages: Mapping[str, Page], rng: random.Random) -> list[Page]:
    """A world over ``pages``: titles shuffled among all pages, and each relation's values among those that have it.

    Links keep pointing to pages of the kind that they pointed to. Of a page's text only the facts are kept, in random
    order.
    """
    names = [page.title for page in pages.values()]
    rng.shuffle(names)
    titles = dict(zip(pages, names, strict=True))
    dealt = _deal(pages, rng)
    world = []
    for page in pages.values():
        facts = [
            Fact(fact.relation, titles.get(target or "", value), target)
            for fact in page.facts
            for value, target in (dealt[page.id, fact.relation],)
        ]
        rng.shuffle(facts)
        lead = f"{titles[page.id]} is a {page.kind}."
        world.append(replace(page, title=titles[page.id], lead=lead, facts=tuple(facts), body="", aliases=()))
    return world


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
            # A page must not link to itself.
            kept = own if fact.target == page_id else fact
            dealt[page_id, relation] = (kept.value, kept.target)
    return dealt
