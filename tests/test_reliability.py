"""The reliability of groups: its formula, and what follows from it."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.errors import ERROR_KINDS, SettingError
from osvl_plugins.reliability import ReliabilitySettings, faults, group_reliability, group_weight
from osvl_plugins.settings import read
from osvl_plugins.trajectory import Observation, StepError, ToolCall, Trajectory, Turn


def slow(scores: list[float], group: list[Any], met: list[int], counted: list[bool]) -> list[float]:
    """The formula, a row at a time."""
    result = []
    for me in range(len(scores)):
        peers = [row for row in range(len(scores)) if group[row] == group[me] and counted[row]]
        reward, fault = [scores[row] for row in peers], [float(met[row]) for row in peers]
        if not counted[me] or len(set(reward)) < 2 or len(set(fault)) < 2:
            result.append(1.0)
        else:
            result.append(1 - min(statistics.correlation(reward, fault), 0.0) ** 2)
    return result


def reliability(scores: list[float], met: list[int], group: Any = None, counted: list[bool] | None = None) -> Any:
    rows = len(scores)
    labels = np.array(group if group is not None else ["a"] * rows, dtype=object)
    return group_reliability(
        torch.tensor(scores, dtype=torch.float64),
        labels,
        torch.tensor(met),
        torch.tensor(counted if counted is not None else [True] * rows),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[float], list[int], list[Any], list[bool]]:
    rows = draw(st.integers(1, 14))

    def column(values: Any) -> Any:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    score = st.sampled_from([0.0, 0.1, 0.2, 0.8, 1.0]) | st.integers(0, 1000).map(lambda part: part / 1000)
    labels = draw(st.sampled_from([["a", "b"], [3, 4]]))
    return column(score), column(st.integers(0, 4)), column(st.sampled_from(labels)), column(st.booleans())


@given(batches())
@settings(max_examples=400)
def test_equals_the_slow_formula(batch: tuple[Any, ...]) -> None:
    scores, met, group, counted = batch
    got = reliability(scores, met, group, counted)
    torch.testing.assert_close(got, torch.tensor(slow(scores, group, met, counted), dtype=torch.float64))
    assert ((got >= 0) & (got <= 1)).all()


@given(batches(), st.floats(0.1, 10), st.floats(-10, 10))
@settings(max_examples=100)
def test_the_scale_of_the_rewards_does_not_matter(batch: tuple[Any, ...], scale: float, shift: float) -> None:
    scores, met, group, counted = batch
    moved = reliability([scale * score + shift for score in scores], met, group, counted)
    torch.testing.assert_close(moved, reliability(scores, met, group, counted), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("scores", "met", "expected"),
    [
        ([0.0, 0.3, 1.0], [0, 0, 0], 1.0),  # no fault
        ([0.0, 0.3, 1.0], [2, 2, 2], 1.0),  # the same for all
        ([0.0, 0.5, 1.0], [0, 1, 2], 1.0),  # faults cost nothing
        ([1.0, 0.5, 0.0], [0, 1, 2], 0.0),  # all that differs is faults
        ([1.0, 0.0, 1.0, 0.0], [0, 1, 1, 0], 1.0),  # unrelated
        ([1.0, 1.0, 1.0, 0.0], [0, 0, 1, 1], 2 / 3),  # corr = -1/sqrt(3)
        ([0.1] * 7, [0, 1, 2, 0, 1, 2, 3], 1.0),  # equal rewards, however their mean rounds
        ([1.0], [3], 1.0),
    ],
)
def test_worked_by_hand(scores: list[float], met: list[int], expected: float) -> None:
    assert reliability(scores, met).tolist() == pytest.approx([expected] * len(scores))


def test_rows_that_do_not_count_change_nothing() -> None:
    got = reliability([1.0, 0.5, 0.0, math.nan], [0, 1, 2, 0], counted=[True, True, True, False])
    assert got.tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("how", "expected"),
    [({}, [1.0, 1.0, 1.0]), ({"mode": "weight"}, [0.2, 0.5, 1.0]), ({"mode": "drop"}, [0.0, 1.0, 1.0])],
)
def test_a_mode_makes_a_weight_of_it(how: dict[str, Any], expected: list[float]) -> None:
    weight = group_weight(torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64), ReliabilitySettings(**how))
    assert weight.tolist() == expected


@pytest.mark.parametrize("kind", ERROR_KINDS)
def test_only_the_environments_faults_are_counted(kind: Any) -> None:
    turns = [
        Turn("", call=ToolCall("visit", {}), observation=Observation("", error=StepError(kind, ""))),
        Turn("", call=ToolCall("visit", {}), observation=Observation("page")),
        Turn("", answer="x"),
    ]
    assert faults(Trajectory("", turns), ReliabilitySettings()) == (kind in ("timeout", "rate_limited", "unavailable"))
    assert faults(Trajectory("", turns), ReliabilitySettings(kinds=(kind,))) == 1


@pytest.mark.parametrize(
    ("given_settings", "name"),
    [
        ({"mode": "on"}, "algorithm.reliability.mode"),
        ({"drop_below": 2}, "algorithm.reliability.drop_below"),
        ({"kinds": []}, "algorithm.reliability.kinds"),
        ({"kinds": ["slow"]}, "algorithm.reliability.kinds.0"),
        ({"weight": 1}, "algorithm.reliability.weight"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_full_name(given_settings: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingError) as refused:
        read(ReliabilitySettings, given_settings, "algorithm.reliability")
    assert refused.value.name == name
