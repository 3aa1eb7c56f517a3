from __future__ import annotations

import pytest

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.world import World, fold, slug
from osvl_plugins.errors import CorpusError


@pytest.mark.parametrize(
    ("text", "folded"), [("  CHICHÉN  Itzá ", "chichen itza"), ("Réunion", "reunion"), ("日本", "日本")]
)
def test_fold_drops_case_diacritics_and_spaces(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("text", "expected"), [("São Tomé and Príncipe", "sao-tome-and-principe"), ("Polish złoty", "polish-zloty")]
)
def test_ids_are_ascii(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_a_second_entity_of_one_name_is_qualified() -> None:
    world = World()
    assert world.claim("Singapore", "country").title == "Singapore"
    second = world.claim("SINGAPORE", "city")
    assert (second.title, second.id, second.plain) == ("SINGAPORE (city)", "singapore-city", "SINGAPORE")


def test_a_name_without_a_free_title_is_refused() -> None:
    world = World()
    world.claim("Kingston", "city")
    world.claim("Kingston", "city")
    with pytest.raises(CorpusError, match="qualifier"):
        world.claim("Kingston", "city")


def test_a_page_with_two_answers_to_one_relation_is_refused() -> None:
    world = World()
    name = world.claim("Mexico")
    with pytest.raises(CorpusError, match="relation twice"):
        world.add(Page(name.id, name.title, "country", "", (Fact("capital", "a"), Fact("capital", "b"))))


def test_a_page_without_a_claim_is_refused() -> None:
    with pytest.raises(CorpusError, match="not claimed"):
        World().add(Page("x", "X", "country", ""))
