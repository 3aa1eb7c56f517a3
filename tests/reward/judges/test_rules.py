"""Rules as a judge, and a model where they cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from osvl_plugins.errors import JudgeFailed
from osvl_plugins.reward.judge import Verdict
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.reward.rules import Rules

TOLD = [("Since when?", ["1531"], "1531", True), ("Since when?", ["1531"], "1532", False)]
OPEN = ("Who opened it?", ["Barack Obama"], "Obama")


class Model:
    """Says the same of every answer; None is a failure."""

    name, version = "model", "v7"

    def __init__(self, right: bool | None) -> None:
        self.right = right
        self.asked = 0

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        self.asked += 1
        if self.right is None:
            raise JudgeFailed("no verdict")
        return Verdict(self.right, "the model says so")


def test_the_example_is_one_that_the_rules_cannot_tell() -> None:
    assert Rules().compare(*OPEN).right is None


@pytest.mark.parametrize(("question", "accepted", "answer", "right"), TOLD)
async def test_what_the_rules_can_tell_no_model_is_asked(
    question: str, accepted: list[str], answer: str, right: bool
) -> None:
    model = Model(not right)
    assert (await RuleJudge(model).judge(question, accepted, answer)).right is right
    assert model.asked == 0


async def test_alone_what_the_rules_cannot_tell_is_wrong() -> None:
    assert not (await RuleJudge().judge(*OPEN)).right


@pytest.mark.parametrize("right", [True, False])
async def test_what_the_rules_cannot_tell_the_model_decides(right: bool) -> None:
    assert await RuleJudge(Model(right)).judge(*OPEN) == Verdict(right, "the model says so")


async def test_a_model_that_fails_is_not_a_wrong_answer() -> None:
    with pytest.raises(JudgeFailed):
        await RuleJudge(Model(None)).judge(*OPEN)


def test_both_are_named() -> None:
    assert (RuleJudge().name, RuleJudge().version) == ("rules", Rules.version)
    assert (RuleJudge(Model(True)).name, RuleJudge(Model(True)).version) == ("rules, model", f"{Rules.version}; v7")
