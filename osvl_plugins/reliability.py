"""How far a group's rewards can be trusted when its tools failed (a method of this package, not of arXiv 2605.05185).

The paper says that failures of the tools' environment inflate the variance of rewards, and leaves an on-policy
estimate of their reliability to future work. This is a simple one. Of the samples of one prompt, r_i is the reward
and x_i the number of steps that met a fault of the environment; with Pearson's correlation over the group, its
reliability is

    w = 1 - min(corr(r, x), 0)^2

the share of the reward's variance that faults do not explain. It is 1 where no sample met a fault, where all met
equally many, or where those with more of them scored no worse, and 0 where rewards fall linearly with faults. A
correlation is no cause, and in a small group it is large by chance: for normal rewards that have nothing to do with
the faults, w is on average 1 - 1/(2(n - 1)) in a group of n. Whether it helps training has not been shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray
from pydantic import Field

from osvl_plugins.advantage import group_index, group_sum
from osvl_plugins.errors import ErrorKind
from osvl_plugins.settings import Settings
from osvl_plugins.trajectory import Trajectory

if TYPE_CHECKING:
    import torch

NEGLIGIBLE = 1e-20
"""A sum of squared differences below this share of the sum of squares is a rounding error of equal values."""


class ReliabilitySettings(Settings):
    """What stands under ``algorithm.reliability``."""

    mode: Literal["none", "weight", "drop"] = "none"
    """none: nothing; weight: a group's advantages times its reliability; drop: a group below ``drop_below`` has
    advantage 0."""
    drop_below: float = Field(default=0.5, ge=0, le=1)
    """Least reliability of a group that trains, for ``drop``."""
    kinds: tuple[ErrorKind, ...] = Field(default=("timeout", "rate_limited", "unavailable"), min_length=1)
    """Kinds of error that are the environment's fault; the others are the call's own. Not ``failed``, by which
    ``python_interpreter`` reports what the model's code raised; that this code ran too long is a ``timeout``, too."""


def faults(trajectory: Trajectory, settings: ReliabilitySettings) -> int:
    """Steps of ``trajectory`` that met a fault of the environment."""
    observations = [turn.observation for turn in trajectory.turns if turn.observation is not None]
    return sum(seen.error is not None and seen.error.kind in settings.kinds for seen in observations)


def group_reliability(
    scores: torch.Tensor, group: torch.Tensor | NDArray[Any], faults: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Reliability of each row's group, (batch,), float64 in [0, 1], on the device of ``scores``.

    ``scores`` (batch,): the trajectory's reward. ``group`` (batch,): equal labels for samples of one prompt.
    ``faults`` (batch,): steps that met a fault. ``counted`` (batch,): bool, rows that take part; the others have 1.
    """
    import torch

    index = group_index(group, scores.device)
    counted = counted.to(device=scores.device, dtype=torch.bool)
    size = group_sum(counted.double(), index).clamp(min=1)

    def centred(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = values.to(device=scores.device, dtype=torch.float64).masked_fill(~counted, 0.0)
        apart = (values - group_sum(values, index) / size).masked_fill(~counted, 0.0)
        squares = group_sum(apart**2, index)
        return apart, squares.masked_fill(squares <= NEGLIGIBLE * group_sum(values**2, index), 0.0)

    reward, reward_squares = centred(scores)
    fault, fault_squares = centred(faults)
    covariance = group_sum(reward * fault, index).clamp(max=0)
    squares = reward_squares * fault_squares
    explained = torch.where(squares > 0, covariance**2 / squares, 0.0).clamp(max=1)
    return (1 - explained).masked_fill(~counted, 1.0)


def group_weight(reliability: torch.Tensor, settings: ReliabilitySettings) -> torch.Tensor:
    """What multiplies the advantages of each row, (batch,), float64: ``reliability`` as ``settings`` use it."""
    import torch

    if settings.mode == "weight":
        return reliability
    keep = torch.ones_like(reliability)
    return (reliability >= settings.drop_below).double() if settings.mode == "drop" else keep
