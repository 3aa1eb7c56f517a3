"""Fatal-aware advantages against an independent, slow formula."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.advantage import ESTIMATORS, fatal_aware_advantage
from osvl_plugins.fatal import MODES


def slow(scores, mask, group, fatal, estimator, mode, norm_by_std):
    """The formulas of the paper, row by row and token by token, in plain Python."""
    rows = range(len(scores))
    counts = [fatal[i] or any(mask[i]) for i in rows]
    result = []
    for i in rows:
        members = [j for j in rows if group[j] == group[i] and counts[j]]
        advantage = 0.0
        if counts[i] and len(members) > 1:
            mean = math.fsum(scores[j] for j in members) / len(members)
            if estimator == "rloo":
                advantage = scores[i] - math.fsum(scores[j] for j in members if j != i) / (len(members) - 1)
            elif norm_by_std:
                variance = math.fsum((scores[j] - mean) ** 2 for j in members) / (len(members) - 1)
                advantage = (scores[i] - mean) / (math.sqrt(variance) + 1e-6)
            else:
                advantage = scores[i] - mean
        if fatal[i] and mode == "fatal_mask_clamp":
            advantage = max(advantage, 0.0)
        if fatal[i] and mode == "hard_mask":
            advantage = 0.0
        result.append([advantage * token for token in mask[i]])
    return result


@st.composite
def batches(draw):
    rows, tokens = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    score = st.sampled_from([0.0, 0.2, 0.5, 1.0]) | st.floats(0, 1, width=32)
    return (
        draw(st.lists(score, min_size=rows, max_size=rows)),
        draw(
            st.lists(
                st.lists(st.integers(0, 1), min_size=tokens, max_size=tokens) | st.just([0] * tokens),
                min_size=rows,
                max_size=rows,
            )
        ),
        draw(st.lists(st.sampled_from("abc"), min_size=rows, max_size=rows)),
        draw(st.lists(st.booleans(), min_size=rows, max_size=rows)),
    )


@given(batches(), st.sampled_from(ESTIMATORS), st.sampled_from(MODES), st.booleans())
@settings(max_examples=500, deadline=None)
def test_equals_the_slow_formula(batch, estimator, mode, norm_by_std):
    scores, mask, group, fatal = batch
    got = fatal_aware_advantage(
        torch.tensor(scores),
        torch.tensor(mask),
        np.array(group, dtype=object),
        torch.tensor(fatal),
        estimator=estimator,
        mode=mode,
        norm_by_std=norm_by_std,
    )
    expected = torch.tensor(
        slow([float(np.float32(s)) for s in scores], mask, group, fatal, estimator, mode, norm_by_std)
    )
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def advantage(scores, fatal, group=None, mask=None, **kwargs):
    rows = len(scores)
    mask = torch.ones(rows, 3) if mask is None else mask
    group = torch.zeros(rows, dtype=torch.long) if group is None else group
    return fatal_aware_advantage(torch.tensor(scores), mask, group, torch.tensor(fatal), **kwargs)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_clamp_raises_only_fatal_rows_and_only_to_zero(estimator):
    clamped = advantage([0.0, 1.0, 0.0, 1.0], [True, True, False, False], estimator=estimator)
    free = advantage([0.0, 1.0, 0.0, 1.0], [True, True, False, False], estimator=estimator, mode="fatal_mask")
    assert (clamped[0] == 0).all()
    assert (free[0] < 0).all()
    assert torch.equal(clamped[1:], free[1:])


def test_fatal_rows_without_tokens_still_shape_the_baseline_of_their_group():
    mask = torch.tensor([[0.0], [1.0]])
    assert advantage([0.0, 1.0], [True, False], mask=mask, norm_by_std=False)[1].item() == pytest.approx(0.5)


def test_padding_rows_shape_nothing():
    mask = torch.tensor([[0.0], [1.0], [1.0]])
    with_padding = advantage([9.0, 0.0, 1.0], [False] * 3, mask=mask)
    assert torch.equal(with_padding[1:], advantage([0.0, 1.0], [False] * 2, mask=mask[1:]))
    assert with_padding[0].item() == 0


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_group_of_one_has_no_advantage(estimator):
    assert (advantage([1.0], [False], estimator=estimator) == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_scores_give_no_advantage_however_they_round(estimator):
    assert advantage([0.1] * 7, [False] * 7, estimator=estimator).abs().max() < 1e-7


@pytest.mark.parametrize("mode", MODES)
def test_an_all_fatal_group_trains_nothing_downwards_under_the_clamp(mode):
    result = advantage([0.0, 0.2, 0.4], [True] * 3, mode=mode)
    assert (result >= 0).all() == (mode in ("fatal_mask_clamp", "hard_mask"))


def test_bfloat16_scores_are_computed_in_full_precision():
    scores = torch.tensor([0.25, 0.5, 1.0], dtype=torch.bfloat16)
    got = fatal_aware_advantage(scores, torch.ones(3, 2), torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, advantage([0.25, 0.5, 1.0], [False] * 3, mask=torch.ones(3, 2)))


@pytest.mark.parametrize("bad", [{"estimator": "ppo"}, {"mode": "soft"}])
def test_unknown_names_are_refused(bad):
    with pytest.raises(ValueError, match="must be one of"):
        advantage([1.0], [False], **bad)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected scores, group and fatal of length 2"):
        advantage([1.0], [False], mask=torch.ones(2, 3))
