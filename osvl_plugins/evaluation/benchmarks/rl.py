"""Rows in verl's RL format: what ``osvl data make`` and ``osvl data import rl`` write, and FVQA."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from osvl_plugins.data.parquet import Message
from osvl_plugins.data.report import Rejected
from osvl_plugins.data.sharegpt import check_unicode
from osvl_plugins.evaluation.benchmarks.layout import (
    Asked,
    Layout,
    Row,
    answers_of,
    from_json,
    hops_of,
    mapping_of,
    pictures_of,
    word_of,
    words_of,
)
from osvl_plugins.protocol import IMAGE_MARK


def _ask(pictures: str, row: Row) -> Asked:
    """``pictures``: the column without which the row is no question."""
    reward, extra = mapping_of(row.get("reward_model")), mapping_of(row.get("extra_info"))
    others = reward.get("candidate_answers")
    names = (word_of(name) for name in (row.get("category"), extra.get("view"), row.get("data_source")))
    return Asked(
        said=_said(row.get("prompt")),
        answers=answers_of(reward.get("ground_truth"), from_json(others) if isinstance(others, str) else others),
        pictures=pictures_of(row.get("images"), pictures),
        category=next(filter(None, names), ""),
        hops=hops_of(extra.get("hops")),
        evidence=words_of(extra.get("evidence")),
    )


def _said(prompt: Any) -> list[Message]:
    said = [message for message in prompt if isinstance(message, dict)] if isinstance(prompt, list) else []
    if not any(message.get("role") == "user" for message in said):
        raise Rejected("wrong_fields", "prompt has no message of the user")
    for message in said:
        role, text = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(text, str) or not text.replace(IMAGE_MARK, "").strip():
            raise Rejected("wrong_fields", "prompt has a message without a role or without a text")
        check_unicode(text)
    return [Message(message["role"], message["content"]) for message in said]


RL = Layout(
    needs=("prompt", "reward_model"),
    asks=(partial(_ask, ""),),
    also=("images", "extra_info", "data_source", "category", "data_id"),
    id="data_id",
)
PICTURED_RL = replace(RL, asks=(partial(_ask, "images"),))
