"""Training metrics of a batch of rollouts, under ``osvl/``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from osvl_plugins.trajectory import Turn
from osvl_plugins.verl.rollout import RolloutRecord


def rollout_metrics(
    records: Sequence[RolloutRecord], rewards: Sequence[Mapping[str, float]], clamped_rows: int
) -> dict[str, float]:
    """Rates and means over ``records`` (no padding rows).

    ``rewards`` are the parts that the reward manager reported for each. Error steps are counted a step, once by tool
    and once by kind; a turn that could not be parsed counts for the tool ``none``.
    """
    if not records:
        return {}
    rows = len(records)
    trajectories = [record.trajectory for record in records]
    turns = sum(len(trajectory.turns) for trajectory in trajectories)
    steps = max(1, turns)
    sampled = sum(record.sampled_tokens for record in records)
    metrics = {
        "osvl/fatal_rate/mean": sum(t.fatal_step is not None for t in trajectories) / rows,
        "osvl/failed_rate/mean": sum(t.end == "policy_error" for t in trajectories) / rows,
        "osvl/answered_rate/mean": sum(t.answer is not None for t in trajectories) / rows,
        "osvl/clamped_rows": float(clamped_rows),
        "osvl/untrained_rows": float(sum(record.trained_tokens == 0 for record in records)),
        "osvl/masked_tokens": float(sampled - sum(record.trained_tokens for record in records)),
        "osvl/sampled_tokens": float(sampled),
        "osvl/turns/mean": turns / rows,
        "osvl/images/mean": sum(len(t.images) for t in trajectories) / rows,
    }
    by_tool: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for trajectory in trajectories:
        for turn in trajectory.turns:
            if turn.observation is not None and turn.observation.error is not None:
                by_tool[_tool_label(turn)] += 1
                by_kind[turn.observation.error.kind] += 1
    metrics["osvl/error_steps/mean"] = sum(by_kind.values()) / steps
    metrics |= {f"osvl/error_steps/tool/{tool}/mean": count / steps for tool, count in by_tool.items()}
    metrics |= {f"osvl/error_steps/kind/{kind}/mean": count / steps for kind, count in by_kind.items()}
    for part in rewards[0] if rewards else ():
        values = [row[part] for row in rewards if part in row and not math.isnan(row[part])]
        if values:
            metrics[f"osvl/reward/{part}/mean"] = sum(values) / len(values)
    return metrics


def _tool_label(turn: Turn) -> str:
    if turn.call is None:
        return "none"
    error = turn.observation.error if turn.observation is not None else None
    # The model may invent names without end; a logger keeps a series for each.
    return "unknown" if error is not None and error.kind == "unknown_tool" else turn.call.name
