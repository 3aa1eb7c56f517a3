"""What a set of cases says, with intervals.

Every case counts: one that failed is wrong and stays in the mean. Only where a judge gave no verdict is nothing known:
such a case is in no mean of a reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from osvl_plugins.evaluation.run import Case


@dataclass(frozen=True)
class Report:
    """Shares in [0, 1] over ``cases`` questions; ``accuracy`` and ``reward`` over those that are not ``unscored``.

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
    unscored: float = 0.0


def summarise(cases: Sequence[Case]) -> Report:
    """The report over ``cases``. Raises ``ValueError`` without any that has a score."""
    rewards = [case.reward for case in cases if not case.reward.unscored]
    if not rewards:
        raise ValueError("there are no cases to report on")
    count, scored = len(cases), len(rewards)
    trajectories = [case.trajectory for case in cases]
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    # An answer that the format gate makes worthless is not judged.
    right = sum(reward.accuracy or 0.0 for reward in rewards)
    return Report(
        cases=count,
        accuracy=right / scored,
        accuracy_interval=wilson(right, scored),
        format=sum(turn.well_formed for turn in turns) / max(1, len(turns)),
        answered=sum(trajectory.answer is not None for trajectory in trajectories) / count,
        error_steps=sum(turn.is_error for turn in turns) / max(1, len(turns)),
        fatal=sum(trajectory.fatal_step is not None for trajectory in trajectories) / count,
        failed=sum(trajectory.end == "policy_error" for trajectory in trajectories) / count,
        reward=sum(reward.score for reward in rewards) / scored,
        turns=len(turns) / count,
        unscored=(count - scored) / count,
    )


def wilson(successes: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which stays inside [0, 1] and works at 0 and 1."""
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
