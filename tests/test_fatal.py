"""The fatal step and the token mask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import SettingError
from osvl_plugins.fatal import MODES, FatalSettings, fatal_step, token_mask
from osvl_plugins.settings import read
from osvl_plugins.trajectory import Span

E, C = True, False


@pytest.mark.parametrize(
    ("errors", "first"),
    [
        ([], None),
        ([E, E], None),
        ([E, E, C, E, E], None),
        ([E, E, E], 0),
        ([C, E, E, E], 1),
        ([E, E, C, E, E, E, E], 3),
        ([E, E, E, C, C, E, E, E], 0),
    ],
)
def test_the_fatal_step_begins_the_first_run_of_three_errors(errors, first):
    assert fatal_step(errors) == first


def test_at_last_names_the_error_that_completes_the_run():
    assert fatal_step([C, E, E, E, E], at="last") == 3


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 6), st.sampled_from(["first", "last"]))
def test_the_fatal_step_equals_a_search_over_all_windows(errors, k, at):
    starts = [s for s in range(len(errors) - k + 1) if all(errors[s : s + k])]
    expected = None if not starts else starts[0] + (0 if at == "first" else k - 1)
    assert fatal_step(errors, k, at) == expected


@given(st.lists(st.booleans(), max_size=20), st.lists(st.booleans(), max_size=10))
def test_what_follows_a_fatal_step_never_moves_it(errors, more):
    step = fatal_step(errors)
    if step is not None:
        assert fatal_step(errors + more) == step


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(ValueError, match="k must be at least 1"):
        fatal_step([], k)


SPANS = [Span(0, 2), Span(4, 5), Span(6, 8)]


@pytest.mark.parametrize(
    ("mode", "mask"),
    [
        ("vanilla", [1, 1, 0, 0, 1, 0, 1, 1, 0]),
        ("hard_mask", [0] * 9),
        ("fatal_mask", [1, 1, 0, 0, 0, 0, 0, 0, 0]),
        ("fatal_mask_clamp", [1, 1, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_only_turns_before_the_fatal_step_keep_their_tokens(mode, mask):
    assert token_mask(9, SPANS, 1, mode) == mask


@pytest.mark.parametrize("mode", MODES)
def test_without_a_fatal_step_every_mode_keeps_all_sampled_tokens(mode):
    assert token_mask(9, SPANS, None, mode) == [1, 1, 0, 0, 1, 0, 1, 1, 0]


def test_a_fatal_first_step_leaves_nothing_to_train():
    assert sum(token_mask(9, SPANS, 0, "fatal_mask_clamp")) == 0


def test_a_span_outside_the_tokens_is_refused():
    with pytest.raises(ValueError, match="outside"):
        token_mask(3, [Span(2, 5)], None, "vanilla")


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"k": 0}, "algorithm.fatal.k"),
        ({"k": "3"}, "algorithm.fatal.k"),
        ({"k": True}, "algorithm.fatal.k"),
        ({"mode": "soft"}, "algorithm.fatal.mode"),
        ({"at": "middle"}, "algorithm.fatal.at"),
        ({"on_fatal": "retry"}, "algorithm.fatal.on_fatal"),
        ({"kk": 3}, "algorithm.fatal.kk"),
    ],
)
def test_a_bad_setting_fails_with_its_full_name(values, name):
    with pytest.raises(SettingError) as error:
        read(FatalSettings, values, "algorithm.fatal")
    assert error.value.name == name
    assert str(error.value).startswith(name)
