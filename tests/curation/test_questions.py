"""Chains of links over the atlas, and the split."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Fact, Page, Picture
from osvl_plugins.curation.questions import HOP_SHARES, Chain, anchors_of, question_text, sample_chain, split_pages

PICTURE = Picture("a.png", 9, 9, "")


@given(st.integers(0, 10_000), st.sampled_from([None, 1, 2, 3, 4]))
@settings(max_examples=150)
def test_a_chain_follows_links_to_a_fact_inside_its_side(atlas: Corpus, seed: int, hops: int | None) -> None:
    side = split_pages(atlas.pages, 0.25, 0)[seed % 2]
    pages = {page_id: atlas.pages[page_id] for page_id in side}
    anchors = anchors_of(pages, side, atlas.ambiguous_pictures)
    chain = sample_chain(pages, anchors, random.Random(seed), hops)
    assert chain is not None
    assert set(chain.pages) <= side
    assert (chain.pages[0], chain.picture) in anchors
    for page_id, relation, target in zip(chain.pages[:-1], chain.relations, chain.pages[1:], strict=True):
        fact = pages[page_id].fact(relation)
        assert fact is not None
        assert fact.target == target
    assert len(set(chain.pages)) == len(chain.pages)
    asked = (*chain.relations, chain.attribute)
    assert len(set(asked)) == len(asked)
    last = pages[chain.pages[-1]].fact(chain.attribute)
    assert last is not None
    assert chain.answer == last.value
    assert chain.answer.casefold() not in {pages[page_id].title.casefold() for page_id in chain.pages}
    assert chain.hops == hops or (hops is None and chain.hops in HOP_SHARES)


def test_chain_lengths_come_in_every_share(atlas: Corpus) -> None:
    anchors = anchors_of(atlas.pages, set(atlas.pages), atlas.ambiguous_pictures)
    rng = random.Random(0)
    lengths = Counter(chain.hops for chain in (sample_chain(atlas.pages, anchors, rng) for _ in range(300)) if chain)
    assert set(lengths) == set(HOP_SHARES)


def test_the_same_seed_gives_the_same_chain(atlas: Corpus) -> None:
    anchors = anchors_of(atlas.pages, set(atlas.pages), frozenset())
    assert sample_chain(atlas.pages, anchors, random.Random(4)) == sample_chain(atlas.pages, anchors, random.Random(4))


def test_there_is_no_chain_where_no_link_leads(atlas: Corpus) -> None:
    lonely = {"a": Page("a", "A", "thing", "", (Fact("colour", "red"),), pictures=(PICTURE,))}
    assert sample_chain(lonely, [("a", 0)], random.Random(0)) is None


def test_a_fact_that_names_a_page_of_the_chain_is_not_asked_for() -> None:
    pages = {
        "a": Page("a", "A", "thing", "", (Fact("next", "B", "b"),), pictures=(PICTURE,)),
        "b": Page("b", "B", "thing", "", (Fact("back", "A", "a"), Fact("self", "b"))),
    }
    assert sample_chain(pages, [("a", 0)], random.Random(0), hops=1) is None


def test_the_question_names_every_relation_in_order_and_the_attribute() -> None:
    chain = Chain(("a", "b", "c"), ("capital", "river"), "length", "7 km")
    text = question_text(chain)
    assert text.index("capital") < text.index("river") < text.index("length")
    assert "7 km" not in text
    assert "framed" not in text
    assert "framed" in question_text(chain, framed=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_split_is_disjoint_and_complete(atlas: Corpus, share: float, seed: int) -> None:
    train, held_out = split_pages(atlas.pages, share, seed)
    assert not train & held_out
    assert train | held_out == set(atlas.pages)
    pictured = {page.id for page in atlas.pages.values() if page.pictures}
    assert len(held_out & pictured) / len(pictured) == pytest.approx(share, abs=0.05)


def test_the_same_seed_gives_the_same_split(atlas: Corpus) -> None:
    assert split_pages(atlas.pages, 0.25, 1) == split_pages(atlas.pages, 0.25, 1)
    assert split_pages(atlas.pages, 0.25, 1) != split_pages(atlas.pages, 0.25, 2)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0])
def test_a_share_that_leaves_a_side_empty_is_refused(atlas: Corpus, share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_pages(atlas.pages, share, 0)


def test_unusable_pictures_start_no_question(atlas: Corpus) -> None:
    anchors = anchors_of(atlas.pages, set(atlas.pages), atlas.ambiguous_pictures)
    assert not set(anchors) & atlas.ambiguous_pictures
    assert all(atlas.pages[page_id].pictures[index] for page_id, index in anchors)
