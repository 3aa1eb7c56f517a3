"""The composite reward, worked by hand."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import OsvlError, ReplayMiss
from osvl_plugins.reward.composite import (
    Reward,
    Sample,
    Scorer,
    check_unscored,
    combine,
    parts,
    question_of,
)
from osvl_plugins.reward.judge import Verdict
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.reward.settings import RewardSettings, WeightSettings
from osvl_plugins.trajectory import Trajectory
from tests.reward.trajectories import (
    QUESTION,
    Answers,
    Searches,
    answered,
    cropped,
    error,
    found,
    looked_up,
    trajectory,
)

BOTH = ["norway", "oslo"]
JUDGE = {"url": "http://localhost/v1", "model": "judge"}
ASKS_ANSWERS = {"accuracy": "judge", "judge": JUDGE}
ASKS_SEARCHES = {"query": "judge", "judge": JUDGE}
ASKS_BOTH = {"accuracy": "judge", "query": "judge", "judge": JUDGE}
THREE = {"visual": "evidence", "weights": {"accuracy": 0.6, "query": 0.2, "visual": 0.2}}


class Example(NamedTuple):
    """What a trajectory's reward is, part by part."""

    what: str
    trajectory: Trajectory
    evidence: list[str]
    score: float
    format: float
    accuracy: float | None
    query: float | None
    visual: float | None = None
    settings: Mapping[str, Any] = MappingProxyType({})
    score_fatal_answer: bool = False
    unscored: bool = False


KILLED = (*[error()] * 3, answered("Oslo"))
RECOVERED = (found("norway"), *KILLED[:3], found("oslo"), answered("Oslo"))
SEEN = (cropped(), looked_up("oslo"), answered("Oslo"))

