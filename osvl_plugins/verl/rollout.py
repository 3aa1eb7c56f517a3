"""What the agent loop leaves with each row for the reward manager and the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from osvl_plugins.errors import SettingError
from osvl_plugins.trajectory import Trajectory

FIELD = "osvl"


@dataclass(frozen=True)
class RolloutRecord:
    """A row's trajectory and its token counts: sampled by the policy, and left to train by the fatal mask."""

    trajectory: Trajectory
    sampled_tokens: int
    trained_tokens: int
    stop: str = ""
    """Why the whole run must end: a replay that missed, a recording that could not be kept."""

    def to_fields(self) -> dict[str, Any]:
        """As an entry of verl's ``extra_fields``."""
        return {
            FIELD: {
                "trajectory": self.trajectory.to_dict(),
                "sampled_tokens": self.sampled_tokens,
                "trained_tokens": self.trained_tokens,
                "stop": self.stop,
            }
        }

    @classmethod
    def from_fields(cls, extra_fields: Mapping[str, Any]) -> RolloutRecord:
        """Inverse of ``to_fields``.

        Raises ``SettingError`` when the rows do not come from ``osvl_agent``.
        """
        stored = extra_fields.get(FIELD)
        if stored is None:
            raise SettingError(
                "actor_rollout_ref.rollout.agent.default_agent_loop",
                "the rollouts were made by an agent that records nothing of its tool calls; set it to osvl_agent or "
                "osvl_tool_agent, or put osvl_plugins.verl.fatal_loop.FatalAware before its base class",
            )
        return cls(**{**stored, "trajectory": Trajectory.from_dict(stored["trajectory"])})
