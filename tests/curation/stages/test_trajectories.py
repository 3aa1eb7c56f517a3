"""Trajectories: what an expert does with the real tools, and what two judges let through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.backends.budget import FileBudgets
from osvl_plugins.backends.http import Http, HttpSettings
from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.curation.examples import Example
from osvl_plugins.curation.stages.trajectories import TrajectoriesSettings, build_crew
from osvl_plugins.curation.stages.trajectories import run as trajectories
from osvl_plugins.errors import SettingError
from osvl_plugins.protocol import format_answer, format_call
from tests.backends.doubles import recorder
from tests.curation.conftest import Run
from tests.curation.stages.making import context
from tests.curation.talkers import Talker, talking

LOOK = format_call("image_search", {"url": "img_1"}, "what is it")


def settings(**values: Any) -> TrajectoriesSettings:
    return TrajectoriesSettings.model_validate({"tools": {"tools": ["image_search", "text_search", "visit"]}, **values})


def work(run: Run, rows: list[Candidate], folder: Path, made: TrajectoriesSettings) -> Any:
    http = Http(HttpSettings(attempts=1), FileBudgets(folder / "budgets", {}))
    crew = build_crew(made, http, recorder(folder))
    return trajectories(rows, context(run.graph, made, run.corpus), crew)


def examples(rows: list[Candidate]) -> Iterator[tuple[Candidate, Example]]:
    return ((row, Example.from_json(row.trajectories[0])) for row in rows if row.trajectories)


@contextmanager
def expert(*turns: str | int) -> Iterator[Talker]:
    with talking(turns) as talker:
        yield talker


def served(talker: Talker, **values: Any) -> TrajectoriesSettings:
    return settings(expert={"engine": "server", "url": talker.url, "model": "m"}, **values)


def test_the_script_answers_most_questions_over_edges_either_way(run: Run) -> None:
    rows = run.rows()
    inverse = [row for row in rows if any(hop.inverse for hop in row.hops)]
    assert inverse
    for listed in (rows, inverse):
        assert sum(bool(row.trajectories) for row in listed) > len(listed) / 2


def test_every_row_stays_and_one_without_a_trajectory_has_a_reason(run: Run) -> None:
    rows = run.rows()
    assert [row.id for row in rows] == [row.id for row in run.rows("enhance")]
    assert {row.id for row in rows if not row.trajectories} == {r.id for r in run.folder.rejects("trajectories")}


def test_the_script_answers_and_visits_only_what_a_tool_has_brought(run: Run) -> None:
    for _, example in examples(run.rows()):
        seen = ""
        for turn in example.trajectory.turns:
            said = turn.call.arguments.get("url", "img_1") if turn.call else turn.answer
            assert said == "img_1" or str(said) in seen
            seen += turn.observation.text if turn.observation else ""


def test_a_degraded_picture_is_repaired_once_it_is_of_no_use(run: Run) -> None:
    repaired = [(row, example) for row, example in examples(run.rows()) if row.repair]
    assert repaired
    for row, example in repaired:
        assert row.repair is not None
        calls = [turn.call.name for turn in example.trajectory.turns if turn.call]
        assert calls[:3] == ["image_search", row.repair.tool, "image_search"]


def test_a_call_that_failed_is_made_again_and_no_other(run: Run, tmp_path: Path) -> None:
    rows = [replace(row, trajectories=()) for row in run.rows() if row.trajectories][:12]
    made = TrajectoriesSettings.model_validate({"episode": {"faults": {"start": 0.15, "stay": 0.0}}})
    failing = 0
    for _, example in examples(work(run, rows, tmp_path, made).rows):
        turns = example.trajectory.turns
        for turn, following in pairwise(turns):
            if turn.is_error:
                assert turn.text == following.text
                failing += 1
    assert failing


def test_the_script_follows_links_that_have_no_relation(run: Run, tmp_path: Path) -> None:
    row = next(row for row in run.rows() if row.trajectories and all(hop.anchor for hop in row.hops) and not row.repair)
    bare = tuple(hop._replace(relation="") for hop in row.hops)
    ((kept,), rejects) = work(run, [replace(row, hops=bare, trajectories=())], tmp_path, TrajectoriesSettings())
    assert rejects == []
    ((_, example),) = examples([kept])
    assert example.trajectory.answer == row.answer


def test_the_same_rows_give_the_same_trajectories(run: Run, tmp_path: Path) -> None:
    rows = run.rows("enhance")[:6]
    made = TrajectoriesSettings()
    assert work(run, rows, tmp_path, made) == work(run, rows, tmp_path, made)


def test_an_example_is_itself_again_by_way_of_json(run: Run) -> None:
    for row, example in examples(run.rows()):
        assert example.to_json() == row.trajectories[0]


def test_a_server_is_asked_five_times_and_the_shortest_right_answer_is_kept(run: Run, tmp_path: Path) -> None:
    row = next(row for row in run.rows() if row.trajectories and not row.repair)
    ((_, shown),) = examples([row])
    path = [turn.text for turn in shown.trajectory.turns]
    detour = [format_call("text_search", {"q": "weather"}, "perhaps"), *path]
    wrong = format_answer("no idea", "hm")
    with expert(LOOK, wrong, *detour, *path, LOOK, wrong, LOOK, wrong) as talker:
        ((kept,), rejects) = work(run, [replace(row, trajectories=())], tmp_path, served(talker))
    assert rejects == []
    assert [turn.text for turn in Example.from_json(kept.trajectories[0]).trajectory.turns] == path
    assert sum(len(body["messages"]) == 2 for body in talker.asked) == 5


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([LOOK, format_answer("Atlantis", "surely")], "wrong_answer"),
        ([LOOK, "I am lost.", "I am lost.", "I am lost."], "no_answer"),
        ([500], "expert_failed"),
        ([""], "expert_failed"),
        ([LOOK, LOOK, "RIGHT"], "repeated_call"),
        (["RIGHT"], "no_search"),
        ([LOOK, "RIGHT"], "answer_unseen"),
        ([format_call("crop", {"image": "img_1"}, "closer"), LOOK, "RIGHT"], "bad_call"),
    ],
)
def test_a_bad_trajectory_is_no_example(run: Run, tmp_path: Path, turns: list[str | int], reason: str) -> None:
    row = next(row for row in run.rows() if row.trajectories and not row.repair and not row.answer.isdigit())
    right = format_answer(row.answer, "of course")
    with expert(*(right if turn == "RIGHT" else turn for turn in turns)) as talker:
        rows, rejects = work(
            run, [replace(row, trajectories=())], tmp_path, served(talker, n=1, episode={"max_turns": 4})
        )
    assert [(reject.id, reject.reason) for reject in rejects] == [(row.id, reason)]
    assert rows == [replace(row, trajectories=())]


@pytest.mark.parametrize(
    ("verdict", "reasons"),
    [
        ({"reason": "fine", "tools": "good", "logic": "good", "economy": "good"}, []),
        ({"reason": "it guessed", "tools": "good", "logic": "bad", "economy": "good"}, ["judged_logic"]),
        ("I like it", ["judge_failed"]),
    ],
)
def test_a_model_judges_what_passes_the_rules(run: Run, tmp_path: Path, verdict: Any, reasons: list[str]) -> None:
    row = next(row for row in run.rows() if row.trajectories)
    said = verdict if isinstance(verdict, str) else json.dumps(verdict)
    with talking([said, said]) as judge:
        made = TrajectoriesSettings.model_validate({"process": "server", "judge": {"url": judge.url, "model": "m"}})
        rows, rejects = work(run, [replace(row, trajectories=())], tmp_path, made)
    assert [reject.reason for reject in rejects] == reasons
    assert bool(rows[0].trajectories) == (not reasons)
    shown = judge.asked[0]["messages"][1]["content"]
    assert row.question in shown
    assert "<thought>I look up what the picture shows.</thought>" in shown


def test_a_row_without_a_path_has_no_script(run: Run, tmp_path: Path) -> None:
    row = replace(run.rows()[0], path=(), hops=(), rewrites=(), source="fvqa", trajectories=())
    rows, rejects = work(run, [row], tmp_path, settings())
    assert (rows, [reject.reason for reject in rejects]) == ([row], ["no_script"])


@pytest.mark.parametrize("values", [{"expert": {"engine": "server"}}, {"process": "server"}, {"answers": "server"}])
def test_a_server_without_an_address_is_refused_at_the_start(run: Run, tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"curate\.trajectories\.(expert|judge)\.url"):
        work(run, [], tmp_path, settings(**values))
