"""Estimates, intervals and tests, against brute force, hand-computed values and simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.evaluation.statistics import (
    RESAMPLES,
    FloatArray,
    Stratum,
    best_of,
    holm,
    mcnemar,
    paired,
    rate,
    sign_flip,
)

VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def stratum(*values: float) -> Stratum:
    """Questions with one case each."""
    return Stratum(np.array(values), np.ones(len(values)))


def several(rng: np.random.Generator, p: FloatArray, samples: int) -> Stratum:
    """Questions with ``samples`` cases each, right with the question's ``p``."""
    return Stratum(rng.binomial(samples, p).astype(float), np.full(len(p), float(samples)))


@given(st.lists(VALUES, min_size=1, max_size=7))
def test_pass_at_k_is_the_mean_over_all_subsets_of_their_best(values: list[float]) -> None:
    found = best_of(np.array([values]))[0]
    for k in range(1, len(values) + 1):
        subsets = list(itertools.combinations(values, k))
        assert found[k - 1] == pytest.approx(sum(map(max, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "right"), [(1, 0), (1, 1), (8, 0), (8, 3), (8, 8), (100, 1)])
def test_pass_at_k_of_right_and_wrong_is_the_estimator_of_chen_et_al(n: int, right: int) -> None:
    found = best_of(np.array([[1.0] * right + [0.0] * (n - right)]))[0]
    for k in range(1, n + 1):
        assert found[k - 1] == pytest.approx(float(1 - Fraction(math.comb(n - right, k), math.comb(n, k))))


def test_questions_with_one_case_each_have_wilsons_interval() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, and 0 of 20.
    assert rate([stratum(*[1.0] * 81, *[0.0] * 182)]) == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-5)
    assert rate([stratum(*[0.0] * 20)]) == pytest.approx((0.0, 0.0, 0.1611), abs=5e-5)


def test_samples_of_a_question_stay_together() -> None:
    rng = np.random.default_rng(0)
    alike = rng.binomial(1, 0.5, 50).astype(float)
    once, often = rate([stratum(*alike)]), rate([Stratum(alike * 8, np.full(50, 8.0))])
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.1)


def test_a_question_weighs_as_much_as_it_has_cases() -> None:
    assert rate([Stratum(np.array([4.0, 0.0]), np.array([4.0, 1.0]))]).value == pytest.approx(0.8)


def test_the_macro_mean_weighs_benchmarks_alike_and_the_micro_mean_questions() -> None:
    large, small = stratum(*[1.0] * 90, *[0.0] * 10), stratum(0.0, 0.0, 1.0, 0.0)
    assert rate([large, small], macro=True).value == pytest.approx((0.9 + 0.25) / 2)
    assert rate([large, small]).value == pytest.approx(91 / 104)


def test_benchmarks_are_drawn_by_themselves() -> None:
    """What differs between them is no chance: their means differ much, and the interval knows nothing of it."""
    rng = np.random.default_rng(0)
    easy, hard = several(rng, np.full(200, 0.95), 4), several(rng, np.full(200, 0.05), 4)
    apart = rate([easy, hard])
    mixed = rate([Stratum(*(np.concatenate(pair) for pair in zip(easy, hard, strict=True)))])
    assert apart.value == pytest.approx(mixed.value)
    assert apart.high - apart.low < 0.5 * (mixed.high - mixed.low)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_equal_questions_do_not_make_an_interval_of_no_width(value: float) -> None:
    found = rate([Stratum(np.full(20, 4 * value), np.full(20, 4.0))])
    assert found.value == value
    assert found.high - found.low > 0.15
    assert 0 <= found.low <= value <= found.high <= 1


def test_without_cases_nothing_is_known() -> None:
    assert all(math.isnan(part) for part in rate([]))


def test_an_interval_depends_on_neither_order_nor_call() -> None:
    rng = np.random.default_rng(0)
    one = several(rng, rng.random(60), 3)
    order = rng.permutation(60)
    assert rate([one]) == rate([one]) == rate([Stratum(one.totals[order], one.counts[order])])


