"""Held-out rows share nothing with the others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.data.splits import held_out
from osvl_plugins.errors import OsvlError

KEYS = st.lists(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=3), min_size=1, max_size=20)


@given(keys=KEYS, data=st.data())
def test_no_key_is_on_both_sides(keys: list[list[str]], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(keys) - 1))
    chosen = held_out(keys, count)
    inside = {key for place in chosen for key in keys[place]}
    outside = {key for place, row in enumerate(keys) if place not in chosen for key in row}
    assert not inside & outside
    assert len(chosen) <= count


@given(count=st.integers(0, 99), seed=st.integers(0, 9))
def test_rows_that_share_nothing_are_chosen_to_the_number_wherever_they_stand(count: int, seed: int) -> None:
    keys = [[f"picture {number}"] for number in range(100)]
    shuffled = random.Random(seed).sample(keys, len(keys))
    chosen = {keys[place][0] for place in held_out(keys, count)}
    assert len(chosen) == count
    assert {shuffled[place][0] for place in held_out(shuffled, count)} == chosen


@given(fewer=st.integers(0, 98))
def test_holding_out_more_keeps_those_that_were_held_out(fewer: int) -> None:
    keys = [[f"picture {number}"] for number in range(100)]
    assert held_out(keys, fewer) < held_out(keys, fewer + 1)


@pytest.mark.parametrize("count", [3, 4])
def test_something_must_be_left_to_train_on(count: int) -> None:
    with pytest.raises(OsvlError, match="leaves nothing of 3 rows"):
        held_out([["a"], ["b"], ["c"]], count)


def test_of_no_rows_none_is_held_out() -> None:
    assert held_out([], 256) == set()
