"""Rules as a judge, alone or before another judge."""

from __future__ import annotations

from collections.abc import Sequence

from osvl_plugins.reward.judge import AccuracyJudge, Verdict
from osvl_plugins.reward.rules import Rules


class RuleJudge:
    """Judges by rules (``AccuracyJudge``). ``otherwise`` judges what they cannot tell; without it that is wrong."""

    def __init__(self, otherwise: AccuracyJudge | None = None) -> None:
        self._rules = Rules()
        self._otherwise = otherwise
        self.name = self._rules.name if otherwise is None else f"{self._rules.name}, {otherwise.name}"
        own = self._rules.version
        self.version = own if otherwise is None else f"{own}; {otherwise.version}"

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        """As ``AccuracyJudge.judge``; fails only where ``otherwise`` does."""
        found = self._rules.compare(question, accepted, answer)
        if found.right is not None:
            return Verdict(found.right, found.why)
        if self._otherwise is not None:
            return await self._otherwise.judge(question, accepted, answer)
        return Verdict(False, found.why)
