"""What a page holds of a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.fatal import FatalMode
from osvl_plugins.trajectory import Observation, StepError, ToolCall, Trajectory, Turn
from osvl_plugins.viewer.records import Box, boxes_of, line_of, trained
from osvl_plugins.viewer.rows import Entry
from tests.viewer.dumps import CROP, asked, cut


def entry(trajectory: Trajectory, **fields: Any) -> Entry:
    given: dict[str, Any] = {"kind": "rollout", **fields}
    return Entry(trajectory, source=0, file=Path("1.jsonl"), group="1", name="u_0_0", prompt="u", **given)


def marks(made: Entry, mode: FatalMode = "fatal_mask_clamp") -> str:
    return "".join("?" if flag is None else str(int(flag)) for flag in trained(made, mode))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("vanilla", "1111"), ("hard_mask", "0000"), ("fatal_mask", "1000"), ("fatal_mask_clamp", "1000")],
)
def test_what_trains_is_what_the_mode_lets_train(mode: FatalMode, expected: str) -> None:
    assert marks(entry(asked("c e e e", "q", fatal_step=1)), mode) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (entry(asked("c e A", "q")), "111"),
        (entry(asked("c c", "q", end="policy_error")), "00"),
        (entry(asked("c A", "q"), unscored="no judge"), "00"),
        (entry(asked("c A", "q"), kind="evaluation"), "??"),
        (entry(asked("c A", "q"), kind="sft"), "11"),
        (entry(Trajectory("q", [Turn("x")])), "?"),
        (entry(asked("c c", "q", fatal_step=2)), "11"),
    ],
    ids=["not fatal", "failed", "unscored", "evaluation", "sft", "no spans", "fatal after the last"],
)
def test_what_trains_of_other_trajectories(made: Entry, expected: str) -> None:
    assert marks(made) == expected


def test_a_box_lies_on_the_picture_that_was_cut() -> None:
    assert boxes_of(cut()) == {"img_1": [Box(50, 20, 60, 40, 0, "img_2")]}


def test_a_refused_box_is_one_without_a_result() -> None:
    made = cut()
    made.turns[0].observation = Observation("", error=StepError("bad_arguments", ""))
    assert boxes_of(made) == {"img_1": [Box(50, 20, 60, 40, 0, None)]}


@pytest.mark.parametrize("wrong", [{"x": "left"}, {"image": "img_9"}, {"width": 10**400}])
def test_a_box_that_cannot_be_drawn_is_none(wrong: dict[str, Any]) -> None:
    failed = Observation("", error=StepError("bad_arguments", ""))
    made = cut()
    made.turns[0] = Turn("", ToolCall("crop", {**CROP, **wrong}), observation=failed)
    assert boxes_of(made) == {}


def test_a_line_names_known_tools_and_the_kinds_of_error() -> None:
    made = asked("c k u A", "q")
    made.turns[1].call = ToolCall("invented-by-the-model", {})
    line = line_of(entry(made, parts={"score": 0.5, "accuracy": 1.0}), "1/u_0_0", 0, "")
    assert (line.tools, line.kinds) == (["step", "unknown"], ["unavailable", "unknown_tool"])
    assert (line.answer, line.end, line.turns, line.score, line.accuracy) == ("right", "answer", 4, 0.5, 1.0)


def test_an_unscored_line_has_no_score() -> None:
    line = line_of(entry(asked("A", "q"), parts={"score": 0.0}, unscored="no judge"), "1/u_0_0", 0, "")
    assert (line.score, line.unscored) == (None, True)
