"""The rule-based comparison of answers."""

from osvl_plugins.reward.rules.compare import Comparison, Rules

__all__ = ["Comparison", "Rules"]
