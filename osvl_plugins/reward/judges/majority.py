"""A verdict by the votes of several judges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from osvl_plugins.errors import JudgeFailed
from osvl_plugins.reward.judge import AccuracyJudge, Verdict


class Majority:
    """The verdict of more than half of an odd number of ``judges`` (``AccuracyJudge``).

    Only as many are asked as can still be needed, in their order: two of three that agree are enough. A judge that
    fails is no vote; it may still be outvoted.
    """

    def __init__(self, judges: Sequence[AccuracyJudge]) -> None:
        """Raises ``ValueError`` for an even number of judges."""
        if len(judges) % 2 == 0:
            raise ValueError(f"the number of judges must be odd, or votes could tie; got {len(judges)}")
        self._judges = tuple(judges)
        self.name = ", ".join(dict.fromkeys(judge.name for judge in judges))
        self.version = f"{len(judges)} votes: " + "; ".join(dict.fromkeys(judge.version for judge in judges))

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        """As ``AccuracyJudge.judge``; the reason is that of the first judge who voted so."""
        enough = len(self._judges) // 2 + 1
        votes: list[Verdict] = []
        problem: JudgeFailed | None = None
        asked = 0
        while True:
            for right in (True, False):
                alike = [vote for vote in votes if vote.right is right]
                if len(alike) >= enough:
                    return alike[0]
            rights = sum(vote.right for vote in votes)
            missing = enough - max(rights, len(votes) - rights)
            if missing > len(self._judges) - asked:
                raise JudgeFailed(f"{self.name}: {len(votes)} of {asked} votes could be read, no majority") from problem
            round_ = self._judges[asked : asked + missing]
            asked += missing
            outcomes = await asyncio.gather(*(self._one(judge, question, accepted, answer) for judge in round_))
            votes += [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
            problem = next((outcome for outcome in outcomes if isinstance(outcome, JudgeFailed)), problem)

    async def _one(
        self, judge: AccuracyJudge, question: str, accepted: Sequence[str], answer: str
    ) -> Verdict | JudgeFailed:
        try:
            return await judge.judge(question, accepted, answer)
        except JudgeFailed as failed:
            return failed
