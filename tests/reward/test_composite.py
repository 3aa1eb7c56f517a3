"""The composite reward, worked by hand."""

from __future__ import annotations

import pytest

from osvl_plugins.reward.accuracy import MAX_ANSWER_CHARS, accuracy_score, final_answer, normalise
from osvl_plugins.reward.composite import Reward, composite_reward
from osvl_plugins.reward.format import format_score
from osvl_plugins.reward.query import evidence_score
from osvl_plugins.trajectory import Observation, StepError, ToolCall, Trajectory, Turn

CALL = ToolCall("text_search", {"q": "Oslo"})


def found(*pages: str) -> Turn:
    return Turn("", call=CALL, observation=Observation("", pages=pages))


def error(kind: str = "timeout") -> Turn:
    call = None if kind == "parse" else CALL
    return Turn("", call=call, observation=Observation("", error=StepError(kind, "")))  # type: ignore[arg-type]


def answered(text: str) -> Turn:
    return Turn("", answer=text)


def trajectory(*turns: Turn, fatal_step: int | None = None) -> Trajectory:
    return Trajectory("?", list(turns), fatal_step=fatal_step)


def test_all_right_is_one() -> None:
    done = trajectory(found("norway"), found("oslo"), answered("Oslo"))
    assert composite_reward(done, ["Oslo"], ["norway", "oslo"]) == pytest.approx((1.0, 1.0, 1.0, 1.0))


def test_a_right_answer_with_half_of_the_evidence() -> None:
    done = trajectory(found("norway"), answered("Oslo"))
    assert composite_reward(done, ["Oslo"], ["norway", "oslo"]) == pytest.approx((0.8 + 0.2 * 0.5, 1.0, 1.0, 0.5))


def test_a_wrong_answer_with_all_of_the_evidence() -> None:
    done = trajectory(found("norway", "oslo"), answered("Bergen"))
    assert composite_reward(done, ["Oslo"], ["norway", "oslo"]) == pytest.approx((0.2, 1.0, 0.0, 1.0))


def test_an_unreadable_turn_takes_its_share_of_everything() -> None:
    done = trajectory(error("parse"), found("oslo"), error("timeout"), answered("Oslo"))
    assert composite_reward(done, ["Oslo"], ["oslo"]) == pytest.approx((0.75, 0.75, 1.0, 1.0))


def test_without_evidence_the_reward_is_format_times_accuracy() -> None:
    done = trajectory(error("parse"), answered("Oslo"))
    assert composite_reward(done, ["Oslo"], []) == Reward(0.5, 0.5, 1.0, None)


def test_no_answer_is_wrong() -> None:
    assert composite_reward(trajectory(found("oslo")), ["Oslo"], ["oslo"]) == pytest.approx((0.2, 1.0, 0.0, 1.0))


def test_nothing_done_is_nothing() -> None:
    assert composite_reward(trajectory(), ["Oslo"], ["oslo"]) == Reward(0.0, 0.0, 0.0, 0.0)


def test_a_fatal_trajectory_keeps_only_what_came_before_the_fatal_step() -> None:
    done = trajectory(found("norway"), error("parse"), *[error()] * 3, found("oslo"), answered("Oslo"), fatal_step=2)
    expected = (0.5 * 0.2 * 0.5, 0.5, 0.0, 0.5)
    assert composite_reward(done, ["Oslo"], ["norway", "oslo"]) == pytest.approx(expected)


def test_a_trajectory_fatal_from_its_first_step_is_worth_nothing() -> None:
    done = trajectory(*[error()] * 3, answered("Oslo"), fatal_step=0)
    assert composite_reward(done, ["Oslo"], ["oslo"]) == Reward(0.0, 0.0, 0.0, 0.0)


RECOVERED = (found("norway"), *[error()] * 3, found("oslo"), answered("Oslo"))


