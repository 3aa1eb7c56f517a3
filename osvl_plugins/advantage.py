"""Fatal-aware GRPO and RLOO on tensors (arXiv 2605.05185, section 4.2, equations for the masked, clamped advantage).

Which tokens train is decided before, by ``osvl_plugins.fatal.token_mask``; here the trajectory's score becomes its
advantage.

- Fatal trajectories take part in their group's statistics, also when no token of theirs trains.
- Rows that are padding or a failure of the infrastructure take no part in any statistic and get no advantage. Unless
  the caller names the rows that count, these are the rows whose mask is all zero and that are not fatal.
- A group of one has no baseline: its advantage is 0.
- The clamp acts after normalisation, on the advantage and not on the score: A = max(A, 0) for fatal trajectories.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from numpy.typing import NDArray

from osvl_plugins.fatal import MODES, FatalMode

if TYPE_CHECKING:
    import torch

Estimator = Literal["grpo", "rloo"]
ESTIMATORS: tuple[Estimator, ...] = ("grpo", "rloo")
EPSILON = 1e-6


class FatalAdvantage(NamedTuple):
    """What ``fatal_aware_advantage`` gives."""

    tokens: torch.Tensor
    """Advantage of every token, (batch, tokens), float32."""
    clamped: torch.Tensor
    """Rows that the clamp raised to 0, (batch,), bool."""


def fatal_aware_advantage(
    scores: torch.Tensor,
    response_mask: torch.Tensor,
    group: torch.Tensor | NDArray[Any],
    fatal: torch.Tensor,
    *,
    counted: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    estimator: Estimator = "grpo",
    mode: FatalMode = "fatal_mask_clamp",
    norm_by_std: bool = True,
) -> FatalAdvantage:
    """The advantages of a batch, on the device of ``response_mask``; computed in float64, one tensor of its shape made.

    ``scores`` (batch,): the trajectory's reward. ``response_mask`` (batch, tokens): 1 for tokens that train, of any
    dtype. ``group`` (batch,): equal labels for samples of one prompt. ``fatal`` (batch,): bool. ``counted`` (batch,):
    rows that take part in the statistics. ``weight`` (batch,): at least 0, multiplies a row's advantage.
    ``norm_by_std`` divides GRPO's centred score by the group's unbiased standard deviation + 1e-6; RLOO never does.

    Raises ``ValueError`` for an unknown estimator or mode, or shapes that do not fit.
    """
    import torch

    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    rows = response_mask.shape[0]
    shapes = [tuple(given.shape) for given in (scores, group, fatal, counted, weight) if given is not None]
    if response_mask.dim() != 2 or response_mask.shape[1] == 0 or any(shape != (rows,) for shape in shapes):
        raise ValueError(
            "expected a mask of two dimensions with at least one token, and scores, group, fatal, counted and weight "
            f"of its length, got {tuple(response_mask.shape)} and {', '.join(map(str, shapes))}"
        )
    with torch.no_grad():
        device = response_mask.device
        fatal = fatal.to(device=device, dtype=torch.bool)
        if counted is None:
            # amax is ten times as fast as any along the rows of a float mask.
            counted = (response_mask.amax(dim=1) != 0) | fatal
        counted = counted.to(device=device, dtype=torch.bool)
        advantage = _normalised(scores.to(device), group_index(group, device), counted, estimator, norm_by_std)
        clamped = fatal & (advantage < 0) if mode == "fatal_mask_clamp" else torch.zeros_like(fatal)
        advantage = one_sided(advantage, fatal, mode)
        if weight is not None:
            advantage = advantage * weight.to(device)
        column = advantage.float().unsqueeze(1)
        if response_mask.dtype == torch.float32:
            return FatalAdvantage(response_mask * column, clamped)
        # A product of two dtypes would first copy the mask to the wider one.
        return FatalAdvantage(response_mask.to(torch.float32).mul_(column), clamped)


def one_sided(advantage: torch.Tensor, fatal: torch.Tensor, mode: FatalMode) -> torch.Tensor:
    """``advantage`` of rows (batch,) or of tokens (batch, tokens) as ``mode`` has it for ``fatal`` rows (batch,).

    Raises ``ValueError`` for an unknown mode.
    """
    import torch

    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    rows = fatal if advantage.dim() == 1 else fatal.unsqueeze(1)
    if mode == "fatal_mask_clamp":
        return torch.where(rows, advantage.clamp(min=0), advantage)
    return advantage.masked_fill(rows, 0.0) if mode == "hard_mask" else advantage


def group_index(group: torch.Tensor | NDArray[Any], device: torch.device) -> torch.Tensor:
    """Labels of any hashable kind as integers from 0, in the order in which they first occur."""
    import torch

    seen: dict[Hashable, int] = {}
    return torch.tensor(
        [seen.setdefault(label, len(seen)) for label in group.tolist()], dtype=torch.long, device=device
    )


def group_sum(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """For each row the sum of ``values`` (batch,) over the rows of the same ``index`` (batch,)."""
    return values.new_zeros(values.shape).index_add_(0, index, values)[index]


def _normalised(
    scores: torch.Tensor, index: torch.Tensor, counted: torch.Tensor, estimator: Estimator, norm_by_std: bool
) -> torch.Tensor:
    # In single precision the mean of equal scores can be off by an ulp, which division by 1e-6 would inflate.
    score = scores.double().masked_fill(~counted, 0.0)
    size = group_sum(counted.double(), index)
    centred = (score - group_sum(score, index) / size.clamp(min=1)).masked_fill(~counted, 0.0)
    others = (size - 1).clamp(min=1)
    if estimator == "rloo":
        # r_i - mean of the others = n/(n-1) (r_i - mean of all)
        advantage = centred * size / others
    elif norm_by_std:
        advantage = centred / ((group_sum(centred**2, index) / others).sqrt() + EPSILON)
    else:
        advantage = centred
    return advantage * (size > 1)
