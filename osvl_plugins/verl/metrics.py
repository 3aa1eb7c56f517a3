"""Training metrics of a batch of rollouts, under ``osvl/``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from osvl_plugins.errors import ERROR_KINDS
from osvl_plugins.fatal_report import tool_label
from osvl_plugins.verl.estimators import FatalBatch


def rollout_metrics(batch: FatalBatch, rewards: Sequence[Mapping[str, float | str]]) -> dict[str, float]:
    """Rates, means and counts over the rows of ``batch`` that are no padding.

    ``rewards`` are the parts that the reward manager reported for each row; those of a row without a score are left
    out, and so is what is no number. Error steps are counted a step, once by
    tool and once by kind; a turn that could not be parsed counts for the tool ``none``. Where a step of verl is
    several updates (``trainer.v1.separate_async.parameter_sync_step``), verl logs the mean of their values.
    """
    rows = [row for row, padding in enumerate(batch.padding) if not padding]
    if not rows:
        return {}
    records = [batch.records[row] for row in rows]
    count = len(records)
    trajectories = [record.trajectory for record in records]
    turns = sum(len(trajectory.turns) for trajectory in trajectories)
    steps = max(1, turns)
    sampled = sum(record.sampled_tokens for record in records)
    metrics = {
        "osvl/fatal_rate/mean": sum(t.fatal_step is not None for t in trajectories) / count,
        "osvl/failed_rate/mean": sum(t.end == "policy_error" for t in trajectories) / count,
        "osvl/unscored_rate/mean": sum(bool(record.unscored) for record in records) / count,
        "osvl/answered_rate/mean": sum(t.answer is not None for t in trajectories) / count,
        "osvl/clamped_rows": float(batch.clamped_rows),
        "osvl/untrained_rows": float(sum(record.trained_tokens == 0 for record in records)),
        "osvl/masked_tokens": float(sampled - sum(record.trained_tokens for record in records)),
        "osvl/sampled_tokens": float(sampled),
        "osvl/turns/mean": turns / count,
        "osvl/images/mean": sum(len(t.images) for t in trajectories) / count,
    }
    if batch.reliability.mode != "none":
        metrics["osvl/reliability/mean"] = batch.reliability_mean
        metrics["osvl/dropped_groups"] = float(batch.dropped_groups)
    by_tool: Counter[str] = Counter()
    by_kind: Counter[str] = Counter(dict.fromkeys(ERROR_KINDS, 0))
    for trajectory in trajectories:
        for turn in trajectory.turns:
            if turn.observation is not None and turn.observation.error is not None:
                by_tool[tool_label(turn)] += 1
                by_kind[turn.observation.error.kind] += 1
    metrics["osvl/error_steps/mean"] = sum(by_kind.values()) / steps
    metrics |= {f"osvl/error_steps/tool/{tool}/mean": errors / steps for tool, errors in by_tool.items()}
    metrics |= {f"osvl/error_steps/kind/{kind}/mean": errors / steps for kind, errors in by_kind.items()}
    parts: dict[str, list[float]] = {}
    for row in rows:
        if not batch.records[row].unscored:
            for part, value in rewards[row].items():
                if not isinstance(value, str) and not math.isnan(value):
                    parts.setdefault(part, []).append(value)
    return metrics | {f"osvl/reward/{part}/mean": sum(values) / len(values) for part, values in parts.items()}
