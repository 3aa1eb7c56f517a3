"""r_fmt: the share of well-formed turns (arXiv 2605.05185, section 4.3)."""

from __future__ import annotations

from osvl_plugins.trajectory import Trajectory


def format_score(trajectory: Trajectory) -> float:
    """Mean of the per-turn format scores, of a fatal trajectory those before its fatal step; 0 without any turn."""
    turns = trajectory.turns[: trajectory.fatal_step]
    return sum(turn.well_formed for turn in turns) / len(turns) if turns else 0.0