BY_HAND = [
    # what, trajectory, evidence: score, format, accuracy, query, visual
    Example("all right", trajectory(found("norway"), found("oslo"), answered("Oslo")), BOTH, 1.0, 1.0, 1.0, 1.0),
    Example("half of it found", trajectory(found("norway"), answered("Oslo")), BOTH, 0.9, 1.0, 1.0, 0.5),
    Example("wrong, but found", trajectory(found(*BOTH), answered("Bergen")), BOTH, 0.2, 1.0, 0.0, 1.0),
    Example("wrong, nothing found", trajectory(answered("Bergen")), BOTH, 0.0, 1.0, 0.0, 0.0),
    Example("no answer", trajectory(found("oslo")), ["oslo"], 0.2, 1.0, 0.0, 1.0),
    Example("nothing done", trajectory(), ["oslo"], 0.0, 0.0, 0.0, 0.0),
    Example("nothing readable", trajectory(error("parse"), error("parse")), ["oslo"], 0.0, 0.0, 0.0, 0.0),
    Example(
        "one of four turns unreadable",
        trajectory(error("parse"), found("oslo"), error(), answered("Oslo")), ["oslo"], 0.75, 0.75, 1.0, 1.0,
    ),
    Example("no evidence known", trajectory(error("parse"), answered("Oslo")), [], 0.5, 0.5, 1.0, None),
    # fatal: the parts are those before the fatal step
    Example(
        "fatal after two turns",
        trajectory(found("norway"), error("parse"), *KILLED, fatal_step=2), BOTH, 0.5 * 0.2 * 0.5, 0.5, 0.0, 0.5,
    ),
    Example("fatal at once", trajectory(*KILLED, fatal_step=0), ["oslo"], 0.0, 0.0, 0.0, 0.0),
    Example(
        "fatal after the last turn",
        trajectory(found("norway"), error("parse"), found("oslo"), fatal_step=3), BOTH, 2 / 3 * 0.2, 2 / 3, 0.0, 1.0,
    ),
    Example("fatal, its answer void", trajectory(*RECOVERED, fatal_step=1), BOTH, 0.1, 1.0, 0.0, 0.5),
    Example(
        "fatal, its answer scored",
        trajectory(*RECOVERED, fatal_step=1), BOTH, 0.9, 1.0, 1.0, 0.5, score_fatal_answer=True,
    ),
    Example(
        "fatal at once, its answer scored",
        trajectory(*KILLED, fatal_step=0), ["oslo"], 0.0, 0.0, 1.0, 0.0, score_fatal_answer=True,
    ),
    Example("not fatal, so scored", trajectory(*RECOVERED), BOTH, 1.0, 1.0, 1.0, 1.0, score_fatal_answer=True),
    # the gate
    Example(
        "no gate",
        trajectory(error("parse"), found("norway"), answered("Oslo")), BOTH, 0.9, 2 / 3, 1.0, 0.5,
        settings={"gate": "none"},
    ),
    Example("no gate, nothing done", trajectory(), ["oslo"], 0.0, 0.0, 0.0, 0.0, settings={"gate": "none"}),
    # the weights
    Example(
        "half and half",
        trajectory(found("oslo"), answered("Bergen")), ["oslo"], 0.5, 1.0, 0.0, 1.0,
        settings={"weights": {"accuracy": 0.5, "query": 0.5}},
    ),
    Example("no query", trajectory(answered("Oslo")), ["oslo"], 1.0, 1.0, 1.0, None, settings={"query": "none"}),
    # r_visual
    Example("seen", trajectory(*SEEN), BOTH, 0.6 + 0.2 * 0.5 + 0.2, 1.0, 1.0, 0.5, 1.0, settings=THREE),
    Example(
        "one crop too many",
        trajectory(cropped(), *SEEN), BOTH, 0.6 + 0.2 * 0.5 + 0.2 * 0.5, 1.0, 1.0, 0.5, 0.5, settings=THREE,
    ),
    Example(
        "no operation: its weight goes to accuracy",
        trajectory(found("oslo"), answered("Oslo")), BOTH, 0.8 + 0.2 * 0.5, 1.0, 1.0, 0.5, None, settings=THREE,
    ),
    Example("no evidence: so does query's", trajectory(*SEEN), [], 1.0, 1.0, 1.0, None, None, settings=THREE),
    Example(
        "watched but not weighed",
        trajectory(cropped(), *SEEN), ["oslo"], 1.0, 1.0, 1.0, 1.0, 0.5, settings={"visual": "evidence"},
    ),
    # judges
    Example("judged right", trajectory(answered("Oslo")), ["oslo"], 0.8, 1.0, 1.0, 0.0, settings=ASKS_ANSWERS),
    Example("judged wrong", trajectory(answered("Bergen")), ["oslo"], 0.0, 1.0, 0.0, 0.0, settings=ASKS_ANSWERS),
    Example(
        "searches rated, with or without evidence",
        trajectory(found(), answered("Oslo")), [], 0.8 + 0.2 * 0.5, 1.0, 1.0, 0.5, settings=ASKS_SEARCHES,
    ),
    Example(
        "the judge of answers failed",
        trajectory(found("oslo"), answered("?")), ["oslo"], 0.0, 1.0, None, 1.0, settings=ASKS_ANSWERS, unscored=True,
    ),
    Example(
        "the judge of searches failed",
        trajectory(answered("Oslo")), [], 0.0, 1.0, 1.0, None, settings=ASKS_SEARCHES, unscored=True,
    ),
    Example(
        "it failed, which is 0",
        trajectory(found("oslo"), answered("?")), ["oslo"], 0.2, 1.0, 0.0, 1.0,
        settings=ASKS_ANSWERS | {"on_judge_failure": "zero"},
    ),
    Example(
        "it failed, but weighs nothing",
        trajectory(answered("Oslo")), [], 1.0, 1.0, 1.0, None,
        settings=ASKS_SEARCHES | {"weights": {"accuracy": 1.0, "query": 0.0}},
    ),
    Example(
        "it failed, and has a weight for want of evidence",
        trajectory(answered("?")), [], 0.0, 1.0, None, None,
        settings=ASKS_ANSWERS | {"weights": {"accuracy": 0.0, "query": 1.0}}, unscored=True,
    ),
    Example(
        "not worth judging: gate 0",
        trajectory(*KILLED, fatal_step=0), [], 0.0, 0.0, None, None, settings=ASKS_BOTH, score_fatal_answer=True,
    ),
]  # fmt: skip


def scorer(settings: Mapping[str, Any], score_fatal_answer: bool = False) -> tuple[Scorer, Answers, Searches]:
    chosen, answers, searches = RewardSettings(**settings), Answers(), Searches()
    return (
        Scorer(
            chosen,
            RuleJudge() if chosen.accuracy == "rules" else answers,
            searches if chosen.query == "judge" else None,
            score_fatal_answer=score_fatal_answer,
        ),
        answers,
        searches,
    )


@pytest.mark.parametrize("example", BY_HAND, ids=[example.what for example in BY_HAND])
async def test_rewards_worked_by_hand(example: Example) -> None:
    made, _, _ = scorer(example.settings, example.score_fatal_answer)
    reward = await made.score(Sample(example.trajectory, ["Oslo"], example.evidence))
    expected = (example.score, example.format, example.accuracy, example.query, example.visual)
    assert reward[:5] == pytest.approx(expected)
    assert (reward.unscored, reward.unscored and reward.failure != "") == (example.unscored, example.unscored)


