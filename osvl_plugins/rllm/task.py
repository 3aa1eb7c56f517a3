"""Tasks as rLLM hands them to a workflow or an agent flow: rows of verl's RL format, flattened.

``prompt``: ``[{"role": …, "content": …}]``, each ``<image>`` of a content standing for the next of ``images``: encoded
pictures, as bytes or as data URLs. ``question``: what is asked, in words. ``ground_truth``: a text, or several accepted
ones. ``evidence``: ids of the pages that the answer rests on, perhaps none. ``data_source``: under which rLLM reports
validation.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osvl_plugins.conversation import marked_parts
from osvl_plugins.data.parquet import read_rows
from osvl_plugins.episode import Task
from osvl_plugins.errors import OsvlError
from osvl_plugins.images import ImageSettings, decode
from osvl_plugins.protocol import IMAGE_MARK
from osvl_plugins.reward.composite import Sample, question_of
from osvl_plugins.trajectory import Trajectory

_URL = "data:image;base64,"


def read_tasks(file: Path) -> list[dict[str, Any]]:
    """The tasks in ``file``, a parquet file in verl's RL format. Raises ``OsvlError`` for another."""
    return [_task(row.values) for row in read_rows([file])]


def _task(row: Mapping[str, Any]) -> dict[str, Any]:
    if "prompt" not in row:
        raise OsvlError("tasks are made of RL data, not of conversations for SFT: osvl data make, osvl data import rl")
    # No "id": rLLM takes it for the name of the group, in which a colon would tear the group apart.
    return {
        "prompt": row["prompt"],
        "images": [image["bytes"] for image in row.get("images") or ()],
        "question": question_of(row["prompt"]).replace(IMAGE_MARK, ""),
        "ground_truth": row["reward_model"]["ground_truth"],
        "evidence": list((row.get("extra_info") or {}).get("evidence") or ()),
        "data_source": row["data_source"],
    }


def read_episode(task: Mapping[str, Any], bounds: ImageSettings, seed: str) -> Task:
    """The episode of ``task``.

    Raises ``ToolError`` for a picture that cannot be read, ``ValueError`` for another that is no data URL, or a
    task without a prompt.
    """
    prompt = task.get("prompt")
    if not prompt:
        raise ValueError("the task has no prompt; osvl_plugins.rllm.dataset makes tasks that have one")
    messages = [{"role": message["role"], "content": marked_parts(message["content"])} for message in prompt]
    images = [decode(_encoded(picture), bounds) for picture in task.get("images") or ()]
    return Task(messages, images, question_of(messages), seed)


def data_url(picture: bytes) -> str:
    """An encoded picture as text: rLLM's CLI keeps tasks as JSON, in which it puts a remark in place of bytes."""
    return f"{_URL}{base64.b64encode(picture).decode()}"


def _encoded(picture: bytes | str) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if not picture.startswith(_URL):
        raise ValueError(f"the task's picture is neither bytes nor a data URL, but {picture[:40]!r}")
    return base64.b64decode(picture.removeprefix(_URL), validate=True)


def sample_of(trajectory: Trajectory, task: Mapping[str, Any]) -> Sample:
    """What the reward of ``trajectory`` depends on. Raises ``OsvlError`` for a task without a ground truth."""
    if task.get("ground_truth") is None:
        raise OsvlError("the task has no ground_truth; osvl_plugins.rllm.dataset makes tasks that have one")
    return Sample.of_row(trajectory, task["ground_truth"], task)
