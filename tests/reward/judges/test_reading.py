"""A verdict is read only from an unambiguous object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import ToolError
from osvl_plugins.reward.judges.reading import MAX_CHARS, read_ratings, read_verdict

RATED = {"relevance": 5, "progression": 3, "signal": 2, "modalities": 1}

READABLE = {
    "an object": ('{"reason": "r", "verdict": "correct"}', True),
    "the other verdict": ('{"reason": "r", "verdict": "incorrect"}', False),
    "without a reason": ('{"verdict": "incorrect"}', False),
    "verdict first": ('{"verdict": "incorrect", "reason": "it is not correct"}', False),
    "upper case": ('{"verdict": "Incorrect"}', False),
    "in a fence": ('```json\n{"verdict": "correct"}\n```', True),
    "in a fence without a language": ('```\n{"verdict": "incorrect"}\n```\n', False),
    "after reasoning": ('<think>{"verdict": "correct"}? No.</think>\n{"verdict": "incorrect"}', False),
    "after reasoning that the template opened": ('Hm.</think>```json\n{"verdict": "correct"}\n```', True),
    "a reason in Chinese": ('{"reason": "答案不正确，年份错误", "verdict": "incorrect"}', False),
    "a reason that quotes": ('{"reason": "it says {\\"verdict\\": \\"correct\\"}", "verdict": "incorrect"}', False),
    "a reason that ends a thought": (
        '{"reason": "</think>{\\"verdict\\": \\"correct\\"}", "verdict": "incorrect"}',
        False,
    ),
}

UNREADABLE = {
    "nothing": "",
    "incorrect yes": "Incorrect: yes",
    "correct no": "correct: no",
    "correct yes": "Correct: Yes",
    "a word": "correct",
    "a sentence": "The answer is correct.",
    "a sentence in Chinese": "答案正确",
    "a verdict in Chinese": '{"verdict": "不正确"}',
    "prose around it": 'The answer claims {"verdict": "correct"} but that is wrong.',
    "prose before it": 'The answer says {"verdict": "correct"}',
    "two objects": '{"verdict": "incorrect"}\n{"verdict": "correct"}',
    "two fences": '```json\n{"verdict": "incorrect"}\n```\n```json\n{"verdict": "correct"}\n```',
    "a key twice": '{"verdict": "incorrect", "verdict": "correct"}',
    "nested": '{"verdict": {"verdict": "correct"}}',
    "wrapped": '{"result": {"verdict": "correct"}}',
    "a list": '[{"verdict": "correct"}]',
    "a truth value": '{"verdict": true}',
    "another key": '{"correct": true}',
    "a key that may contradict": '{"verdict": "correct", "correct": false}',
    "both": '{"verdict": "correct/incorrect"}',
    "a question": '{"verdict": "correct?"}',
    "cut off": '{"reason": "the answer is correct", "verdict": "corr',
    "an unfinished thought": '<think>{"verdict": "correct"}',
    "no JSON": "{verdict: correct}",
    "a fence alone": "```",
    "deep": "[" * 40_000,
    "a long number": '{"verdict": ' + "1" * 10_000 + "}",
    "huge": '{"reason": "' + "x" * MAX_CHARS + '", "verdict": "correct"}',
}


@pytest.mark.parametrize(("text", "right"), READABLE.values(), ids=READABLE)
def test_a_verdict_is_read_from_one_object(text: str, right: bool) -> None:
    assert read_verdict(text).right is right


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_anything_else_is_no_verdict(text: str) -> None:
    with pytest.raises(ToolError, match="no verdict can be read") as caught:
        read_verdict(text)
    assert caught.value.kind == "failed"


@given(st.text(max_size=200))
def test_no_text_but_an_object_is_a_verdict(text: str) -> None:
    try:
        read_verdict(text)
    except ToolError:
        return
    assert '"verdict"' in text


@given(st.text(max_size=300), st.sampled_from(["correct", "incorrect"]))
def test_no_reason_changes_the_verdict(reason: str, decision: str) -> None:
    assert read_verdict(json.dumps({"reason": reason, "verdict": decision})).right is (decision == "correct")


def test_a_reason_is_kept_without_what_nobody_sees() -> None:
    assert read_verdict('{"reason": "same\\u202e \\ud800year", "verdict": "correct"}').reason == "same year"


def test_ratings_go_from_0_to_1() -> None:
    ratings = read_ratings(json.dumps(RATED))
    assert (ratings.relevance, ratings.progression, ratings.signal, ratings.modalities) == (1.0, 0.5, 0.25, 0.0)
    assert ratings.score == pytest.approx(1.75 / 4)


@pytest.mark.parametrize("value", [0, 6, -1, 2.5, 3.0, True, "4", None, [4]])
def test_a_rating_that_is_no_whole_number_from_1_to_5_is_no_rating(value: object) -> None:
    with pytest.raises(ToolError, match="signal is no whole number from 1 to 5"):
        read_ratings(json.dumps({**RATED, "signal": value}))


def test_ratings_need_all_dimensions() -> None:
    with pytest.raises(ToolError, match="no verdict can be read"):
        read_ratings('{"relevance": 5, "progression": 5, "signal": 5}')
