"""A row of the released SFT data (ShareGPT, as LLaMA-Factory reads it) as a row of verl's format and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from osvl_plugins.curation.rows import SFT_SCHEMA
from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import ToolError
from osvl_plugins.protocol import IMAGE_MARK, ParsedTurn, parse_turn

IMPORT_SCHEMA = SFT_SCHEMA.append(pa.field("subset", pa.string())).append(pa.field("id", pa.string()))

TOOL_NAMES = {"PythonInterpreter": "python_interpreter"}
"""What the release calls a tool, and what this package does."""

ROLES = {"human": "user", "gpt": "assistant", "observation": "tool"}
FACTORY_FILE = "osvl_search_vl_sft.jsonl"
DATASET_INFO = {
    "osvl_search_vl_sft": {
        "file_name": FACTORY_FILE,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "images": "images", "system": "system", "tools": "tools"},
        "tags": {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": "system",
        },
    }
}
"""What LLaMA-Factory's ``dataset_info.json`` says of the imported rows."""

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class Turn(NamedTuple):
    """What one side says, in the release's role."""

    role: str
    text: str


@dataclass(frozen=True)
class Conversation:
    """A row that can be trained on: human, gpt, observation, gpt, …, gpt."""

    system: str
    turns: tuple[Turn, ...]
    images: tuple[str, ...]
    """References to the pictures, in the order of the marks."""
    tools: str
    """A JSON list of function schemas, or nothing."""
    warnings: tuple[str, ...]
    """Kinds of what is odd about it."""


def read_conversation(row: Any, max_images: int) -> Conversation:
    """The conversation in ``row``, with this package's names of the tools.

    Raises ``Rejected`` for a row that a trainer could not take.
    """
    turns, images = _turns(row), image_references(row, max_images)
    system = row.get("system") or ""
    if not isinstance(system, str):
        raise Rejected("wrong_fields", "system is no text")
    _check_roles([turn.role for turn in turns])
    _check_marks(system, turns, len(images))
    turns = [_renamed(turn) for turn in turns]
    tools = _tools(row.get("tools"))
    check_unicode(system, tools, *(turn.text for turn in turns))
    return Conversation(system, tuple(turns), tuple(images), tools, tuple(_warnings(turns)))


def image_references(row: Any, max_images: int) -> list[str]:
    """The references under ``images``: one, a list of them, or nothing. Raises ``Rejected``."""
    images = row.get("images") or []
    if isinstance(images, str):
        images = [images]
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Rejected("wrong_fields", "images is no list of paths")
    if len(images) > max_images:
        raise Rejected("too_many_images", f"{len(images)}, over {max_images}")
    return images


def check_unicode(*texts: str) -> None:
    """Raises ``Rejected`` when one of ``texts`` cannot be written as UTF-8."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise Rejected("not_unicode", str(error)) from None


def verl_row(conversation: Conversation, pictures: Sequence[bytes], subset: str, row_id: str) -> dict[str, Any]:
    """A row of ``IMPORT_SCHEMA``; the system text is the first message."""
    messages = [{"role": "system", "content": conversation.system}] if conversation.system else []
    messages += [{"role": ROLES[turn.role], "content": turn.text} for turn in conversation.turns]
    images = [{"bytes": picture} for picture in pictures]
    return {"messages": messages, "images": images, "tools": conversation.tools, "subset": subset, "id": row_id}


def factory_row(conversation: Conversation, images: Sequence[str]) -> dict[str, Any]:
    """A row for LLaMA-Factory; ``images`` are the paths of its pictures."""
    return {
        "conversations": [{"from": turn.role, "value": turn.text} for turn in conversation.turns],
        "images": list(images),
        "system": conversation.system,
        "tools": conversation.tools,
    }


def _turns(row: Any) -> list[Turn]:
    conversations = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(conversations, list):
        raise Rejected("wrong_fields", "conversations is no list")
    turns = []
    for said in conversations:
        role, text = (said.get("from"), said.get("value")) if isinstance(said, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(text, str):
            raise Rejected("wrong_fields", "a turn without from or value")
        turns.append(Turn(role, text))
    return turns


def _check_roles(roles: list[str]) -> None:
    if unknown := sorted(set(roles) - set(ROLES)):
        raise Rejected("roles", f"unknown: {', '.join(unknown)}")
    expected = ["human", "gpt", *["observation", "gpt"] * (len(roles) // 2 - 1)]
    if roles != expected:
        last = roles[-1] if roles else "nothing"
        raise Rejected("roles", f"{len(roles)} turns do not alternate as human, gpt, observation, …, gpt; last: {last}")


def _check_marks(system: str, turns: Sequence[Turn], images: int) -> None:
    """As many marks as pictures, where a chat template puts pictures."""
    marks = sum(turn.text.count(IMAGE_MARK) for turn in turns if turn.role != "gpt")
    elsewhere = system.count(IMAGE_MARK) + sum(turn.text.count(IMAGE_MARK) for turn in turns if turn.role == "gpt")
    if elsewhere or marks != images:
        where = f", {elsewhere} of them in system or gpt" if elsewhere else ""
        raise Rejected("image_count", f"{marks + elsewhere} {IMAGE_MARK} for {images} pictures{where}")


def _renamed(turn: Turn) -> Turn:
    """With this package's tool names; the pictures of an observation come first."""
    if turn.role == "gpt":
        return Turn(turn.role, _CALL.sub(_rename_call, turn.text))
    if turn.role == "observation":
        return Turn(turn.role, IMAGE_MARK * turn.text.count(IMAGE_MARK) + turn.text.replace(IMAGE_MARK, ""))
    return turn


def _rename_call(match: re.Match[str]) -> str:
    try:
        name = json.loads(match[1])["name"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return match[0]  # what cannot be read is kept as it is, and counted
    if not isinstance(name, str) or name not in TOOL_NAMES:
        return match[0]
    return re.sub(rf'("name"\s*:\s*"){re.escape(name)}"', rf'\g<1>{TOOL_NAMES[name]}"', match[0], count=1)


def _tools(tools: Any) -> str:
    """As a JSON list of ``{"type": "function", "function": …}``."""
    if isinstance(tools, str) and tools.strip():
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise Rejected("tools", f"not JSON: {error}") from None
    if not tools or isinstance(tools, str):
        return ""
    if not isinstance(tools, list):
        raise Rejected("tools", "no list")
    return json.dumps([_schema(tool) for tool in tools], ensure_ascii=False)


def _schema(tool: Any) -> dict[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise Rejected("tools", "a tool without a name")
    return {"type": "function", "function": {**function, "name": TOOL_NAMES.get(name, name)}}


def _warnings(turns: Sequence[Turn]) -> Iterator[str]:
    spoken = [_parsed(turn.text) for turn in turns if turn.role == "gpt"]
    if None in spoken:
        yield "a turn without one readable call or answer"
    if spoken[-1] is not None and spoken[-1].call is not None:
        yield "a call in the last turn"


def _parsed(text: str) -> ParsedTurn | None:
    try:
        return parse_turn(text)
    except ToolError:
        return None
