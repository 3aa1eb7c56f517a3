"""Rows of the released RL data."""

from __future__ import annotations

from typing import Any

import pytest

from osvl_plugins.data.questions import question_row, read_question
from osvl_plugins.data.report import Rejected

ROW = {"question": "When?", "answer": "In \\boxed{1988}.", "images": ["a.jpg"], "dataset": "new_livevqa"}


def test_a_row_becomes_one_message_of_the_user() -> None:
    row = question_row(read_question(ROW, 32), [b"1"], 7)
    assert row["prompt"] == [{"role": "user", "content": "<image>When?"}]
    assert row["reward_model"]["ground_truth"] == "In \\boxed{1988}."
    assert (row["data_source"], row["extra_info"]["index"]) == ("livevqa", 7)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": "a.jpg"}, "<image>When?"),
        ({"images": []}, "When?"),
        ({"question": "Who, <image>?"}, "Who, <image>?"),
        ({"images": ["a.jpg", "b.jpg"]}, "<image><image>When?"),
    ],
)
def test_each_picture_has_a_mark(change: dict[str, Any], text: str) -> None:
    assert read_question({**ROW, **change}, 32).text == text


def test_an_answer_may_be_a_number() -> None:
    assert read_question({**ROW, "answer": 1988}, 32).answer == "1988"


def test_a_row_may_name_no_subset() -> None:
    assert read_question({**ROW, "dataset": None}, 32).subset == "unknown"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": " "}, "wrong_fields"),
        ({"answer": None}, "wrong_fields"),
        ({"answer": True}, "wrong_fields"),
        ({"images": {"a": 1}}, "wrong_fields"),
        ({"images": ["a"] * 33}, "too_many_images"),
        ({"question": "<image><image>"}, "image_count"),
        ({"answer": "\ud800"}, "not_unicode"),
    ],
)
def test_a_row_that_cannot_be_asked_is_rejected(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read_question({**ROW, **change}, 32)
    assert rejected.value.reason == reason
