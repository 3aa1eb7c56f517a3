"""Judges behind an OpenAI-compatible server: what they ask, what they take for a verdict, and when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.errors import JudgeFailed, ReplayMiss, SettingError
from osvl_plugins.reward.answer import MAX_ANSWER_CHARS
from osvl_plugins.reward.judge import AccuracyJudge, QueryJudge
from osvl_plugins.reward.judges.openai import JudgeSettings, accuracy_judge, query_judge
from osvl_plugins.reward.judges.prompts import ACCURACY, QUERIES
from osvl_plugins.settings import read
from osvl_plugins.trajectory import Observation, ToolCall, Trajectory, Turn
from tests.backends.doubles import client, everything_written, recorder
from tests.reward.judges.chat_server import MODEL, RATED, RIGHT, WRONG, ChatServer, chat_server, completion

ASKED = ("When was it built?", ["1531"], "In 1531.")
GARBAGE: dict[str, Any] = {
    "incorrect yes": "Incorrect: yes",
    "correct no": "correct: no",
    "prose": "The answer is correct.",
    "Chinese": "正确",
    "nothing": None,
    "no choices": {**completion(""), "choices": []},
    "no completion": {"object": "error", "message": "overloaded"},
    "no JSON": b"\xff\xfe<html>",
    "nested": '{"result": {"verdict": "correct"}}',
    "huge": '{"reason": "' + "x" * 60_000 + '", "verdict": "correct"}',
    "over the client's bound": "x" * 300_000,
}


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


Make = Callable[..., Any]


@pytest.fixture
async def make(server: ChatServer, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a judge of answers, or with ``queries`` one of searches; other arguments are settings."""
    async with client(tmp_path, max_bytes=200_000, attempts=2) as http:

        def made(queries: bool = False, mode: str = "live", **settings: Any) -> Any:
            values = JudgeSettings(**{"url": server.url, "model": MODEL, "deadline_s": 20.0, **settings})
            return (query_judge if queries else accuracy_judge)(values, http, recorder(tmp_path, mode), "osvl.test")

        yield made


@pytest.fixture
def judge(make: Make) -> AccuracyJudge:
    made: AccuracyJudge = make()
    return made


@pytest.mark.parametrize(("says", "right"), [(RIGHT, True), (WRONG, False), (f"```json\n{WRONG}\n```", False)])
async def test_the_verdict_is_the_model_s(says: str, right: bool, judge: AccuracyJudge, server: ChatServer) -> None:
    server.says = [says]
    assert (await judge.judge(*ASKED)).right is right


async def test_question_accepted_answers_and_answer_are_shown(judge: AccuracyJudge, server: ChatServer) -> None:
    await judge.judge("When?", ["1531", "the year 1531"], r"\boxed{In 1531}")
    system, user = server.asked[0]["messages"]
    assert system["content"] == ACCURACY.instructions
    assert user["content"] == (
        "<question>When?</question>\n\n<accepted>1531</accepted>\n<accepted>the year 1531</accepted>\n\n"
        "<answer>In 1531</answer>"
    )


async def test_a_single_verdict_is_asked_for_without_chance(judge: AccuracyJudge, server: ChatServer) -> None:
    await judge.judge(*ASKED)
    assert (server.asked[0]["temperature"], server.asked[0]["seed"], server.asked[0]["max_tokens"]) == (0, 0, 512)


@pytest.mark.parametrize("json_schema", [True, False])
async def test_a_schema_is_asked_for_where_that_is_set(json_schema: bool, make: Make, server: ChatServer) -> None:
    server.knows_formats = json_schema
    assert (await make(json_schema=json_schema).judge(*ASKED)).right
    assert ("response_format" in server.asked[0]) is json_schema


async def test_a_server_without_schemas_is_told_apart_from_a_wrong_answer(make: Make, server: ChatServer) -> None:
    server.knows_formats = False
    with pytest.raises(JudgeFailed, match="set json_schema to false"):
        await make().judge(*ASKED)


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_what_cannot_be_read_is_asked_for_again_with_a_reminder(
    garbage: Any, judge: AccuracyJudge, server: ChatServer
) -> None:
    server.says = [garbage, WRONG]
    assert not (await judge.judge(*ASKED)).right
    first, again = (body["messages"][1]["content"] for body in server.asked)
    assert again == f"{first}\n\n{ACCURACY.reminder}"


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_what_can_never_be_read_is_a_failure(garbage: Any, judge: AccuracyJudge, server: ChatServer) -> None:
    server.says = [garbage]
    with pytest.raises(JudgeFailed, match=MODEL):
        await judge.judge(*ASKED)
    assert len(server.asked) == 2


