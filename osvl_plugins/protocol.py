"""What all wire profiles share: how a turn is read and written, and how a picture is named.

One turn is ``<think>…</think>`` followed by one ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` or the final
``<response>…</response>``. Only text outside the think block counts. ``osvl_plugins.wire`` has the profiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from osvl_plugins.errors import ToolError
from osvl_plugins.trajectory import ImageRecord, ToolCall

SYSTEM_PROMPT = """You answer questions about pictures with the help of tools.
In every turn think first, inside <think> and </think>, then do exactly one of two things:
- call one tool: <tool_call>{"name": "<tool>", "arguments": {...}}</tool_call>
- give the final answer: <response>...</response>
Pictures are named img_1, img_2, ...; their size is given in pixels, width x height. \
Pass a picture to a tool by its name."""

IMAGE_MARK = "<image>"
"""Where a picture stands in the text of a message, in data files and templates alike."""
MAX_TURN_CHARS = 100_000
"""Longer turns are not parsed; no useful turn comes near."""

_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<response>(.*?)</response>", re.DOTALL)


@dataclass(frozen=True)
class ParsedTurn:
    """Exactly one of the two is set."""

    call: ToolCall | None = None
    answer: str | None = None


def parse_turn(text: str, *, lenient: bool = False, response_wins: bool = False) -> ParsedTurn:
    """Read one turn.

    A call wins over a response in the same turn, with ``response_wins`` the response over the call; it then counts
    without its end too when it holds a ``boxed{``. ``lenient``: of several calls or responses the first counts, and a
    response counts beside a call that is not closed.

    Raises ``ToolError`` of kind ``parse`` with a message that tells the model what to write instead.
    """
    if len(text) > MAX_TURN_CHARS:
        raise ToolError("parse", f"The turn is longer than {MAX_TURN_CHARS} characters.")
    spoken = _THINK.sub("", text)
    if "<think>" in spoken:
        raise ToolError("parse", "The <think> block is not closed. Close it, then call one tool or answer.")
    calls, responses = _CALL.findall(spoken), _RESPONSE.findall(spoken)
    opened = spoken.partition("<response>")[2]
    if response_wins and not responses and "boxed{" in opened:
        responses = [opened]
    if lenient:
        calls, responses = calls[:1], responses[:1]
    answer = responses[0].strip() if len(responses) == 1 else ""
    if answer and response_wins:
        return ParsedTurn(answer=answer)
    if len(calls) > 1:
        raise ToolError("parse", f"Found {len(calls)} tool calls. Write one tool call a turn.")
    if calls:
        return ParsedTurn(call=_parse_call(calls[0]))
    if "<tool_call>" in spoken and not (answer and lenient):
        raise ToolError("parse", "The <tool_call> block is not closed.")
    if len(responses) > 1:
        raise ToolError("parse", f"Found {len(responses)} responses. Write one <response>.")
    if answer:
        return ParsedTurn(answer=answer)
    raise ToolError(
        "parse",
        'Found neither a tool call nor an answer. Write <tool_call>{"name": ..., "arguments": {...}}</tool_call> '
        "or <response>...</response>.",
    )


def _parse_call(text: str) -> ToolCall:
    try:
        call = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolError("parse", f"The tool call is not valid JSON: {error}.") from None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        raise ToolError("parse", 'The tool call must be a JSON object with "name" and "arguments".')
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise ToolError("parse", 'The tool call\'s "arguments" are not a JSON object.') from None
    if not isinstance(arguments, dict):
        raise ToolError("parse", 'The tool call\'s "arguments" are not a JSON object.')
    try:
        json.dumps([call, arguments], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JSON can spell it, and no file or service takes it.
        raise ToolError("parse", "The tool call holds half of a surrogate pair, which is no character.") from None
    return ToolCall(name=call["name"], arguments=arguments)


def format_call(name: str, arguments: dict[str, Any], thought: str) -> str:
    """A turn that calls a tool, as ``parse_turn`` reads it."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<think>{thought}</think>\n<tool_call>\n{call}\n</tool_call>"


def format_answer(answer: str, thought: str) -> str:
    """A turn that answers, as ``parse_turn`` reads it."""
    return f"<think>{thought}</think>\n<response>{answer}</response>"


def name_image(image: ImageRecord) -> str:
    """How the model is told of a picture: ``img_1 (640x480)``."""
    return f"{image.id} ({image.width}x{image.height})"


def inert(text: str, marks: Iterable[str]) -> str:
    """``text`` with a space after the "<" of each of ``marks``, so that none of them does what it stands for."""
    for mark in marks:
        text = text.replace(mark, mark.replace("<", "< ", 1))
    return text


def question_messages(messages: Sequence[dict[str, Any]], images: Sequence[ImageRecord]) -> list[dict[str, Any]]:
    """The prompt's messages with each picture followed by its name and size.

    ``messages`` have string content or lists of parts; the n-th part of type image is ``images[n]``.
    Raises ``ValueError`` when the numbers of pictures differ.
    """
    remaining = list(images)
    named: list[dict[str, Any]] = []
    for message in messages:
        content = message["content"]
        if not isinstance(content, str):
            parts: list[dict[str, Any]] = []
            for part in content:
                parts.append(part)
                if part["type"] == "image":
                    if not remaining:
                        raise ValueError(f"the prompt shows more pictures than the {len(images)} given")
                    parts.append({"type": "text", "text": name_image(remaining.pop(0)) + "\n"})
            content = parts
        named.append({**message, "content": content})
    if remaining:
        raise ValueError(f"the prompt shows {len(images) - len(remaining)} pictures, {len(images)} were given")
    return named
