"""The difficulty filter: what goes, why, and what stays on record."""

from __future__ import annotations

from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, StageContext, StageResult
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.offline import OfflineLanguage
from osvl_plugins.curation.solver import NO_TOOLS, Budget
from osvl_plugins.curation.stages import filter
from osvl_plugins.curation.stages.filter import FilterSettings
from osvl_plugins.errors import ErrorKind, ToolError

HARD, RECALLED, SEARCHED = "hard?", "recalled?", "searched?"


class Knowing:
    """Knows the answer "Oslo" to some questions, always or by image search, and fails at a question ``timeout``."""

    version = "knowing-1"

    def __init__(self) -> None:
        self.closed = 0

    async def solve(self, question: str, image: bytes, budget: Budget) -> str:
        if question in ("timeout", "unavailable"):
            kind: ErrorKind = "timeout" if question == "timeout" else "unavailable"
            raise ToolError(kind, "no answer")
        known = question == RECALLED or (question == SEARCHED and budget != NO_TOOLS)
        return "Oslo" if known else "Bergen"

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def graph(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("graph") / "graph"
    build_atlas_graph(atlas, folder)
    return Graph.open(folder)


def row(question: str, answer: str = "Oslo") -> Candidate:
    return Candidate(question, "train", question=question, answer=answer, accepted=(answer,), image=b"x")


def filtered(graph: Graph, *rows: Candidate, **settings: Any) -> StageResult:
    context = StageContext(0, FilterSettings(**settings), graph, OfflineLanguage())
    return filter.run(list(rows), context, Knowing())


def reasons(result: StageResult) -> dict[str, str]:
    return {reject.id: reject.reason for reject in result.rejects}


def test_what_is_recalled_goes_first_and_then_what_is_searched(graph: Graph) -> None:
    result = filtered(graph, row(RECALLED), row(HARD), row(SEARCHED))
    assert reasons(result) == {RECALLED: "no_tools", SEARCHED: "one_image_search"}
    assert [kept.id for kept in result.rows] == [HARD]
    assert "knowing-1: Oslo" in result.rejects[0].detail


def test_what_stays_has_its_verdicts(graph: Graph) -> None:
    (kept,) = filtered(graph, row(HARD)).rows
    assert kept.verdicts == {"no_tools": False, "one_image_search": False}


def test_a_test_can_be_left_out(graph: Graph) -> None:
    assert reasons(filtered(graph, row(RECALLED), row(SEARCHED), one_image_search=False)) == {RECALLED: "no_tools"}


@pytest.mark.parametrize("kind", ["timeout", "unavailable"])
def test_what_could_not_be_tested_is_not_kept(kind: str, graph: Graph) -> None:
    assert reasons(filtered(graph, row(kind), row(HARD))) == {kind: f"solver_{kind}"}


def test_an_answer_that_the_rules_cannot_read_goes(graph: Graph) -> None:
    assert reasons(filtered(graph, row(HARD, answer="…"))) == {HARD: "unjudgeable"}


def test_without_a_solver_all_stay(graph: Graph) -> None:
    context = StageContext(0, FilterSettings(no_tools=False, one_image_search=False), graph, OfflineLanguage())
    assert filter.run([row(RECALLED)], context, None) == StageResult([row(RECALLED)], [])
