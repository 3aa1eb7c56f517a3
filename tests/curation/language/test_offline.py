"""The offline engine's English, sentence by sentence."""

from __future__ import annotations

import pytest

from osvl_plugins.curation.forms import Form, Line, Tie
from osvl_plugins.curation.language.offline import OfflineLanguage, noun, question_text, statement
from osvl_plugins.curation.language.phrases import named, phrase, pictured, readable
from osvl_plugins.curation.language.protocol import Place, Plan

OSLO, NORWAY, EUROPE, DENMARK, KRONE = (
    Place("Oslo", "city", "city"),
    Place("Norway", "country", "country"),
    Place("Northern Europe", "region", "region of the world"),
    Place("Denmark", "country", "country"),
    Place("Danish krone", "currency", "currency"),
)
FORMS = (
    Form(Tie("inverse", "capital", "oslo"), "country"),
    Form(Tie("forward", "region", "norway")),
    Form(Tie("forward", "smallest country", "northern-europe")),
    Form(Tie("forward", "currency", "denmark")),
)


def plan(described: int, length: int = 5, seed: str = "0", shown: str = "", attribute: str = "symbol") -> Plan:
    places = (OSLO, NORWAY, EUROPE, DENMARK, KRONE)[:length]
    return Plan(places, FORMS[: length - 1], attribute, described, seed, shown)


def variants(described: int, length: int, attribute: str = "symbol") -> set[str]:
    return {question_text(plan(described, length, str(seed), attribute=attribute)) for seed in range(60)}


def test_a_canonical_question_tells_every_step_and_asks_about_a_description() -> None:
    assert (
        "Norway is a country whose capital is Oslo. The region of the world that includes Norway is Northern Europe. "
        "What is the capital of the smallest sovereign country by area in Northern Europe?"
    ) in variants(3, 4, "capital")


def test_a_rewritten_step_is_no_longer_told() -> None:
    for text in variants(1, 3, "number of regions"):
        assert "Norway" not in text
        assert text.startswith("How many regions make up the ")
        assert text.endswith(("capital is Oslo?", "Oslo as its capital?"))


def test_what_is_described_at_length_has_a_sentence_of_its_own() -> None:
    for text in variants(1, 5):
        first, asked = text.split(". ")
        assert first.split()[0] in ("Find", "Take", "Start")
        assert "Oslo" in first
        assert "that region" in asked


@pytest.mark.parametrize("described", [1, 2, 3, 4])
def test_equal_seeds_give_equal_words_and_other_seeds_others(described: int) -> None:
    assert len(variants(described, 5)) > 3
    assert question_text(plan(described)) == question_text(plan(described))


@pytest.mark.parametrize("described", [1, 2, 3, 4])
def test_every_question_is_one_line_of_whole_sentences(described: int) -> None:
    for text in variants(described, 5):
        assert text.endswith("?")
        assert text[0].isupper()
        assert "  " not in text
        assert "{" not in text
        assert "the the" not in text.lower()


async def test_the_picture_takes_the_anchor_s_place() -> None:
    wording = await OfflineLanguage().ground(plan(1, 3, attribute="currency"), "", "Photo of Oslo")
    assert wording.phrase in wording.question
    assert "Oslo" not in wording.question
    assert "city" in wording.phrase


def test_lines_narrow_a_description_down() -> None:
    region = Line("region", "Northern Europe", "northern-europe")
    neighbour = Line("largest neighbour", "Sweden", "sweden")
    form = Form(Tie("inverse", "currency", "krone"), "country", (region, neighbour))
    about = Plan((KRONE, NORWAY), (form,), "area", 1, "0")
    nouns = {noun(about._replace(seed=str(seed)), 1) for seed in range(60)}
    assert (
        "the country in Northern Europe whose largest neighbour by area is Sweden and whose currency is the Danish "
        "krone"
    ) in nouns
    link = Plan((OSLO, NORWAY), (Form(Tie("link", "", "oslo"), "country", (region,)),), "area", 1, "0")
    assert noun(link, 1) in (
        "the country in Northern Europe which is linked in the article “Oslo”",
        "the country that belongs to Northern Europe which is linked in the article “Oslo”",
    )


def test_a_link_is_told_as_a_link() -> None:
    told = Plan((OSLO, NORWAY, EUROPE), (Form(Tie("link", "", "oslo"), "country"), FORMS[1]), "area", 2, "0")
    assert statement(told, 1) == "the article “Oslo” links to Norway."


@pytest.mark.parametrize(
    ("title", "kind", "text"),
    [
        ("Norway", "country", "Norway"),
        ("Netherlands", "country", "the Netherlands"),
        ("Solomon Islands", "country", "the Solomon Islands"),
        ("United States", "country", "the United States"),
        ("Swiss franc", "currency", "the Swiss franc"),
        ("Polar bear", "animal", "the polar bear"),
        ("Poppies", "painting", "“Poppies”"),
        ("Oslo", "city", "Oslo"),
    ],
)
def test_a_title_has_the_article_that_it_needs(title: str, kind: str, text: str) -> None:
    assert named(title, kind) == text


@pytest.mark.parametrize(
    ("kind", "caption", "part"),
    [
        ("country", "Flag of Norway", "country whose flag"),
        ("settlement", "Coat of arms of Oslo", "place whose coat of arms"),
        ("company", "Company logo", "company whose logo"),
        ("monument", "Fort Sumter", "monument"),
        ("weird_kind!", "", "subject"),
    ],
)
def test_a_picture_is_pointed_at_by_what_it_shows(kind: str, caption: str, part: str) -> None:
    for expression in pictured(kind, caption, "Fort Sumter"):
        assert expression.startswith(f"the {part}")
        assert "picture" in expression or "image" in expression


def test_a_title_that_holds_the_word_flag_is_no_flag() -> None:
    assert "flag" not in pictured("painting", "The Flag", "The Flag")[0]


def test_an_unknown_relation_is_worded_by_its_name() -> None:
    assert phrase("director", "film").ask == ("Who is the director of {}?",)
    assert phrase("main export", "country").of == ("the main export of {}",)


@pytest.mark.parametrize(("relation", "fits"), [("birth place", True), ("top-level domain", True), ("area_km2", False)])
def test_a_relation_is_readable_when_it_is_words(relation: str, fits: bool) -> None:
    assert readable(relation) is fits
