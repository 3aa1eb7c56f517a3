"""More than half of the judges decide, and nobody is asked in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import product

import pytest

from osvl_plugins.errors import JudgeFailed
from osvl_plugins.reward.judge import Verdict
from osvl_plugins.reward.judges.majority import Majority


class Voter:
    """Votes as told; None is no vote."""

    name, version = "voter", "1"

    def __init__(self, right: bool | None, number: int = 0, delay_s: float = 0.0) -> None:
        self.right = right
        self.number = number
        self.delay_s = delay_s
        self.asked = 0

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.right is None:
            raise JudgeFailed("no vote")
        return Verdict(self.right, str(self.number))


@pytest.mark.parametrize("votes", list(product([True, False, None], repeat=3)), ids=str)
async def test_what_two_of_three_say_is_the_verdict_and_less_is_none(votes: tuple[bool | None, ...]) -> None:
    voters = [Voter(vote) for vote in votes]
    majority = Majority(voters)
    counts = {right: votes.count(right) for right in (True, False)}
    if max(counts.values()) >= 2:
        assert (await majority.judge("q", ["a"], "a")).right is (counts[True] >= 2)
    else:
        with pytest.raises(JudgeFailed, match="no majority"):
            await majority.judge("q", ["a"], "a")


async def test_who_cannot_change_the_verdict_is_not_asked() -> None:
    voters = [Voter(True), Voter(True), Voter(False)]
    await Majority(voters).judge("q", ["a"], "a")
    assert [voter.asked for voter in voters] == [1, 1, 0]


async def test_the_reason_is_that_of_the_first_who_voted_so() -> None:
    voters = [Voter(False, 0), Voter(True, 1, delay_s=0.02), Voter(True, 2)]
    assert (await Majority(voters).judge("q", ["a"], "a")).reason == "1"


def test_an_even_number_of_judges_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        Majority([Voter(True), Voter(True)])


def test_the_judges_are_named_once() -> None:
    majority = Majority([Voter(True)] * 3)
    assert (majority.name, majority.version) == ("voter", "3 votes: 1")
