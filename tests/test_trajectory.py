"""Trajectories as JSON and back."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import ERROR_KINDS
from osvl_plugins.trajectory import (
    EndReason,
    ImageRecord,
    Observation,
    Span,
    StepError,
    ToolCall,
    Trajectory,
    Turn,
)

text = st.text(st.characters(), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
observations = st.builds(
    Observation,
    text=text,
    image_ids=st.lists(text, max_size=2).map(tuple),
    error=st.none() | st.builds(StepError, st.sampled_from(ERROR_KINDS), text),
    pages=st.lists(text, max_size=3).map(tuple),
    latency_s=st.floats(0, 1e6),
    backend=text,
)
turns = st.builds(
    Turn,
    text=text,
    call=st.none() | st.builds(ToolCall, text, st.dictionaries(text, json_values, max_size=3)),
    answer=st.none() | text,
    observation=st.none() | observations,
    span=st.none() | st.builds(Span, st.integers(0, 99), st.integers(0, 99)),
)
trajectories = st.builds(
    Trajectory,
    question=text,
    turns=st.lists(turns, max_size=4),
    images=st.lists(
        st.builds(ImageRecord, text, st.integers(1), st.integers(1), st.none() | text, st.none() | text), max_size=3
    ),
    end=st.sampled_from(get_args(EndReason)),
    fatal_step=st.none() | st.integers(0, 50),
    failure=st.none() | text,
    found=text,
)


@given(trajectories)
def test_a_trajectory_comes_back_from_json_as_it_was(trajectory: Trajectory) -> None:
    assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict()))) == trajectory


@given(trajectories)
def test_there_is_one_error_flag_a_turn(trajectory: Trajectory) -> None:
    assert trajectory.errors == [bool(t.observation and t.observation.error) for t in trajectory.turns]


@pytest.mark.parametrize("data", [{}, {"question": "?"}, {**Trajectory("?").to_dict(), "turns": [{}]}])
def test_other_data_is_refused(data: dict) -> None:
    with pytest.raises((KeyError, TypeError)):
        Trajectory.from_dict(data)


def test_a_file_from_before_searches_were_kept_is_read() -> None:
    data = Trajectory("?").to_dict()
    del data["found"]
    assert Trajectory.from_dict(data) == Trajectory("?")


def test_only_the_last_turn_answers() -> None:
    assert Trajectory("?").answer is None
    assert Trajectory("?", [Turn("", answer="early"), Turn("")]).answer is None
    assert Trajectory("?", [Turn(""), Turn("", answer="late")]).answer == "late"
