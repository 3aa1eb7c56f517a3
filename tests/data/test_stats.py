"""Numbers about data."""

from __future__ import annotations

import pytest

from osvl_plugins.data.stats import Spread, measure
from tests.data import released
from tests.data.rows import rl, sft


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "-"),
        ([3], "3.0 / 3 / 3 / 3"),
        (list(range(101)), "50.0 / 50 / 90 / 100"),
        ([1, 2_000_000], "1,000,000.5 / 1 / 2,000,000 / 2,000,000"),
    ],
)
def test_a_spread_has_mean_median_ninetieth_percentile_and_largest(values: list[int], text: str) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    assert str(spread) == text


def test_trajectories_are_counted_by_subset() -> None:
    picture = released.picture(1, (40, 30))
    stats = measure(
        [sft(pictures=[picture, picture]), sft(pictures=[picture]), sft(subset="palace", pictures=[picture])]
    )
    assert list(stats) == ["sft fvqa", "sft palace"]
    fvqa = stats["sft fvqa"]
    assert (fvqa.rows, str(fvqa.turns), str(fvqa.pixels)) == (2, "3.5 / 3 / 4 / 4", "1,200.0 / 1,200 / 1,200 / 1,200")
    assert fvqa.calls == {"image_search": 2, "text_search": 2, "crop": 1}
    assert str(fvqa.answer) == "19.0 / 19 / 19 / 19"


def test_questions_are_counted_by_subset() -> None:
    (stats,) = measure([rl(answer="Oslo"), rl(answer="Rome!!")]).values()
    assert (stats.rows, str(stats.answer), str(stats.turns)) == (2, "5.0 / 4 / 6 / 6", "-")


def test_unreadable_turns_and_pictures_are_no_hindrance() -> None:
    (stats,) = measure([sft(pictures=[b"damaged"], last="It is 1988.")]).values()
    assert stats.calls["(unreadable)"] == 1
    assert str(stats.pixels) == "-"
