"""Fatal-aware advantages against an independent, slow formula."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.advantage import ESTIMATORS, fatal_aware_advantage
from osvl_plugins.fatal import MODES, fatal_step, token_mask
from osvl_plugins.trajectory import Span

AGGREGATIONS = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean"]


@dataclass
class Row:
    """One row: its turns as (failed, sampled tokens, tokens of the observation), or none for padding."""

    turns: list[tuple[bool, int, int]]
    score: float
    group: str | int
    broken: bool = False
    """Lost to the infrastructure: trains nothing and counts nowhere."""


@dataclass
class Switches:
    estimator: Any
    mode: Any
    at: Any
    k: int
    norm_by_std: bool
    dtype: torch.dtype
    mask_dtype: torch.dtype


def slow_fatal(row: Row, how: Switches) -> int | None:
    """Index of the fatal turn, straight from the formula."""
    if row.broken:
        return None
    flags = [failed for failed, _, _ in row.turns]
    for first in range(len(flags) - how.k + 1):
        if all(flags[first : first + how.k]):
            return first if how.at == "first" else first + how.k - 1
    return None


def slow_mask(row: Row, how: Switches, width: int) -> list[int]:
    """1 for every token that trains, token by token."""
    fatal = slow_fatal(row, how)
    mask: list[int] = []
    for turn, (_, sampled, seen) in enumerate(row.turns):
        dead = fatal is not None and (
            how.mode == "hard_mask" or (how.mode in ("fatal_mask", "fatal_mask_clamp") and turn >= fatal)
        )
        mask += [0 if dead or row.broken else 1] * sampled + [0] * seen
    return mask + [0] * (width - len(mask))


def slow_advantages(rows: list[Row], scores: list[float], how: Switches, width: int) -> list[list[float]]:
    """The paper's formulas, row by row and token by token, in plain Python."""
    counts = [bool(row.turns) and not row.broken for row in rows]
    result = []
    for me, row in enumerate(rows):
        peers = [other for other in range(len(rows)) if rows[other].group == row.group and counts[other]]
        advantage = 0.0
        if counts[me] and len(peers) > 1:
            mean = math.fsum(scores[peer] for peer in peers) / len(peers)
            if how.estimator == "rloo":
                others = math.fsum(scores[peer] for peer in peers if peer != me) / (len(peers) - 1)
                advantage = scores[me] - others
            elif how.norm_by_std:
                variance = math.fsum((scores[peer] - mean) ** 2 for peer in peers) / (len(peers) - 1)
                advantage = (scores[me] - mean) / (math.sqrt(variance) + 1e-6)
            else:
                advantage = scores[me] - mean
        if slow_fatal(row, how) is not None:
            if how.mode == "fatal_mask_clamp" and advantage < 0:
                advantage = 0.0
            if how.mode == "hard_mask":
                advantage = 0.0
        result.append([advantage * trains for trains in slow_mask(row, how, width)])
    return result


def slow_loss(losses: list[list[float]], masks: list[list[int]], aggregation: str) -> float:
    """One number from the tokens' losses; rows without a token leave every mean."""
    sums = [math.fsum(x for x, m in zip(row, mask, strict=True) if m) for row, mask in zip(losses, masks, strict=True)]
    counts = [sum(mask) for mask in masks]
    used = sum(count > 0 for count in counts)
    if aggregation == "token-sum":
        return math.fsum(sums)
    if aggregation == "token-mean":
        return math.fsum(sums) / sum(counts)
    if aggregation == "seq-mean-token-mean":
        return math.fsum(total / count for total, count in zip(sums, counts, strict=True) if count) / used
    return math.fsum(sums) / used / (len(masks[0]) if aggregation.endswith("norm") else 1)


@st.composite
def batches(draw: st.DrawFn) -> list[Row]:
    """Groups of unequal size, scores that repeat, padding and broken rows among the others."""
    labels = draw(st.sampled_from([["a", "b", "c"], [0, 7, -1]]))
    turn = st.tuples(st.booleans(), st.integers(1, 3), st.integers(0, 2))
    row = st.builds(
        Row,
        turns=st.lists(turn, min_size=1, max_size=6),
        score=st.sampled_from([0.0, 0.2, 0.5, 1.0]) | st.floats(0, 1, width=32),
        group=st.sampled_from(labels),
        broken=st.sampled_from([False] * 4 + [True]),
    )
    padding = st.builds(Row, turns=st.just([]), score=st.just(9.0), group=st.sampled_from(labels))
    rows = draw(st.lists(row, min_size=1, max_size=12)) + draw(st.lists(padding, max_size=2))
    return draw(st.permutations(rows))


