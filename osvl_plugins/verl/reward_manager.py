"""verl's reward manager ``osvl_composite``: the core's composite reward over the recorded trajectory."""

from __future__ import annotations

from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.experimental.reward_loop.reward_manager.registry import register

from osvl_plugins.reward.composite import composite_reward
from osvl_plugins.verl.rollout import RolloutRecord


@register("osvl_composite")
class OsvlRewardManager(RewardManagerBase):
    """Registered as ``osvl_composite``.

    A row needs ``reward_model.ground_truth`` (a text, or a list of accepted ones) and may have
    ``extra_info.evidence``, the ids of the pages that the answer rests on.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **unused: Any) -> None:
        # verl imports reward managers while it imports its agent loop, on which ours rests.
        from osvl_plugins.verl.agent_loop import fatal_settings

        super().__init__(config, tokenizer, compute_score)
        self._score_fatal_answer = fatal_settings(config).score_answer

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The reward of one trajectory, with its parts for the metrics."""
        row = data[-1:][0].non_tensor_batch
        trajectory = RolloutRecord.from_fields(row.get("tool_extra_fields") or {}).trajectory
        truth = row["reward_model"]["ground_truth"]
        accepted = [truth] if isinstance(truth, str) else list(truth)
        evidence = (row.get("extra_info") or {}).get("evidence")
        reward = composite_reward(
            trajectory,
            accepted,
            list(evidence) if evidence is not None else [],
            score_fatal_answer=self._score_fatal_answer,
        )
        parts = {
            "format": reward.format,
            "accuracy": reward.accuracy,
            "query": float("nan") if reward.query is None else reward.query,
            "answered": float(trajectory.answer is not None),
            "fatal": float(trajectory.fatal_step is not None),
            "failed": float(trajectory.end == "policy_error"),
            "error_steps": float(sum(trajectory.errors)),
            "steps": float(len(trajectory.turns)),
        }
        return {"reward_score": reward.score, "reward_extra_info": parts}
