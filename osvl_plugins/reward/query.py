"""r_query without a judge: whether the calls brought the pages that the evidence lies on."""

from __future__ import annotations

from collections.abc import Sequence

from osvl_plugins.trajectory import Trajectory


def evidence_score(trajectory: Trajectory, evidence: Sequence[str]) -> float:
    """Share of the pages in ``evidence`` that some observation showed, before the fatal step of a fatal trajectory.

    Raises ``ValueError`` for empty evidence.
    """
    if not evidence:
        raise ValueError("there is no evidence to look for")
    turns = trajectory.turns[: trajectory.fatal_step]
    seen = {page for turn in turns if turn.observation is not None for page in turn.observation.pages}
    return len(seen & set(evidence)) / len(set(evidence))