switches = st.builds(
    Switches,
    estimator=st.sampled_from(ESTIMATORS),
    mode=st.sampled_from(MODES),
    at=st.sampled_from(["first", "last"]),
    k=st.integers(1, 4),
    norm_by_std=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    mask_dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]),
)


def ours(rows: list[Row], how: Switches, width: int, **named: Any) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Advantages and mask of this package, and the scores as it saw them."""
    fatal, masks = [], []
    for row in rows:
        step = None if row.broken else fatal_step([failed for failed, _, _ in row.turns], how.k, how.at)
        spans, start = [], 0
        for _, sampled, seen in row.turns:
            spans.append(Span(start, start + sampled))
            start += sampled + seen
        fatal.append(step is not None)
        masks.append([0] * width if row.broken else token_mask(width, spans, step, how.mode))
    scores = torch.tensor([row.score for row in rows], dtype=how.dtype)
    labels = [row.group for row in rows]
    group = torch.tensor(labels) if isinstance(labels[0], int) else np.array(labels, dtype=object)
    mask = torch.tensor(masks).to(how.mask_dtype)
    got = fatal_aware_advantage(
        scores,
        mask,
        group,
        torch.tensor(fatal),
        estimator=how.estimator,
        mode=how.mode,
        norm_by_std=how.norm_by_std,
        **named,
    )
    return got.tokens, mask, scores.double().tolist()


def width_of(rows: list[Row]) -> int:
    return max(1, *(sum(sampled + seen for _, sampled, seen in row.turns) for row in rows))


@given(batches(), switches)
@settings(max_examples=600)
def test_equals_the_slow_formula(rows: list[Row], how: Switches) -> None:
    width = width_of(rows)
    got, _, scores = ours(rows, how, width)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.tensor(slow_advantages(rows, scores, how, width)), rtol=1e-5, atol=1e-6)


@given(batches(), switches, st.sampled_from(AGGREGATIONS), st.integers(0, 1000))
@settings(max_examples=300)
def test_the_loss_that_verl_makes_of_it_equals_the_slow_formula(
    rows: list[Row], how: Switches, aggregation: str, seed: int
) -> None:
    core_algos = pytest.importorskip("verl.trainer.ppo.core_algos")
    width = width_of(rows)
    got, mask, scores = ours(rows, how, width)
    if not mask.any():
        return
    log_prob = torch.rand(mask.shape, generator=torch.Generator().manual_seed(seed))
    loss = core_algos.agg_loss(-got * log_prob, mask.float(), aggregation)
    expected = slow_advantages(rows, scores, how, width)
    losses = [[-a * p for a, p in zip(*pair, strict=True)] for pair in zip(expected, log_prob.tolist(), strict=True)]
    slow = slow_loss(losses, [slow_mask(row, how, width) for row in rows], aggregation)
    assert loss.item() == pytest.approx(slow, rel=1e-4, abs=1e-5)


@given(batches(), switches)
@settings(max_examples=100)
def test_naming_the_rows_that_count_is_the_same_as_reading_them_off_the_mask(rows: list[Row], how: Switches) -> None:
    counted = torch.tensor([bool(row.turns) and not row.broken for row in rows])
    width = width_of(rows)
    assert torch.equal(ours(rows, how, width, counted=counted)[0], ours(rows, how, width)[0])


@given(batches(), switches, st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_the_order_of_the_rows_does_not_matter(rows: list[Row], how: Switches, random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    width = width_of(rows)
    moved = ours([rows[place] for place in order], how, width)[0]
    torch.testing.assert_close(moved, ours(rows, how, width)[0][order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mask_dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("tokens", [1, 70_000])
def test_sequences_of_any_length(tokens: int, estimator: Any, mask_dtype: torch.dtype) -> None:
    mask = torch.ones(3, tokens, dtype=mask_dtype)
    got = fatal_aware_advantage(
        torch.tensor([0.0, 0.5, 1.0]), mask, torch.zeros(3), torch.zeros(3, dtype=torch.bool), estimator=estimator
    ).tokens
    expected = torch.tensor([-1.0, 0.0, 1.0]) if estimator == "grpo" else torch.tensor([-0.75, 0.0, 0.75])
    if estimator == "grpo":
        expected = expected * 0.5 / (0.5 + 1e-6)
    torch.testing.assert_close(got, expected.unsqueeze(1).expand(3, tokens))


def advantage(
    scores: list[float], fatal: list[bool], group: Any = None, mask: torch.Tensor | None = None, **kwargs: Any
) -> torch.Tensor:
    rows = len(scores)
    mask = torch.ones(rows, 3) if mask is None else mask
    group = torch.zeros(rows, dtype=torch.long) if group is None else group
    return fatal_aware_advantage(torch.tensor(scores), mask, group, torch.tensor(fatal), **kwargs).tokens


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_clamp_raises_only_fatal_rows_and_only_to_zero(estimator: str) -> None:
    clamped = advantage([0.0, 1.0, 0.0, 1.0], [True, True, False, False], estimator=estimator)
    free = advantage([0.0, 1.0, 0.0, 1.0], [True, True, False, False], estimator=estimator, mode="fatal_mask")
    assert (clamped[0] == 0).all()
    assert (free[0] < 0).all()
    assert torch.equal(clamped[1:], free[1:])


@pytest.mark.parametrize(
    ("mode", "clamped"),
    [
        ("fatal_mask_clamp", [True, False, False]),
        ("fatal_mask", [False] * 3),
        ("hard_mask", [False] * 3),
        ("vanilla", [False] * 3),
    ],
)
def test_the_rows_that_the_clamp_raised_are_named(mode: Any, clamped: list[bool]) -> None:
    got = fatal_aware_advantage(
        torch.tensor([0.0, 1.0, 0.0]), torch.ones(3, 2), torch.zeros(3), torch.tensor([True, True, False]), mode=mode
    )
    assert got.clamped.tolist() == clamped


def test_a_weight_multiplies_the_advantage_of_its_row() -> None:
    free = advantage([0.0, 1.0, 0.5], [False] * 3)
    weight = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(advantage([0.0, 1.0, 0.5], [False] * 3, weight=weight), free * weight.unsqueeze(1))


def test_fatal_rows_without_tokens_still_shape_the_baseline_of_their_group() -> None:
    mask = torch.tensor([[0.0], [1.0]])
    assert advantage([0.0, 1.0], [True, False], mask=mask, norm_by_std=False)[1].item() == pytest.approx(0.5)


def test_rows_that_do_not_count_shape_nothing_whatever_their_score() -> None:
    mask = torch.tensor([[0.0], [1.0], [1.0]])
    with_padding = advantage([float("nan"), 0.0, 1.0], [False] * 3, mask=mask)
    assert torch.equal(with_padding[1:], advantage([0.0, 1.0], [False] * 2, mask=mask[1:]))
    assert with_padding[0].item() == 0


def test_a_row_that_counts_shapes_its_group_also_without_a_token() -> None:
    mask = torch.tensor([[0.0], [1.0]])
    counted = torch.tensor([True, True])
    assert advantage([0.0, 1.0], [False] * 2, mask=mask, norm_by_std=False, counted=counted)[1].item() == 0.5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_group_of_one_has_no_advantage(estimator: str) -> None:
    assert (advantage([1.0], [False], estimator=estimator) == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_scores_give_no_advantage_however_they_round(estimator: str) -> None:
    assert advantage([0.1] * 7, [False] * 7, estimator=estimator).abs().max() < 1e-7


@pytest.mark.parametrize("mode", MODES)
def test_an_all_fatal_group_trains_nothing_downwards_under_the_clamp(mode: str) -> None:
    result = advantage([0.0, 0.2, 0.4], [True] * 3, mode=mode)
    assert (result >= 0).all() == (mode in ("fatal_mask_clamp", "hard_mask"))


def test_the_mask_is_left_as_it_is() -> None:
    mask = torch.ones(2, 3)
    advantage([0.0, 1.0], [False] * 2, mask=mask)
    assert torch.equal(mask, torch.ones(2, 3))


@pytest.mark.parametrize("bad", [{"estimator": "ppo"}, {"mode": "soft"}])
def test_unknown_names_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be one of"):
        advantage([1.0], [False], **bad)


@pytest.mark.parametrize(
    "bad",
    [
        {"mask": torch.ones(2, 3)},
        {"mask": torch.ones(1, 0)},
        {"mask": torch.ones(1)},
        {"counted": torch.tensor([True, True])},
        {"weight": torch.ones(1, 1)},
    ],
)
def test_shapes_that_do_not_fit_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected a mask of two dimensions"):
        advantage([1.0], [False], **bad)
