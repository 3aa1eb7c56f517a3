"""What is wrong with SFT and RL data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from osvl_plugins.data.parquet import Message, Row, read_rows
from osvl_plugins.data.pictures import check
from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import OsvlError, ToolError
from osvl_plugins.images import ImageSettings
from osvl_plugins.protocol import IMAGE_MARK, parse_turn
from osvl_plugins.tools.build import TOOLS


def find_problems(files: Iterable[Path], settings: ImageSettings) -> Iterator[str]:
    """Each problem in ``files``, with the file and the row; nothing for sound data."""
    splits: dict[bytes, tuple[str, str]] = {}
    for file in files:
        try:
            for row in read_rows([file]):
                where = f"{file}: row {row.number}"
                yield from (f"{where}: {problem}" for problem in _row_problems(row, settings))
                yield from (f"{where}: {problem}" for problem in _shared(row, where, splits))
        except OsvlError as error:
            yield str(error)


def _row_problems(row: Row, settings: ImageSettings) -> Iterator[str]:
    messages = row.messages
    if any(not message.role or not message.content for message in messages):
        yield "a message without role or content"
    yield from _role_problems([message.role for message in messages], row.kind)
    yield from _picture_problems(row, settings)
    if row.kind == "sft":
        yield from _turn_problems(messages, row.values.get("tools"))
    else:
        yield from _question_problems(row)


def _role_problems(roles: Sequence[str], kind: str) -> Iterator[str]:
    """An observation comes back in the role tool or user, as the wire profile of the data says."""
    body = roles[1:] if roles[:1] == ["system"] else roles
    if kind == "sft":
        allowed = [("assistant",) if place % 2 else ("user", "tool")[: 1 + (place > 0)] for place in range(len(body))]
        sound = bool(body) and len(body) % 2 == 0 and all(map(lambda role, known: role in known, body, allowed))
    else:
        sound = list(body) == ["user"]
    if not sound:
        what = "a conversation" if kind == "sft" else "a prompt"
        yield f"{what} cannot have the roles {', '.join(roles) or '(none)'}"


def _picture_problems(row: Row, settings: ImageSettings) -> Iterator[str]:
    pictures = row.pictures
    marks = sum(message.content.count(IMAGE_MARK) for message in row.messages if message.role != "assistant")
    if marks != len(pictures):
        yield f"{marks} {IMAGE_MARK} for {len(pictures)} pictures"
    for number, picture in enumerate(pictures, 1):
        if not picture:
            yield f"picture {number} has no bytes"
            continue
        try:
            check(picture, settings)
        except Rejected as error:
            yield f"picture {number}: {error.detail}"


def _turn_problems(messages: Sequence[Message], tools: Any) -> Iterator[str]:
    names: set[str] = set()
    try:
        names = {schema["function"]["name"] for schema in json.loads(tools)} if tools else set()
    except (ValueError, TypeError, LookupError):
        yield "tools is no JSON list of function schemas"
    for number, message in enumerate(messages):
        if message.role != "assistant":
            continue
        try:
            call = parse_turn(message.content).call
        except ToolError as error:
            yield f"message {number}: {error}"
            continue
        if call is None:
            continue
        if call.name not in TOOLS:
            yield f"message {number}: there is no tool {call.name!r}; there are {', '.join(TOOLS)}"
        elif names and call.name not in names:
            yield f"message {number}: {call.name} is not among the row's tools"


def _question_problems(row: Row) -> Iterator[str]:
    if not any(answer.strip() for answer in row.accepted):
        yield "reward_model.ground_truth is empty"
    if not row.values.get("data_source"):
        yield "data_source is missing"


def _shared(row: Row, where: str, splits: dict[bytes, tuple[str, str]]) -> Iterator[str]:
    """Pictures of another split. ``splits`` knows the split and the first row of each picture."""
    split = (row.values.get("extra_info") or {}).get("split") if row.kind == "rl" else None
    if split is None:
        return
    for picture in row.pictures:
        digest = hashlib.sha256(picture or b"").digest()
        known, first = splits.setdefault(digest, (split, where))
        if known != split:
            yield f"a picture of {split} is also in {known} ({first})"