@pytest.mark.parametrize(
    "done",
    [
        trajectory(),
        trajectory(error("parse")),
        trajectory(*KILLED, fatal_step=0),
        trajectory(found("oslo"), end="policy_error"),
    ],
)
async def test_no_judge_is_asked_where_its_word_changes_nothing(done: Trajectory) -> None:
    made, answers, searches = scorer(ASKS_BOTH, score_fatal_answer=True)
    reward = await made.score(Sample(done, ["Oslo"], ["oslo"]))
    assert (reward.score, reward.unscored, answers.asked, searches.asked) == (0.0, False, [], [])


async def test_an_answer_that_does_not_count_is_not_judged_but_its_searches_are() -> None:
    made, answers, searches = scorer(ASKS_BOTH)
    done = trajectory(*RECOVERED, fatal_step=1)
    reward = await made.score(Sample(done, ["Oslo"]))
    assert (reward.accuracy, reward.query, answers.asked, searches.asked) == (0.0, 0.5, [], [done])


async def test_the_judges_words_are_kept() -> None:
    made, _, _ = scorer(ASKS_BOTH)
    reward = await made.score(Sample(trajectory(found(), answered("Oslo")), ["Oslo"]))
    assert reward.reason == "Oslo it is"
    assert (reward.relevance, reward.progression, reward.signal, reward.modalities) == (1.0, 0.5, 0.25, 0.25)


async def test_what_failed_is_named() -> None:
    made, _, _ = scorer(ASKS_BOTH)
    reward = await made.score(Sample(trajectory(answered("?")), ["Oslo"]))
    assert reward.failure == "accuracy: answers: no verdict within 1 s; query: searches: status 500"


async def test_without_a_question_a_judge_has_nothing_to_go_by() -> None:
    made, answers, _ = scorer(ASKS_ANSWERS)
    done = Trajectory("", [answered("Oslo")], end="answer")
    assert "no question" in (await made.score(Sample(done, ["Oslo"]))).failure
    assert (await made.score(Sample(done, ["Oslo"], question="Which city?"))).accuracy == 1.0
    assert answers.asked == ["Oslo"]


@pytest.mark.parametrize("accepted", [[], [""], [" "]])
@pytest.mark.parametrize("turns", [[], [answered("Oslo")]])
async def test_a_sample_without_an_accepted_answer_cannot_be_scored(accepted: list[str], turns: list[Any]) -> None:
    with pytest.raises(ValueError, match="no accepted answer"):
        await scorer({})[0].score(Sample(trajectory(*turns), accepted))


async def test_a_group_is_scored_as_its_samples_are_each_asked_once() -> None:
    made, answers, searches = scorer(ASKS_BOTH)
    texts = ["Oslo", "Bergen", "Oslo", "?", "Oslo", "?"]
    group = [Sample(trajectory(found("oslo"), answered(text)), ["Oslo"], ["oslo"]) for text in texts]
    together = await made.score_group(group)
    assert sorted(answers.asked) == ["?", "Bergen", "Oslo"]
    assert len(searches.asked) == 3
    assert together == [await made.score(sample) for sample in group]


async def test_an_answer_to_another_question_is_asked_again() -> None:
    made, answers, _ = scorer(ASKS_ANSWERS)
    done = Trajectory("", [answered("Oslo")], end="answer")
    group = [Sample(done, ["Oslo"], question=question) for question in ("Capital?", "City?")]
    await made.score_group([*group, Sample(done, ["Bergen"], question="City?")])
    assert answers.asked == ["Oslo"] * 3


async def test_an_empty_group_has_no_rewards() -> None:
    assert await scorer({})[0].score_group([]) == []


async def test_what_ends_the_run_ends_the_group_and_leaves_nothing_running() -> None:
    class Replayed(Answers):
        async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
            if answer == "Oslo":
                raise ReplayMiss("judge: never recorded")
            await asyncio.sleep(60)
            raise AssertionError

    made = Scorer(RewardSettings(**ASKS_ANSWERS), Replayed())
    with pytest.raises(ReplayMiss):
        await made.score_group([Sample(trajectory(answered(text)), ["Oslo"]) for text in ("Bergen", "Oslo")])
    await asyncio.sleep(0)
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


def test_a_judge_of_searches_without_use_is_refused() -> None:
    with pytest.raises(ValueError, match="query is evidence"):
        Scorer(RewardSettings(), RuleJudge(), Searches())