async def test_a_broken_server_is_a_failure_and_never_a_zero(judge: AccuracyJudge, server: ChatServer) -> None:
    server.says = [500]
    with pytest.raises(JudgeFailed, match="the server is broken"):
        await judge.judge(*ASKED)


async def test_failed_requests_use_up_no_retry_of_unread_verdicts(judge: AccuracyJudge, server: ChatServer) -> None:
    server.says = [500, "Incorrect: yes", 503, WRONG]
    assert not (await judge.judge(*ASKED)).right
    assert len(server.asked) == 4


async def test_a_model_that_is_not_there_is_a_failure(make: Make, server: ChatServer) -> None:
    with pytest.raises(JudgeFailed, match="status 404"):
        await make(model="another").judge(*ASKED)
    assert len(server.asked) == 1


async def test_a_verdict_has_a_deadline(make: Make, server: ChatServer) -> None:
    server.delay_s = 60
    with pytest.raises(JudgeFailed, match=r"within 0\.2 s"):
        await make(deadline_s=0.2).judge(*ASKED)


async def test_no_deadline_runs_while_others_have_their_turn(
    make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("osvl_plugins.reward.judges.openai.PARALLEL", 1)
    server.delay_s = 0.3
    judge = make(deadline_s=2.0)  # together they take longer
    verdicts = await asyncio.gather(*(judge.judge("q", ["1531"], f"15{number}") for number in range(8)))
    assert all(verdict.right for verdict in verdicts)


async def test_the_key_comes_from_the_environment(
    make: Make, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSVL_TEST_KEY", "secret")
    server.key = "secret"
    assert (await make(key_env="OSVL_TEST_KEY").judge(*ASKED)).right
    with pytest.raises(JudgeFailed, match="refuses the credentials"):
        await make().judge(*ASKED)


@pytest.mark.parametrize("answer", ["", "  ", "<think>1531</think>", "1531 " * MAX_ANSWER_CHARS])
async def test_no_answer_and_an_endless_one_are_wrong_without_asking(
    answer: str, judge: AccuracyJudge, server: ChatServer
) -> None:
    assert not (await judge.judge("q", ["1531"], answer)).right
    assert server.asked == []


async def test_votes_have_seeds_of_their_own_and_most_of_them_win(make: Make, server: ChatServer) -> None:
    server.by_seed = lambda seed: WRONG if seed == 1 else RIGHT
    assert (await make(n=3).judge(*ASKED)).right
    assert sorted(body["seed"] for body in server.asked) == [0, 1, 2]
    assert all(body["temperature"] > 0 for body in server.asked)


async def test_an_unreadable_vote_is_outvoted(make: Make, server: ChatServer) -> None:
    server.by_seed = lambda seed: "Incorrect: yes" if seed == 0 else WRONG
    assert not (await make(n=3).judge(*ASKED)).right


async def test_a_recorded_verdict_is_replayed_without_the_server(make: Make, server: ChatServer) -> None:
    server.says = ["Incorrect: yes", WRONG]
    await make(mode="record").judge(*ASKED)
    server.says = [500]
    assert not (await make(mode="replay").judge(*ASKED)).right
    assert len(server.asked) == 2


@pytest.mark.parametrize("other", [{"max_tokens": 64}, {"json_schema": False}, {"model": "another"}, {"n": 3}])
async def test_other_settings_are_another_recording(other: dict[str, Any], make: Make) -> None:
    await make(mode="record").judge(*ASKED)
    with pytest.raises(ReplayMiss):
        await make(mode="replay", **other).judge(*ASKED)


async def test_a_recording_holds_the_version_of_the_prompt_and_no_key(
    make: Make, server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSVL_TEST_KEY", "a-secret-key")
    server.key = "a-secret-key"
    await make(mode="record", key_env="OSVL_TEST_KEY").judge(*ASKED)
    written = everything_written(tmp_path)
    assert ACCURACY.version.encode() in written
    assert b"a-secret-key" not in written


async def test_an_unreadable_verdict_is_not_cached(make: Make, server: ChatServer) -> None:
    server.says = ["Incorrect: yes"]
    with pytest.raises(JudgeFailed):
        await make(mode="cache").judge(*ASKED)
    server.says = [RIGHT]
    assert (await make(mode="cache").judge(*ASKED)).right


async def test_equal_verdicts_at_the_same_time_are_asked_for_once(make: Make, server: ChatServer) -> None:
    server.delay_s = 0.1
    judge = make(mode="cache")
    await asyncio.gather(*(judge.judge(*ASKED) for _ in range(8)))
    assert len(server.asked) == 1


async def test_a_judge_says_who_it_is(judge: AccuracyJudge) -> None:
    assert judge.name == MODEL
    assert judge.version == f"{ACCURACY.version}, schema, 512 tokens, 1 retries, temperature 0"


def searching(*tools: str, fatal_step: int | None = None) -> Trajectory:
    turns = [
        Turn("", ToolCall(tool, {"q": f"query {number}"}), observation=Observation(f"result {number}"))
        for number, tool in enumerate(tools)
    ]
    return Trajectory("q", [*turns, Turn("", answer=r"\boxed{1531}")], end="answer", fatal_step=fatal_step)


@pytest.fixture
def raters(make: Make, server: ChatServer) -> QueryJudge:
    server.says = [RATED]
    made: QueryJudge = make(queries=True)
    return made


async def test_searches_are_rated_in_four_dimensions(raters: QueryJudge) -> None:
    ratings = await raters.rate("q", ["1531"], searching("text_search", "crop"))
    assert (ratings.relevance, ratings.progression, ratings.signal, ratings.modalities) == (1.0, 0.5, 0.25, 0.0)


async def test_calls_results_and_answers_are_shown_to_who_rates(raters: QueryJudge, server: ChatServer) -> None:
    await raters.rate("When?", ["1531"], searching("image_search", "crop"))
    system, user = (message["content"] for message in server.asked[0]["messages"])
    assert system == QUERIES.instructions
    assert "<question>When?</question>" in user
    assert "<answer>1531</answer>" in user
    assert '<arguments>q: "query 1"</arguments>\n<result>result 1</result>' in user


async def test_after_the_fatal_step_nothing_is_rated(raters: QueryJudge, server: ChatServer) -> None:
    await raters.rate("When?", ["1531"], searching("text_search", "text_search", fatal_step=1))
    shown = server.asked[0]["messages"][1]["content"]
    assert "query 0" in shown
    assert "query 1" not in shown
    assert "<answer>(no answer)</answer>" in shown


@pytest.mark.parametrize("trajectory", [searching("crop"), searching("text_search", fatal_step=0), Trajectory("q")])
async def test_without_a_search_all_is_0_without_asking(
    trajectory: Trajectory, raters: QueryJudge, server: ChatServer
) -> None:
    assert (await raters.rate("q", ["1531"], trajectory)).score == 0.0
    assert server.asked == []


async def test_ratings_that_cannot_be_read_are_a_failure(raters: QueryJudge, server: ChatServer) -> None:
    server.says = [RIGHT]
    with pytest.raises(JudgeFailed):
        await raters.rate("q", ["1531"], searching("text_search"))


async def test_without_an_accepted_answer_nobody_is_asked(make: Make, server: ChatServer) -> None:
    with pytest.raises(ValueError, match="no accepted answer"):
        await make().judge("q", [], "1531")
    with pytest.raises(ValueError, match="no accepted answer"):
        await make(queries=True).rate("q", [""], searching("text_search"))
    assert server.asked == []


@pytest.mark.parametrize("missing", ["url", "model"])
def test_a_judge_needs_an_address_and_a_model(missing: str, make: Make) -> None:
    with pytest.raises(SettingError, match=rf"osvl\.test\.{missing}: must be set"):
        make(**{missing: ""})


@pytest.mark.parametrize("wrong", [{"n": 2}, {"n": 0}, {"deadline_s": 0}, {"url": "ftp://x"}, {"retries": 9}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=rf"osvl\.reward\.judge\.{next(iter(wrong))}"):
        read(JudgeSettings, wrong, "osvl.reward.judge")
