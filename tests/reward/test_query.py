"""r_query by evidence: the share of the evidence that the calls brought."""

from __future__ import annotations

import pytest

from osvl_plugins.reward.query import evidence_score
from osvl_plugins.trajectory import Turn
from tests.reward.trajectories import answered, error, found, trajectory


@pytest.mark.parametrize(
    ("turns", "evidence", "fatal_step", "score"),
    [
        ([], ["a"], None, 0.0),
        ([answered("x")], ["a"], None, 0.0),
        ([found("a")], ["a"], None, 1.0),
        ([found("b")], ["a"], None, 0.0),
        ([found("a"), found("c", "b")], ["a", "b"], None, 1.0),
        # named or found twice counts once
        ([found("a", "a"), found("a")], ["a", "a", "b"], None, 0.5),
        # only what came before the fatal step
        ([found("a"), error(), error(), error(), found("b")], ["a", "b"], 1, 0.5),
        ([found("a"), error(), error(), error()], ["a"], 0, 0.0),
    ],
)
def test_shares_worked_by_hand(turns: list[Turn], evidence: list[str], fatal_step: int | None, score: float) -> None:
    assert evidence_score(trajectory(*turns, fatal_step=fatal_step), evidence) == score


def test_empty_evidence_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        evidence_score(trajectory(), [])
