"""r_fmt: the share of well-formed turns."""

from __future__ import annotations

import pytest

from osvl_plugins.reward.format import format_score
from osvl_plugins.trajectory import Turn
from tests.reward.trajectories import answered, error, found, trajectory


@pytest.mark.parametrize(
    ("turns", "fatal_step", "score"),
    [
        ([], None, 0.0),
        ([answered("x")], None, 1.0),
        ([found(), answered("x")], None, 1.0),
        ([error("parse")], None, 0.0),
        ([error("parse"), answered("x")], None, 0.5),
        # a call that failed is well-formed
        ([error("bad_arguments"), error("unknown_tool"), error("timeout")], None, 1.0),
        ([found(), error("parse"), error("parse"), error("parse")], 1, 1.0),
        ([found(), error("parse"), error("parse"), error("parse")], 2, 0.5),
        ([error("parse"), error("parse"), error("parse"), answered("x")], 0, 0.0),
        ([found(), error("parse")], 2, 0.5),
    ],
)
def test_shares_worked_by_hand(turns: list[Turn], fatal_step: int | None, score: float) -> None:
    assert format_score(trajectory(*turns, fatal_step=fatal_step)) == score
