"""Attributes and canonical questions over the atlas."""

from __future__ import annotations

import random

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.curation.candidate import Candidate, Hop, StageResult
from osvl_plugins.curation.descriptions import Route
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.stages.question import QuestionSettings, find_shortcut, is_attribute, run
from osvl_plugins.errors import CorpusError
from tests.curation.stages.making import BruteForce, asked, context, folded, forms_of, row_of


def route_to(*facts: Fact) -> Route:
    first = Page("a", "Oslo", "city", "", (Fact("country", "Norway", "b"), Fact("height", "23 m")))
    return Route((first, Page("b", "Norway", "country", "", facts)), (0, 1), (Hop("country"),))


@pytest.mark.parametrize(
    "fact",
    [
        Fact("largest city", "Oslo", "a"),
        Fact("anthem city", "OSLO"),
        Fact("country", "Kingdom"),
        Fact("member", "yes"),
        Fact("motto", " "),
        Fact("colours", "red, white and blue"),
        Fact("motto", "word " * 9),
        Fact("height", "23 m"),
        Fact("gdp_ppp2", "5"),
    ],
    ids=lambda fact: f"{fact.relation}: {fact.value}"[:20],
)
def test_no_question_asks_for_it(fact: Fact) -> None:
    assert not is_attribute(fact, route_to(fact), QuestionSettings())


@pytest.mark.parametrize("value", ["385,207 km²", "krone", "5,550,203", "17 May 1814"])
def test_a_short_new_fact_can_be_asked_for(value: str) -> None:
    assert is_attribute(Fact("area", value), route_to(), QuestionSettings())


def test_a_path_with_a_hop_that_an_earlier_page_saves_is_a_shortcut(atlas_graph: Graph) -> None:
    row = row_of(["belarus", "minsk", "eastern-europe"], [Hop("capital"), Hop("region")])
    assert [reject.reason for reject in asked(atlas_graph, [row]).rejects] == ["shortcut"]


def test_a_path_whose_every_hop_is_needed_is_none() -> None:
    assert find_shortcut(route_to()) == ""


def test_every_row_is_kept_or_rejected_once_and_in_order(rows: list[Candidate], questions: StageResult) -> None:
    kept, rejected = [row.id for row in questions.rows], [reject.id for reject in questions.rejects]
    assert sorted(kept + rejected) == sorted(row.id for row in rows)
    order = {row.id: at for at, row in enumerate(rows)}
    assert kept == sorted(kept, key=order.__getitem__)


def test_the_reasons_are_of_the_vocabulary(questions: StageResult) -> None:
    assert {reject.reason for reject in questions.rejects} <= {
        "shortcut",
        "no_attribute",
        "no_description",
        "name_shown",
    }


def test_the_answer_is_a_fact_of_the_last_page(atlas: Corpus, questions: StageResult) -> None:
    for row in questions.rows:
        fact = atlas.pages[row.path[-1]].fact(row.attribute)
        assert fact is not None
        assert (row.answer, row.accepted[0]) == (fact.value, fact.value)


def test_the_canonical_question_names_the_path_and_neither_its_end_nor_the_answer(
    atlas: Corpus, questions: StageResult
) -> None:
    for row in questions.rows:
        text = folded(row.canonical)
        for page_id in row.path[:-1]:
            assert folded(atlas.pages[page_id].title.partition(" (")[0]) in text
        assert f" {folded(row.answer)} " not in text.replace("?", " ")


def test_the_last_page_alone_fits_its_description(atlas: Corpus, questions: StageResult) -> None:
    brute = BruteForce(atlas.pages)
    for row in random.Random(0).sample(questions.rows, 60):
        (form,) = forms_of(row)
        assert row.rewrites[0].fits == 1
        for strict in (True, False):
            assert brute.fitting(form, row.path[-2], strict) == {row.path[-1]}


def test_another_order_gives_the_same_rows(atlas_graph: Graph, rows: list[Candidate], questions: StageResult) -> None:
    some = rows[:80]
    back = asked(atlas_graph, some[::-1]).rows[::-1]
    assert back == [row for row in questions.rows if row.id in {one.id for one in some}]


def test_another_seed_asks_for_other_facts(atlas_graph: Graph, rows: list[Candidate], questions: StageResult) -> None:
    other = run(rows[:80], context(atlas_graph, QuestionSettings(), seed=1)).rows
    assert [row.attribute for row in other] != [row.attribute for row in questions.rows[: len(other)]]


def test_a_row_of_another_graph_is_an_error(atlas_graph: Graph) -> None:
    with pytest.raises(CorpusError, match="atlantis"):
        asked(atlas_graph, [row_of(["atlantis", "oslo"], [Hop("capital")])])
