"""Rewrites over the atlas: certified, checked by brute force, and free of leaks."""

from __future__ import annotations

import dataclasses

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.candidate import Candidate, StageResult
from osvl_plugins.curation.forms import Form, Tie
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.stages import ground, rewrite
from tests.curation.stages.making import (
    BruteForce,
    context,
    drawn,
    folded,
    forms_of,
    rewritten,
    stands_in,
    titles,
)

WANTED = 2000
SHARDS, PATHS = 6, 5000


def assert_certified(brute: BruteForce, row: Candidate) -> None:
    """The three invariants, each checked over all pages of the corpus."""
    pages, forms = brute.pages, forms_of(row)
    assert [rewrite.node for rewrite in row.rewrites] == list(row.path[:0:-1])
    assert {rewrite.fits for rewrite in row.rewrites} == {1}
    for strict in (True, False):
        for at, form in enumerate(forms):
            assert brute.fitting(form, row.path[at], strict) == {row.path[at + 1]}, row
        assert brute.chain(row.path[0], forms, strict) == {row.path[-1]}, row
    assert [fact.value for fact in pages[row.path[-1]].facts if fact.relation == row.attribute] == [row.answer]


def assert_no_leak(pages: dict[str, Page], row: Candidate, hidden: tuple[str, ...]) -> None:
    text = folded(row.question)
    shown = folded(pages[row.path[0]].title.partition(" (")[0])
    if row.path[0] not in hidden:
        text = text.replace(shown, "…")
    for page_id in hidden:
        page = pages[page_id]
        demonym = page.fact("demonym")
        for name in [*titles(page), *([demonym.value] if demonym else [])]:
            assert not stands_in(text, name), (row.question, name)
    for answer in row.accepted:
        assert not stands_in(text, answer), (row.question, answer)


def test_every_rewrite_fits_one_page_and_leads_to_the_same_answer(atlas: Corpus, rewrites: StageResult) -> None:
    brute = BruteForce(atlas.pages)
    assert len(rewrites.rows) > 100
    for row in rewrites.rows[:100]:
        assert_certified(brute, row)


def test_no_bridge_and_no_answer_is_named(atlas: Corpus, rewrites: StageResult) -> None:
    for row in rewrites.rows:
        assert_no_leak(dict(atlas.pages), row, row.path[1:])


def test_the_anchor_is_still_named(atlas: Corpus, rewrites: StageResult) -> None:
    for row in rewrites.rows:
        assert folded(atlas.pages[row.path[0]].title.partition(" (")[0]) in folded(row.question)


def test_names_go_from_the_farthest_bridge_to_the_nearest(rewrites: StageResult) -> None:
    for row in rewrites.rows:
        assert [rewrite.node for rewrite in row.rewrites[1:]] == list(row.path[-2:0:-1])


def test_what_is_rejected_says_why(rewrites: StageResult) -> None:
    assert rewrites.rejects
    assert {reject.reason for reject in rewrites.rejects} <= {"no_description", "name_shown"}
    assert all(reject.detail for reject in rewrites.rejects)


def test_a_description_that_leads_elsewhere_is_rejected(atlas_graph: Graph, questions: StageResult) -> None:
    row = next(row for row in questions.rows if len(row.path) == 3)
    elsewhere = Form(Tie("forward", "continent", row.path[-2]))
    wrong = dataclasses.replace(row, rewrites=(row.rewrites[0]._replace(form=elsewhere.to_json()),))
    result = rewrite.run([wrong], context(atlas_graph, rewrite.RewriteSettings()))
    assert [reject.reason for reject in result.rejects] == ["other_answer"]


def test_the_canonical_question_stays(questions: StageResult, rewrites: StageResult) -> None:
    before = {row.id: row for row in questions.rows}
    for row in rewrites.rows:
        changed = dataclasses.replace(row, question=row.canonical, rewrites=row.rewrites[:1])
        assert changed == before[row.id]


def test_the_same_rows_are_rewritten_alike(atlas_graph: Graph, rows: list[Candidate], rewrites: StageResult) -> None:
    again = rewritten(Graph.open(atlas_graph.folder), rows[:100])
    assert again.rows == rewrites.rows[: len(again.rows)]


@pytest.mark.slow
def test_the_atlas_gives_two_thousand_certified_questions(atlas: Corpus, atlas_graph: Graph) -> None:
    rows = {row.id: row for shard in range(SHARDS) for row in drawn(atlas_graph, PATHS, shard)}
    made = rewritten(atlas_graph, list(rows.values()))
    grounded = ground.run(made.rows, context(atlas_graph, ground.GroundSettings(), atlas))
    brute = BruteForce(atlas.pages)
    for row in grounded.rows:
        assert_certified(brute, row)
        assert_no_leak(dict(atlas.pages), row, row.path)
    different = {(row.path, row.attribute) for row in grounded.rows}
    print(f"{len(different)} certified questions of {SHARDS * PATHS} paths drawn")
    assert len(different) >= WANTED
