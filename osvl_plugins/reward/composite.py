"""The composite reward r = r_fmt · (0.8 r_acc + 0.2 r_query) (arXiv 2605.05185, section 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from osvl_plugins.reward.accuracy import accuracy_score
from osvl_plugins.reward.format import format_score
from osvl_plugins.reward.query import evidence_score
from osvl_plugins.trajectory import Trajectory

ACCURACY_WEIGHT = 0.8
"""The paper's alpha; the rest is the weight of the queries."""


class Reward(NamedTuple):
    """The reward and its parts, each in [0, 1]. ``query`` is None for a question without known evidence."""

    score: float
    format: float
    accuracy: float
    query: float | None


def composite_reward(
    trajectory: Trajectory, accepted: Sequence[str], evidence: Sequence[str], *, score_fatal_answer: bool = False
) -> Reward:
    """Reward of ``trajectory`` against the ``accepted`` answers and the ids of the pages with the ``evidence``.

    A fatal trajectory's format and queries are those before the fatal step. It has accuracy 0, whatever it answered,
    unless ``score_fatal_answer`` (``algorithm.fatal.score_answer``). Without evidence the reward is r_fmt · r_acc.
    Raises ``ValueError`` without accepted answers.
    """
    well_formed = format_score(trajectory)
    unscored = trajectory.fatal_step is not None and not score_fatal_answer
    accuracy = accuracy_score(None if unscored else trajectory.answer, accepted)
    if not evidence:
        return Reward(well_formed * accuracy, well_formed, accuracy, None)
    query = evidence_score(trajectory, evidence)
    score = well_formed * (ACCURACY_WEIGHT * accuracy + (1 - ACCURACY_WEIGHT) * query)
    return Reward(score, well_formed, accuracy, query)
