"""Answers that try to get credit without being right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.reward.judges.rules import RuleJudge

RED_TEAM = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "red_team.jsonl").read_text("utf-8").splitlines()
]


async def accuracy_score(answer: str, accepted: list[str], question: str = "") -> float:
    return float((await RuleJudge().judge(question, accepted, answer)).right)


def name(row: dict[str, Any]) -> str:
    return ascii(row["answer"])[:40]


@pytest.mark.parametrize("row", RED_TEAM, ids=name)
async def test_an_attack_gets_nothing(row: dict[str, Any]) -> None:
    assert await accuracy_score(row["answer"], row["accepted"]) == 0.0


@pytest.mark.parametrize("row", RED_TEAM, ids=name)
async def test_an_attack_gets_nothing_where_the_question_is_known(row: dict[str, Any]) -> None:
    assert await accuracy_score(row["answer"], row["accepted"], row["question"]) == 0.0


def test_the_attacks_are_many_and_of_many_kinds() -> None:
    assert len(RED_TEAM) >= 110
    assert len({row["trick"] for row in RED_TEAM}) >= 15
