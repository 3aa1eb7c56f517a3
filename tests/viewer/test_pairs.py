"""Pairs of trajectories for one question."""

from __future__ import annotations

from osvl_plugins.viewer.pairs import Asked, pair


def asked(source: int, questions: str, world: str = "") -> list[Asked]:
    return [Asked(source, world, question) for question in questions.split()]


def test_a_question_is_paired_wherever_it_stands() -> None:
    assert pair(asked(0, "a b c") + asked(1, "c a")) == [(0, 4), (1, None), (2, 3)]


def test_what_only_the_second_has_comes_last() -> None:
    assert pair(asked(0, "a") + asked(1, "z a y")) == [(0, 2), (None, 1), (None, 3)]


def test_samples_of_one_question_are_paired_in_order() -> None:
    assert pair(asked(0, "a a a") + asked(1, "a a")) == [(0, 3), (1, 4), (2, None)]


def test_worlds_are_kept_apart_where_both_have_them() -> None:
    both = asked(0, "a", "calm") + asked(0, "a", "faulty") + asked(1, "a", "faulty")
    assert pair(both) == [(0, None), (1, 2)]
    assert pair(asked(0, "a", "calm") + asked(1, "a", "eval")) == [(0, 1)]