@pytest.mark.parametrize(
    ("questions", "samples", "ease"),
    [(40, 1, (0.5, 0.5)), (60, 1, (3.0, 0.3)), (40, 4, (0.5, 0.5)), (60, 4, (0.3, 2.0))],
    ids=["one sample", "one sample, nearly all right", "four samples", "four samples, most wrong"],
)
def test_an_interval_holds_the_truth_about_as_often_as_it_says(
    questions: int, samples: int, ease: tuple[float, float]
) -> None:
    rng = np.random.default_rng(0)
    truth, runs = ease[0] / sum(ease), 200
    found = [rate([several(rng, rng.beta(*ease, questions), samples)]) for _ in range(runs)]
    held = sum(low <= truth <= high for _, low, high in found) / runs
    assert 0.90 <= held <= 0.99  # 0.95, less the bootstrap's optimism and what 200 runs leave to chance


def test_a_macro_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = (0.2 + 0.5 + 0.8) / 3
    held = 0
    for _ in range(200):
        strata = [several(rng, rng.beta(10 * p, 10 * (1 - p), n), 2) for p, n in ((0.2, 60), (0.5, 30), (0.8, 40))]
        _, low, high = rate(strata, macro=True)
        held += low <= truth <= high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 6, 2 / 64), (8, 2, 2 * (1 + 10 + 45) / 1024), (5, 5, 1.0)],
)
def test_mcnemars_p_is_the_binomials(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemars_p_is_that_of_scipy(gained: int, lost: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemars_p_of_many_questions_is_a_number() -> None:
    assert 0 <= mcnemar(9000, 5000) < 1e-200


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=9))
def test_the_sign_flips_p_is_that_of_all_signs(differences: list[float]) -> None:
    signs = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(each, differences, strict=True))) for each in signs]
    exact = sum(total >= abs(sum(differences)) - 1e-9 for total in sums) / len(sums)
    assert sign_flip(np.array(differences)) == pytest.approx(exact, abs=5 * 0.5 / math.sqrt(RESAMPLES))


def test_a_pair_of_one_sample_each_is_tested_by_mcnemar_over_all_strata() -> None:
    ones, zeros = np.ones(6), np.zeros(6)
    found = paired([(zeros, ones), (ones[:1], zeros[:1])], one_sample=True)
    assert found.test == "exact McNemar"
    assert found.p == mcnemar(6, 1)
    assert found.difference.value == pytest.approx(5 / 7)


def test_equal_runs_show_no_difference_and_are_not_called_the_same() -> None:
    values = np.array([0.0, 1.0] * 25)
    found = paired([(values, values)], one_sample=True)
    assert (found.p, found.difference.value) == (1.0, 0.0)
    assert found.difference.low == pytest.approx(-found.difference.high)
    assert 0.01 < found.difference.high < 0.1


def test_pairing_sees_what_two_intervals_do_not() -> None:
    a, b = (np.array([1.0] * right + [0.0] * (200 - right)) for right in (100, 110))
    found = paired([(a, b)], one_sample=True)
    one, other = rate([stratum(*a)]), rate([stratum(*b)])
    assert found.p < 0.05
    assert found.difference.low > 0
    assert one.high > other.low


@pytest.mark.parametrize(("gains", "losses"), [(0.1, 0.1), (0.05, 0.02), (0.02, 0.005)])
def test_an_interval_of_a_difference_holds_the_truth_about_as_often_as_it_says(gains: float, losses: float) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        b = rng.choice([1.0, -1.0, 0.0], p=[gains, losses, 1 - gains - losses], size=150)
        difference = paired([(np.zeros(150), b)], one_sample=True).difference
        held += difference.low - 1e-9 <= gains - losses <= difference.high + 1e-9
    assert 0.90 <= held / 200 <= 0.99


def test_a_few_questions_gained_and_none_lost_show_no_difference() -> None:
    a, b = np.zeros(200), np.array([1.0] * 3 + [0.0] * 197)
    found = paired([(a, b)], one_sample=True)
    assert found.p == pytest.approx(0.25)
    assert found.difference.low <= 0


@pytest.mark.parametrize("samples", [1, 3])
def test_without_a_difference_few_tests_see_one(samples: int) -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        p = rng.beta(0.5, 0.5, 50)
        a, b = (rng.binomial(samples, p) / samples for _ in range(2))
        alarms += paired([(a, b)], one_sample=samples == 1).p < 0.05
    assert alarms / 200 <= 0.09


def test_holm_multiplies_the_smallest_by_their_number_and_stays_in_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
