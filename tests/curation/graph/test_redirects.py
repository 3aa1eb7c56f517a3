"""Where redirects end, compared with following them one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.curation.graph.redirects import follow


def slowly(steps: list[int], titles: int, start: int) -> int:
    name, seen = start, set[int]()
    while name >= titles:
        if name in seen:
            return titles
        seen.add(name)
        name = steps[name - titles]
    return name


@given(st.integers(1, 5), st.data())
def test_every_chain_ends_where_following_it_ends_and_every_cycle_is_one(titles: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 20))
    steps = data.draw(st.lists(st.integers(-1, titles + count - 1), min_size=count, max_size=count))
    ends = follow(np.array(steps, np.int32), titles)
    expected = [slowly(steps, titles, titles + number) for number in range(count)]
    assert [min(int(end), titles) for end in ends] == expected


def test_a_chain_of_a_million_redirects_is_followed() -> None:
    count = 1_000_000
    steps = np.arange(0, count, dtype=np.int32)
    assert (follow(steps, 1) == 0).all()
