"""A row of the released RL data as a row of verl's format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from osvl_plugins.data.report import Rejected
from osvl_plugins.data.sharegpt import check_unicode, image_references
from osvl_plugins.data.sources import subset_name
from osvl_plugins.protocol import IMAGE_MARK


@dataclass(frozen=True)
class Question:
    r"""A row that can be asked. The answer stands as it was released, often prose with a ``\boxed{…}`` in it."""

    subset: str
    text: str
    answer: str
    images: tuple[str, ...]


def read_question(row: Any, max_images: int) -> Question:
    """The question in ``row``. Raises ``Rejected``."""
    question, answer = _text(row, "question"), _text(row, "answer")
    images = image_references(row, max_images)
    marks = question.count(IMAGE_MARK)
    if marks not in (0, len(images)):
        raise Rejected("image_count", f"{marks} {IMAGE_MARK} for {len(images)} pictures")
    check_unicode(question, answer)
    return Question(subset_of(row), question if marks else IMAGE_MARK * len(images) + question, answer, tuple(images))


def _text(row: Any, name: str) -> str:
    text = row.get(name) if isinstance(row, dict) else None
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = str(text)
    if not isinstance(text, str) or not text.strip():
        raise Rejected("wrong_fields", f"{name} is no text")
    return text


def subset_of(row: Any) -> str:
    """The subset that ``row`` names under ``dataset``."""
    name = row.get("dataset") if isinstance(row, dict) else None
    return subset_name(name) if isinstance(name, str) else "unknown"


def question_row(question: Question, pictures: Sequence[bytes], index: int) -> dict[str, Any]:
    """A row of ``RL_SCHEMA`` in the split ``train``: one message of the user, and the pictures as they were."""
    return {
        "data_source": question.subset,
        "prompt": [{"role": "user", "content": question.text}],
        "images": [{"bytes": picture} for picture in pictures],
        "agent_name": "osvl_agent",
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {"index": index, "split": "train", "evidence": [], "hops": None, "view": None},
    }
