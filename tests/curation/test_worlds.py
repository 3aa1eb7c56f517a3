"""Counterfactual worlds over the atlas."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.worlds import counterfactual


@pytest.fixture(scope="module", params=range(3))
def world(request: pytest.FixtureRequest, atlas: Corpus) -> dict[str, Page]:
    return {page.id: page for page in counterfactual(atlas.pages, random.Random(request.param))}


def test_a_world_has_the_atlas_pages_with_their_pictures(world: dict[str, Page], atlas: Corpus) -> None:
    assert list(world) == list(atlas.pages)
    assert all(page.pictures == atlas.pages[page.id].pictures for page in world.values())
    assert all(page.kind == atlas.pages[page.id].kind for page in world.values())


def test_titles_are_the_atlas_titles_on_other_pages(world: dict[str, Page], atlas: Corpus) -> None:
    assert sorted(page.title for page in world.values()) == sorted(page.title for page in atlas.pages.values())
    assert sum(page.title == atlas.pages[page.id].title for page in world.values()) < 0.02 * len(world)


def test_every_link_is_called_by_the_title_of_its_page(world: dict[str, Page]) -> None:
    for page in world.values():
        for fact in page.facts:
            assert fact.target is None or fact.value == world[fact.target].title


def test_no_page_links_to_itself(world: dict[str, Page]) -> None:
    assert not [page.id for page in world.values() if any(fact.target == page.id for fact in page.facts)]


def test_a_page_keeps_its_relations_and_where_they_lead_in_kind(world: dict[str, Page], atlas: Corpus) -> None:
    leads = {
        (fact.relation, atlas.pages[fact.target].kind if fact.target else None)
        for page in atlas.pages.values()
        for fact in page.facts
    }
    for page in world.values():
        assert Counter(fact.relation for fact in page.facts) == Counter(f.relation for f in atlas.pages[page.id].facts)
        assert {(fact.relation, world[fact.target].kind if fact.target else None) for fact in page.facts} <= leads


def test_most_links_lead_elsewhere(world: dict[str, Page], atlas: Corpus) -> None:
    links = [(page.id, fact.relation, fact.target) for page in world.values() for fact in page.facts if fact.target]
    kept = 0
    for page_id, relation, target in links:
        fact = atlas.pages[page_id].fact(relation)
        kept += fact is not None and fact.target == target
    assert kept < 0.5 * len(links)


def test_nothing_of_the_atlas_text_is_left(world: dict[str, Page]) -> None:
    assert all(
        (page.body, page.aliases, page.lead) == ("", (), f"{page.title} is a {page.kind}.") for page in world.values()
    )


def test_a_world_can_be_searched(world: dict[str, Page], atlas: Corpus) -> None:
    corpus = atlas.derive(world.values())
    assert corpus.fingerprint != atlas.fingerprint
    for page in list(world.values())[::50]:
        assert corpus.search_text(page.title, 1)[0].page_id == page.id


def test_the_same_seed_gives_the_same_world(atlas: Corpus) -> None:
    assert counterfactual(atlas.pages, random.Random(5)) == counterfactual(atlas.pages, random.Random(5))
