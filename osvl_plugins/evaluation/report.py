"""What a set of cases says, with intervals. Every case counts: one that failed is wrong and stays in the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from osvl_plugins.evaluation.run import Case


@dataclass(frozen=True)
class Report:
    """Shares in [0, 1] over ``cases`` questions.

    ``accuracy_interval`` is the 95 % Wilson interval. ``format`` is the share of well-formed turns, ``error_steps``
    the share of turns that were errors.
    """

    cases: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    format: float
    answered: float
    error_steps: float
    fatal: float
    failed: float
    reward: float
    turns: float


def summarise(cases: Sequence[Case]) -> Report:
    """The report over ``cases``. Raises ``ValueError`` without any."""
    if not cases:
        raise ValueError("there are no cases to report on")
    count = len(cases)
    trajectories = [case.trajectory for case in cases]
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    right = sum(case.reward.accuracy for case in cases)
    return Report(
        cases=count,
        accuracy=right / count,
        accuracy_interval=wilson(right, count),
        format=sum(turn.well_formed for turn in turns) / max(1, len(turns)),
        answered=sum(trajectory.answer is not None for trajectory in trajectories) / count,
        error_steps=sum(turn.is_error for turn in turns) / max(1, len(turns)),
        fatal=sum(trajectory.fatal_step is not None for trajectory in trajectories) / count,
        failed=sum(trajectory.end == "policy_error" for trajectory in trajectories) / count,
        reward=sum(case.reward.score for case in cases) / count,
        turns=len(turns) / count,
    )


def wilson(successes: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which stays inside [0, 1] and works at 0 and 1."""
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
