"""Trajectories from SFT data: conversations in the format of ``osvl_plugins.curation.rows.SFT_SCHEMA``."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from osvl_plugins.errors import ERROR_KINDS, ErrorKind, OsvlError, ToolError
from osvl_plugins.protocol import IMAGE_MARK, parse_turn
from osvl_plugins.trajectory import ImageRecord, Observation, StepError, ToolCall, Trajectory, Turn

BATCH = 32
"""Rows that are in memory at a time: each has its pictures."""
_NAMED = re.compile(r"^(img_\d{1,6}) \((\d{1,6})x(\d{1,6})\)\n?", re.MULTILINE)
_ERROR = re.compile(r"Error \((\w+)\): (.*)", re.DOTALL)


def read_conversations(path: Path) -> Iterator[tuple[Trajectory | str, tuple[bytes, ...]]]:
    """The conversations of ``path`` in order: each with its pictures, or why it is none.

    Raises ``OsvlError`` for a file that cannot be read or holds something else.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "messages" not in names:
                hint = "; it holds questions: give it with --data" if "prompt" in names else ""
                raise OsvlError(f"{path}: has no column messages, so it is no SFT data{hint}")
            columns = [name for name in ("messages", "images") if name in names]
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                for row in batch.to_pylist():
                    yield _row(row)
    except (OSError, pa.ArrowException) as error:
        raise OsvlError(f"{path}: cannot be read as parquet ({error})") from error


def _row(row: dict[str, Any]) -> tuple[Trajectory | str, tuple[bytes, ...]]:
    try:
        pictures = tuple(image["bytes"] for image in row.get("images") or ())
        return trajectory_of(row["messages"], pictures), pictures
    except (KeyError, TypeError, ValueError, OSError) as error:
        return f"not a conversation ({error!r})", ()


def trajectory_of(messages: Sequence[dict[str, str]], pictures: Sequence[bytes]) -> Trajectory:
    """What ``messages`` tell of an episode; of its end only an answer, of failed calls what the model read.

    Each ``<image>`` stands for the next of ``pictures``. Raises ``ValueError`` when their numbers differ.
    """
    left = list(pictures)
    trajectory = Trajectory("")
    for message in messages:
        role, content = message["role"], message["content"]
        turn = trajectory.turns[-1] if trajectory.turns else None
        if role == "assistant":
            trajectory.turns.append(_turn(content))
            continue
        records = _records(content, left, turn, trajectory.images)
        trajectory.images += records
        if turn is not None:
            ids = tuple(record.id for record in records)
            turn.observation = _observation(content.replace(IMAGE_MARK, ""), ids)
        elif role == "user":
            trajectory.question = without_names(content.replace(IMAGE_MARK, ""))
    if left:
        raise ValueError(f"the messages leave {len(left)} of {len(pictures)} pictures unused")
    if trajectory.answer is not None:
        trajectory.end = "answer"
    return trajectory


def without_names(text: str) -> str:
    """``text`` without the lines that tell the model of its pictures."""
    return _NAMED.sub("", text).strip()


def _turn(text: str) -> Turn:
    try:
        parsed = parse_turn(text)
    except ToolError:
        return Turn(text)
    return Turn(text, call=parsed.call, answer=parsed.answer)


def _observation(text: str, image_ids: tuple[str, ...]) -> Observation:
    error = _ERROR.match(text)
    if error is None or error[1] not in ERROR_KINDS:
        return Observation(text, image_ids)
    return Observation(text, image_ids, StepError(cast(ErrorKind, error[1]), error[2]))


def _records(content: str, left: list[bytes], turn: Turn | None, known: Sequence[ImageRecord]) -> list[ImageRecord]:
    """The pictures that ``content`` shows, which are taken off ``left``."""
    names = _NAMED.findall(content.replace(IMAGE_MARK, ""))
    records: list[ImageRecord] = []
    for number in range(content.count(IMAGE_MARK)):
        if not left:
            raise ValueError("the messages show more pictures than there are")
        data = left.pop(0)
        if number < len(names):
            name, width, height = names[number]
        else:
            name = f"img_{len(known) + number + 1}"
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
        call = turn.call if turn is not None else None
        tool = call.name if call is not None else None
        records.append(ImageRecord(name, int(width), int(height), tool, _source(call, known)))
    return records


def _source(call: ToolCall | None, known: Sequence[ImageRecord]) -> str | None:
    ids = {record.id for record in known}
    named = (value for value in call.arguments.values() if isinstance(value, str)) if call is not None else ()
    return next((value for value in named if value in ids), None)
