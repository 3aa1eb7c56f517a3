"""Metrics of a batch, worked by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("verl")

from osvl_plugins.errors import SettingError
from osvl_plugins.trajectory import ImageRecord, Observation, StepError, ToolCall, Trajectory, Turn
from osvl_plugins.verl.metrics import rollout_metrics
from osvl_plugins.verl.rollout import RolloutRecord


def error(tool: str | None, kind: str) -> Turn:
    call = ToolCall(tool, {}) if tool is not None else None
    return Turn("", call=call, observation=Observation("", error=StepError(kind, "")))  # type: ignore[arg-type]


GOOD = Turn("", call=ToolCall("visit", {}), observation=Observation("page"))
RECORDS = [
    RolloutRecord(
        Trajectory("", [GOOD, Turn("", answer="x")],
                   [ImageRecord("img_1", 9, 9), ImageRecord("img_2", 9, 9)], "answer"),
        sampled_tokens=30,
        trained_tokens=30,
    ),
    RolloutRecord(
        Trajectory("", [GOOD, error("visit", "timeout"), error(None, "parse"), error("zoom", "unknown_tool")],
                   [ImageRecord("img_1", 9, 9)], "fatal", fatal_step=1),
        sampled_tokens=50,
        trained_tokens=10,
    ),
    RolloutRecord(Trajectory("", end="policy_error", failure="gone"), sampled_tokens=0, trained_tokens=0),
]  # fmt: skip
REWARDS = [{"accuracy": 1.0, "query": float("nan")}, {"accuracy": 0.0, "query": 0.5}, {"accuracy": 0.0, "query": 0.0}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fatal_rate/mean", 1 / 3),
        ("failed_rate/mean", 1 / 3),
        ("answered_rate/mean", 1 / 3),
        ("clamped_rows", 2),
        ("untrained_rows", 1),
        ("masked_tokens", 40),
        ("sampled_tokens", 80),
        ("turns/mean", 2),
        ("images/mean", 1),
        ("error_steps/mean", 0.5),
        ("error_steps/tool/visit/mean", 1 / 6),
        ("error_steps/tool/none/mean", 1 / 6),
        ("error_steps/tool/unknown/mean", 1 / 6),
        ("error_steps/kind/timeout/mean", 1 / 6),
        ("error_steps/kind/parse/mean", 1 / 6),
        ("error_steps/kind/unknown_tool/mean", 1 / 6),
        ("reward/accuracy/mean", 1 / 3),
        ("reward/query/mean", 0.25),
    ],
)
def test_a_metric_is_what_its_name_says(name: str, value: float) -> None:
    assert rollout_metrics(RECORDS, REWARDS, 2)[f"osvl/{name}"] == pytest.approx(value)


def test_there_are_no_other_metrics_for_names_that_the_model_invents() -> None:
    assert not [name for name in rollout_metrics(RECORDS, REWARDS, 2) if "zoom" in name]


def test_a_batch_without_a_turn_has_none() -> None:
    assert rollout_metrics(RECORDS[2:], REWARDS[2:], 0)["osvl/turns/mean"] == 0


def test_a_part_that_is_unknown_everywhere_is_left_out() -> None:
    assert "osvl/reward/query/mean" not in rollout_metrics(RECORDS[:1], REWARDS[:1], 0)


def test_an_empty_batch_has_no_metrics() -> None:
    assert rollout_metrics([], [], 0) == {}


def test_a_record_comes_back_from_its_fields() -> None:
    assert [RolloutRecord.from_fields(record.to_fields()) for record in RECORDS] == RECORDS


def test_rows_of_another_agent_loop_are_refused() -> None:
    with pytest.raises(SettingError, match=r"^actor_rollout_ref.rollout.agent.default_agent_loop"):
        RolloutRecord.from_fields({"turn_scores": []})
