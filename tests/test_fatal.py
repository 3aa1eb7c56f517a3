"""The fatal step and the token mask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import ERROR_KINDS, SettingError
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


@pytest.mark.parametrize(
    ("mode", "mask"),
    [
        ("vanilla", [1, 1, 0, 0, 1, 0, 1, 1, 0]),
        ("hard_mask", [0] * 9),
        ("fatal_mask", [1, 1, 0, 0, 1, 0, 1, 1, 0]),
        ("fatal_mask_clamp", [1, 1, 0, 0, 1, 0, 1, 1, 0]),
    ],
)
def test_fatal_after_the_last_turn_leaves_the_fatal_masks_nothing_to_take(mode, mask):
    assert token_mask(9, SPANS, 3, mode) == mask


@pytest.mark.parametrize("fatal", [-1, 4])
def test_a_fatal_step_outside_the_turns_is_refused(fatal):
    with pytest.raises(ValueError, match="outside the 3 turns"):
        token_mask(9, SPANS, fatal, "fatal_mask")


def test_a_span_outside_the_tokens_is_refused():
    with pytest.raises(ValueError, match="outside"):
        token_mask(3, [Span(2, 5)], None, "vanilla")


def settings(**values):
    return read(FatalSettings, values, "algorithm.fatal")


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
        ({"kinds": []}, "algorithm.fatal.kinds"),
        ({"kinds": ["timeout", "timeout"]}, "algorithm.fatal.kinds"),
        ({"kinds": ["slow"]}, "algorithm.fatal.kinds.0"),
        ({"detectors": []}, "algorithm.fatal.detectors"),
        ({"detectors": ["errors", "errors"]}, "algorithm.fatal.detectors"),
        ({"detectors": ["luck"]}, "algorithm.fatal.detectors.0"),
        ({"profile": "mine"}, "algorithm.fatal.profile"),
        ({"score_answer": "sometimes"}, "algorithm.fatal.score_answer"),
        ({"detectors": ["repetition"], "repetition": {"ngram": 0}}, "algorithm.fatal.repetition.ngram"),
        ({"detectors": ["repetition"], "repetition": {"min_words": -1}}, "algorithm.fatal.repetition.min_words"),
        ({"detectors": ["repetition"], "repetition": {"min_ratio": 0}}, "algorithm.fatal.repetition.min_ratio"),
        ({"detectors": ["repetition"], "repetition": {"words": 9}}, "algorithm.fatal.repetition.words"),
    ],
)
def test_a_bad_setting_fails_with_its_full_name(values, name):
    with pytest.raises(SettingError) as error:
        settings(**values)
    assert error.value.name == name
    assert str(error.value).startswith(name)


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        ({"detectors": ["void_turn"], "k": 3}, "k", "only the detector errors"),
        ({"detectors": ["void_turn"], "at": "last"}, "at", "only the detector errors"),
        ({"detectors": ["void_turn"], "kinds": ["timeout"]}, "kinds", "only the detector errors"),
        ({"repetition": {"ngram": 9}}, "repetition", "only the detector repetition"),
        ({"detectors": ["no_answer"], "mode": "fatal_mask"}, "mode", "without the clamp"),
        ({"detectors": ["overlong", "no_answer"], "on_fatal": "stop"}, "on_fatal", "only at the end"),
        ({"score_answer": True}, "score_answer", "no fatal trajectory has an answer"),
        ({"on_fatal": "stop", "score_answer": True}, "score_answer", "no fatal trajectory has an answer"),
        ({"profile": "reference", "on_fatal": "stop", "score_answer": True}, "score_answer", "has an answer"),
        ({"detectors": ["overlong"], "on_fatal": "continue", "score_answer": True}, "score_answer", "has an answer"),
    ],
)
def test_a_setting_without_effect_is_refused(values, name, reason):
    with pytest.raises(SettingError, match=reason) as error:
        settings(**values)
    assert error.value.name == f"algorithm.fatal.{name}"


@pytest.mark.parametrize(
    "values",
    [
        {"on_fatal": "continue", "score_answer": True},
        {"detectors": ["repetition"], "score_answer": True},
        {"detectors": ["void_turn"], "mode": "hard_mask"},
        {"detectors": ["overlong"], "on_fatal": "continue"},
        {"profile": "reference", "mode": "fatal_mask"},
        {"profile": "reference", "detectors": ["void_turn"]},
        {"profile": "reference", "detectors": ["no_answer"]},
        {"profile": "reference", "on_fatal": "stop"},
    ],
)
def test_what_a_profile_brings_is_never_refused(values):
    settings(**values)


def test_the_paper_is_the_default():
    plain = settings()
    assert plain == settings(profile="paper")
    assert (plain.detectors, plain.k, plain.at, plain.on_fatal) == (("errors",), 3, "first", "stop")
    assert (plain.mode, plain.score_answer, plain.kinds) == ("fatal_mask_clamp", False, ERROR_KINDS)


def test_the_reference_clamps_what_has_no_answer_and_scores_what_has():
    known = settings(profile="reference")
    assert (known.detectors, known.k, known.at, known.on_fatal) == (("errors", "no_answer"), 3, "first", "continue")
    assert (known.mode, known.score_answer, known.kinds) == ("fatal_mask_clamp", True, ERROR_KINDS)


def test_a_given_setting_wins_over_the_profile():
    mixed = settings(profile="reference", k=5, on_fatal="stop", detectors=["errors", "void_turn"])
    assert (mixed.k, mixed.on_fatal, mixed.detectors) == (5, "stop", ("errors", "void_turn"))
    assert (mixed.at, mixed.score_answer) == ("first", True)


@pytest.mark.parametrize("profile", [None, "paper", "reference"])
def test_null_is_the_same_as_left_out(profile):
    others = {name: None for name in FatalSettings.model_fields if name != "profile"}
    assert settings(profile=profile, **others) == settings(**({"profile": profile} if profile else {}))