SHARE = st.floats(0, 1)
MAYBE = st.none() | SHARE


@given(SHARE, SHARE, SHARE, MAYBE, MAYBE, MAYBE)
def test_a_reward_lies_between_0_and_1(
    first: float, second: float, gate: float, accuracy: float | None, query: float | None, visual: float | None
) -> None:
    low, high = sorted((first, second))
    weights = WeightSettings(accuracy=low, query=high - low, visual=1 - high).of_sample(query, visual)
    assert sum(weights) == pytest.approx(1)
    assert -1e-9 <= combine(weights, gate, accuracy, query, visual) <= 1 + 1e-9


@given(SHARE, SHARE)
def test_without_a_part_its_weight_is_accuracys(gate: float, accuracy: float) -> None:
    weights = WeightSettings(accuracy=0.5, query=0.3, visual=0.2)
    for query, visual, expected in (
        (None, None, accuracy),
        (1.0, None, 0.7 * accuracy + 0.3),
        (None, 1.0, 0.8 * accuracy + 0.2),
        (1.0, 0.0, 0.5 * accuracy + 0.3),
    ):
        of_sample = weights.of_sample(query, visual)
        assert combine(of_sample, gate, accuracy, query, visual) == pytest.approx(gate * expected)


async def test_the_parts_of_every_row_have_the_same_names() -> None:
    done, lost = trajectory(found("oslo"), error(), answered("Oslo")), trajectory(answered("?"))
    made, _, _ = scorer(ASKS_BOTH)
    rows = [parts(await made.score(Sample(each, ["Oslo"])), each) for each in (done, lost)]
    assert list(rows[0]) == list(rows[1])
    assert {name: rows[0][name] for name in ("answered", "fatal", "failed", "error_steps", "steps", "unscored")} == {
        "answered": 1.0,
        "fatal": 0.0,
        "failed": 0.0,
        "error_steps": 1.0,
        "steps": 3.0,
        "unscored": "",
    }
    assert rows[0]["score"] == pytest.approx(0.9)
    assert math.isnan(float(rows[0]["visual"]))


async def test_a_row_without_a_score_says_why_and_has_none() -> None:
    done = trajectory(answered("?"))
    row = parts(await scorer(ASKS_ANSWERS)[0].score(Sample(done, ["Oslo"])), done)
    assert math.isnan(float(row["score"]))
    assert row["unscored"] == "accuracy: answers: no verdict within 1 s"


async def test_a_failure_that_counts_as_0_leaves_the_row_its_score() -> None:
    done = trajectory(answered("?"))
    settings = ASKS_ANSWERS | {"on_judge_failure": "zero"}
    row = parts(await scorer(settings)[0].score(Sample(done, ["Oslo"])), done)
    assert (row["score"], row["unscored"]) == (0.0, "")


def test_a_reward_is_json() -> None:
    reward = Reward(0.5, 1.0, 0.0, None)
    assert json.loads(json.dumps(reward._asdict()))["query"] is None


def test_a_row_of_verls_format_is_a_sample() -> None:
    done = trajectory()
    assert Sample.of_row(done, "Oslo", None) == Sample(done, ["Oslo"], [], "")
    row = {"evidence": ("oslo",), "question": "Which?", "index": 3}
    assert Sample.of_row(done, ("Oslo", 3), row) == Sample(done, ["Oslo", "3"], ["oslo"], "Which?")
    assert Sample.of_row(done, "Oslo", {"evidence": None, "question": None}) == Sample(done, ["Oslo"], [], "")


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([], ""),
        ([{"role": "system", "content": "Be brief."}], ""),
        ([{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}], QUESTION),
        ([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}], QUESTION),
        ([{"role": "user", "content": "Hello"}, {"role": "user", "content": QUESTION}], QUESTION),
    ],
)
def test_the_question_is_the_users_last_text(messages: list[dict[str, Any]], question: str) -> None:
    assert question_of(messages) == question


@pytest.mark.parametrize(("failed", "limit"), [(0, 0.0), (1, 0.25), (4, 1.0)])
def test_a_run_goes_on_up_to_the_limit(failed: int, limit: float) -> None:
    check_unscored(["judge: status 500"] * failed, 4, limit)


def test_a_run_over_the_limit_stops_and_names_the_failure() -> None:
    failures = ["accuracy: m: status 500", "accuracy: m: no verdict", "accuracy: m: status 500"]
    with pytest.raises(OsvlError, match=r"3 of 8 samples .*unscored_limit = 0.25; 2 of them because of: .*status 500"):
        check_unscored(failures, 8, 0.25)
