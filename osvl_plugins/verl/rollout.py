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

    def to_fields(self) -> dict[str, Any]:
        """As an entry of verl's ``extra_fields``."""
        return {
            FIELD: {
                "trajectory": self.trajectory.to_dict(),
                "sampled_tokens": self.sampled_tokens,
                "trained_tokens": self.trained_tokens,
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
                "the rollouts were not made by osvl_agent, so nothing is known of their tool calls; "
                "set it to osvl_agent",
            )
        return cls(Trajectory.from_dict(stored["trajectory"]), stored["sampled_tokens"], stored["trained_tokens"])
