"""Questions and trajectories as rows of verl's parquet formats."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from osvl_plugins.curation.exposures import Exposure
from osvl_plugins.curation.questions import Chain, question_text
from osvl_plugins.episode import Task
from osvl_plugins.protocol import IMAGE_MARK
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory
from osvl_plugins.wire import NATIVE, Wire

_IMAGE = pa.struct([("bytes", pa.binary())])
_MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])

SFT_SCHEMA = pa.schema(
    [
        ("messages", pa.list_(_MESSAGE)),
        ("images", pa.list_(_IMAGE)),
        # A JSON string: parquet would merge the tools' different parameters into one struct full of nulls.
        ("tools", pa.string()),
    ]
)

RL_SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(_MESSAGE)),
        ("images", pa.list_(_IMAGE)),
        ("agent_name", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [
                    ("index", pa.int64()),
                    ("split", pa.string()),
                    ("evidence", pa.list_(pa.string())),
                    ("hops", pa.int64()),
                    ("view", pa.string()),
                ]
            ),
        ),
    ]
)


def make_task(chain: Chain, exposure: Exposure, system: str, seed: int | str = 0) -> Task:
    """The episode that asks ``chain`` of ``exposure``'s picture."""
    text = question_text(chain, framed=exposure.view == "framed")
    messages = [
        {"role": "system", "content": [{"type": "text", "text": system}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]},
    ]
    return Task(messages=messages, images=[exposure.image], question=text, seed=seed)


def sft_row(task: Task, trajectory: Trajectory, tools: ToolSet, wire: Wire = NATIVE) -> dict[str, Any]:
    """A finished episode as a conversation in ``wire``. Pictures are the views that the model sees, without loss."""
    assert task.store is not None, "the task has not been run"
    shown = len(task.images)
    prompt = wire.prompt(task.messages, trajectory.images[:shown], tools.schemas)
    messages = [_flat(message) for message in prompt.messages]
    views = [task.store.view(record.id) for record in trajectory.images[:shown]]
    for turn in trajectory.turns:
        messages.append({"role": "assistant", "content": turn.text})
        if turn.observation is not None:
            messages.append(_flat(wire.observation(turn, trajectory.images)))
            views += [task.store.view(image_id) for image_id in turn.observation.image_ids]
    return {
        "messages": messages,
        "images": [{"bytes": _png(view)} for view in views],
        "tools": json.dumps(prompt.tools) if prompt.tools is not None else None,
    }


def rl_row(task: Task, chain: Chain, exposure: Exposure, index: int, split: str) -> dict[str, Any]:
    """A question as a row of verl's RL format, with the answer and the pages that it rests on."""
    return {
        "data_source": "atlas",
        "prompt": [_flat(message) for message in task.messages],
        "images": [{"bytes": exposure.data}],
        "agent_name": "osvl_agent",
        "reward_model": {"style": "rule", "ground_truth": chain.answer},
        "extra_info": {
            "index": index,
            "split": split,
            "evidence": list(chain.pages),
            "hops": chain.hops,
            "view": exposure.view,
        },
    }


def write_parquet(rows: Iterable[dict[str, Any]], schema: pa.Schema, path: Path) -> int:
    """Write ``rows`` to ``path``, whole or not at all; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, part, compression="zstd")
    part.replace(path)
    return int(table.num_rows)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _flat(message: dict[str, Any]) -> dict[str, str]:
    content = message["content"]
    if not isinstance(content, str):
        content = "".join(IMAGE_MARK if part["type"] == "image" else part["text"] for part in content)
    return {"role": message["role"], "content": content}