@pytest.mark.parametrize(("scored", "score"), [(False, 0.2 * 0.5), (True, 0.8 + 0.2 * 0.5)])
def test_the_answer_of_a_fatal_trajectory_counts_only_where_asked_for(scored: bool, score: float) -> None:
    done = trajectory(*RECOVERED, fatal_step=1)
    reward = composite_reward(done, ["Oslo"], ["norway", "oslo"], score_fatal_answer=scored)
    assert reward == pytest.approx((score, 1.0, float(scored), 0.5))


def test_a_scored_answer_cannot_lift_a_trajectory_without_a_prefix() -> None:
    done = trajectory(*[error()] * 3, answered("Oslo"), fatal_step=0)
    assert composite_reward(done, ["Oslo"], ["oslo"], score_fatal_answer=True) == Reward(0.0, 0.0, 1.0, 0.0)


def test_a_trajectory_that_is_not_fatal_is_scored_the_same_either_way() -> None:
    done = trajectory(*RECOVERED)
    rewards = [composite_reward(done, ["Oslo"], ["oslo"], score_fatal_answer=scored) for scored in (False, True)]
    assert rewards[0] == rewards[1] == pytest.approx((1.0, 1.0, 1.0, 1.0))


def test_fatal_after_the_last_turn_keeps_all_of_it() -> None:
    done = trajectory(found("norway"), error("parse"), found("oslo"), fatal_step=3)
    expected = (2 / 3 * 0.2, 2 / 3, 0.0, 1.0)
    assert composite_reward(done, ["Oslo"], ["norway", "oslo"]) == pytest.approx(expected)


def test_a_failed_call_is_well_formed_and_an_unreadable_turn_is_not() -> None:
    assert format_score(trajectory(error("bad_arguments"), error("unknown_tool"))) == 1.0
    assert format_score(trajectory(error("parse"), answered("x"))) == 0.5


def test_evidence_that_is_named_or_found_twice_counts_once() -> None:
    assert evidence_score(trajectory(found("a", "a"), found("a")), ["a", "a", "b"]) == 0.5


def test_empty_evidence_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        evidence_score(trajectory(), [])


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("  OSLO. ", "Oslo"),
        ("The Hague", "hague"),
        ("São Tomé", "sao tome"),
        ("1,234,567", "1234567"),
        ("1\u202f234", "1234"),
        ("Guinea-Bissau", "guinea bissau"),
        ("I think it is \\boxed{Oslo}", "Oslo"),
        ("\\boxed{Bergen} no, \\boxed{Oslo}", "Oslo"),
        ("ﬁnland", "Finland"),
        ("STRASSE", "Straße"),
        ("東京", "東京"),
    ],
)
def test_spellings_of_one_answer_are_equal(answer: str, gold: str) -> None:
    assert accuracy_score(answer, [gold]) == 1.0


@pytest.mark.parametrize(
    ("answer", "gold"),
    [("Oslo or Bergen", "Oslo"), ("1234", "1235"), ("1,23", "123"), ("", "Oslo"), ("the", "Oslo"), ("Oslo", "Os lo")],
)
def test_another_answer_is_wrong(answer: str, gold: str) -> None:
    assert accuracy_score(answer, [gold]) == 0.0


def test_any_accepted_answer_will_do() -> None:
    assert accuracy_score("Holland", ["Netherlands", "Holland"]) == 1.0


def test_an_answer_too_long_to_be_one_is_wrong() -> None:
    assert accuracy_score("\\boxed{Oslo}" + " " * MAX_ANSWER_CHARS, ["Oslo"]) == 0.0


@pytest.mark.parametrize("accepted", [[], [""], ["the"], ["..."]])
def test_a_question_without_an_answer_cannot_be_scored(accepted: list[str]) -> None:
    with pytest.raises(ValueError, match="no accepted answer"):
        accuracy_score("Oslo", accepted)


def test_normalising_twice_changes_nothing() -> None:
    once = normalise("The  São-Tomé, 1,000!")
    assert once == normalise(once) == "sao tome 1000"


def test_an_unboxed_answer_is_all_of_it() -> None:
    assert final_answer(" Oslo, Norway ") == "Oslo, Norway"
