"""How a model is spoken to: the wire profiles of the setting ``osvl.wire``.

A checkpoint works best in the format that it was trained on. ``native`` is this package's own; ``sft``, ``rl`` and
``infer`` are the three of the OpenSearch-VL release: its SFT data under LLaMA-Factory's template ``qwen3_vl``, its RL
rollout and its inference script. A profile decides where instructions and tool schemas stand, how an observation is
wrapped, in which order pictures and words come, how pictures are named, and how a turn is read. What a turn of the
policy looks like, the tools and their arguments are the same in all; boxes of ``crop`` are in pixels of the original.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

from osvl_plugins.conversation import Message, text_message, text_of
from osvl_plugins.protocol import (
    IMAGE_MARK,
    SYSTEM_PROMPT,
    ParsedTurn,
    inert,
    name_image,
    parse_turn,
    question_messages,
)
from osvl_plugins.tools.toolset import ALIASES
from osvl_plugins.trajectory import ImageRecord, Observation, Turn

WireName = Literal["native", "sft", "rl", "infer"]
Schema = dict[str, Any]
"""A tool in OpenAI's function format."""

INSTRUCTIONS = """You answer a question about a picture. Look closely, look up what the picture alone cannot tell, \
and do not guess.
In every turn think first, inside <think> and </think>, then do exactly one of two things:
- call one tool and wait for what it brings: <tool_call>{"name": "<tool>", "arguments": {...}}</tool_call>
- give the final answer: <response>...</response>, and in it the answer in its shortest form as \\boxed{...}
The picture of the question is img_1. A tool that makes a picture tells its ID; pass pictures to tools by their IDs. \
Places and sizes in a picture are pixels of that picture, counted from its top left corner."""
"""What the profiles of the release say where a prompt has no system message."""

ANSWER_PROMPT = """You answer questions about pictures.
Think first, inside <think> and </think>, then give the final answer: <response>...</response>
Pictures are named img_1, img_2, ...; their size is given in pixels, width x height."""
"""What ``native`` says in place of ``SYSTEM_PROMPT`` where there are no tools."""

ANSWER_INSTRUCTIONS = """You answer a question about a picture. Look closely.
Think first, inside <think> and </think>, then give the final answer: <response>...</response>, and in it the answer \
in its shortest form as \\boxed{...}"""
"""What the profiles of the release say in place of ``INSTRUCTIONS`` where there are no tools."""

_SHOWN = {ours: theirs for theirs, ours in ALIASES.items()}


class Prompt(NamedTuple):
    """What an episode starts with. ``tools``: the schemas that the chat template prints, or None."""

    messages: list[Message]
    tools: list[Schema] | None


class Wire:
    """The profile ``native``, and the base of the others."""

    name: ClassVar[WireName] = "native"
    ends_unread: ClassVar[bool] = False
    """Whether a turn without a readable call or answer ends the episode, instead of being told what is wrong."""

    def prompt(self, messages: Sequence[Message], images: Sequence[ImageRecord], schemas: list[Schema]) -> Prompt:
        """A task's ``messages``, whose n-th image part is ``images[n]``, as the model reads them.

        A system message is kept; where there is none, the profile's instructions are put in. ``schemas``: the tools;
        without any, the model is asked to answer at once. Raises ``ValueError`` when the numbers of pictures differ.
        """
        instructions = SYSTEM_PROMPT if schemas else ANSWER_PROMPT
        return Prompt(_instructed(question_messages(messages, images), instructions), schemas or None)

    def parse(self, text: str) -> ParsedTurn:
        """Read one turn; tools by this package's names. Raises ``ToolError`` of kind ``parse``."""
        return parse_turn(text)

    def observation(self, turn: Turn, images: Sequence[ImageRecord]) -> Message:
        """What came back from ``turn`` as a chat message; ``images``: the episode's pictures.

        Nothing in the text can end the observation or stand for a picture, special tokens of the tokenizer apart:
        those are the business of ``ChatTokens``.
        """
        text = inert(_seen(turn).text, ("</tool_response>", IMAGE_MARK))
        return _message("tool", [*_pictures(turn), _part(text)])


class _Released(Wire):
    """What the three profiles of the release have in common."""

    response_wins: ClassVar[bool] = False

    def parse(self, text: str) -> ParsedTurn:
        """Read one turn: of several calls or responses the first counts."""
        parsed = parse_turn(text, lenient=True, response_wins=self.response_wins)
        if parsed.call is None:
            return parsed
        return ParsedTurn(call=replace(parsed.call, name=ALIASES.get(parsed.call.name, parsed.call.name)))

    def _said(self, turn: Turn, images: Sequence[ImageRecord]) -> str:
        """The observation's words, new pictures named by their ids alone."""
        text, ids = _seen(turn).text, _seen(turn).image_ids
        for image in images:
            if image.id in ids:
                text = text.removeprefix(name_image(image)).removeprefix("\n")
        lines = [f"New image ID: {image_id}." for image_id in ids]
        return inert("\n".join([*lines, text] if text else lines), ("</tool_response>", "</observation>", IMAGE_MARK))


class Sft(_Released):
    """``sft``: instructions in the system message, schemas from the template, ``<observation>`` in its tool role."""

    name = "sft"

    def prompt(self, messages: Sequence[Message], images: Sequence[ImageRecord], schemas: list[Schema]) -> Prompt:
        """The task's messages as they stand."""
        instructions = INSTRUCTIONS if schemas else ANSWER_INSTRUCTIONS
        return Prompt(_instructed(_checked(messages, images), instructions), _shown(schemas) or None)

    def observation(self, turn: Turn, images: Sequence[ImageRecord]) -> Message:
        """Pictures, then ``<observation>``; the template puts ``<tool_response>`` around both."""
        text = f"<observation>\n{self._said(turn, images)}\n</observation>"
        return _message("tool", [*_pictures(turn), _part(text)])


class Rl(_Released):
    """``rl``: instructions with the tools in prose and the date in the system message, ``<tool_response>``."""

    name = "rl"

    def __init__(self, date: datetime.date) -> None:
        self.date = date

    def prompt(self, messages: Sequence[Message], images: Sequence[ImageRecord], schemas: list[Schema]) -> Prompt:
        """The question's pictures first, numbered in words; no schemas."""
        tools = "\n".join(_line(schema["function"]) for schema in _shown(schemas))
        instructions = f"{INSTRUCTIONS}\nTools:\n{tools}" if schemas else ANSWER_INSTRUCTIONS
        system = f"{instructions}\n\nCurrent date: {self.date.isoformat()}"
        numbers = ", ".join(str(place) for place in range(1, len(images) + 1))
        before = f"image_id: {numbers} \n Question: " if images else ""
        asked = _asked(_checked(messages, images), "", before)
        return Prompt(_instructed(asked, system), None)

    def observation(self, turn: Turn, images: Sequence[ImageRecord]) -> Message:
        """Pictures, then ``<tool_response>``, in a user turn; words alone after a turn without a whole call."""
        said = self._said(turn, images)
        text = f"<tool_response>\n{said}\n</tool_response>" if turn.well_formed or "</tool_call>" in turn.text else said
        return _message("user", [*_pictures(turn), _part(text)])


class Infer(_Released):
    """``infer``: instructions and ``<tools>`` in the first user turn, ``<observation>`` before pictures."""

    name = "infer"
    ends_unread = True
    response_wins = True

    def prompt(self, messages: Sequence[Message], images: Sequence[ImageRecord], schemas: list[Schema]) -> Prompt:
        """Instructions, the question's pictures, the schemas and the question in one user turn."""
        said = INSTRUCTIONS if schemas else ANSWER_INSTRUCTIONS
        instructions = "" if _has_system(messages) else f"{said}\n\n"
        listed = json.dumps(_shown(schemas), indent=2, ensure_ascii=False)
        tools = f"<tools>\n{listed}\n</tools>\n\n" if schemas else ""
        return Prompt(_asked(_checked(messages, images), instructions, tools), None)

    def observation(self, turn: Turn, images: Sequence[ImageRecord]) -> Message:
        """``<observation>``, then pictures, in a user turn."""
        text = f"<observation>\n{self._said(turn, images)}\n</observation>"
        return _message("user", [_part(text), *_pictures(turn)])


NATIVE = Wire()


def build_wire(name: WireName, date: datetime.date | None = None) -> Wire:
    """The profile ``name``. ``date`` is the day that it names, if it names one; None: ``today``."""
    if name == "rl":
        return Rl(date or today())
    wires: dict[WireName, Wire] = {"native": NATIVE, "sft": Sft(), "infer": Infer()}
    return wires[name]


@lru_cache(maxsize=1)
def today() -> datetime.date:
    """The day on which this process asked first, so that a run's prompts stay the same over midnight."""
    return datetime.date.today()


def _part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _message(role: str, parts: list[dict[str, Any]]) -> Message:
    return {"role": role, "content": parts}


def _seen(turn: Turn) -> Observation:
    assert turn.observation is not None, "the turn has not been observed"
    return turn.observation


def _pictures(turn: Turn) -> list[dict[str, Any]]:
    return [{"type": "image"} for _ in _seen(turn).image_ids]


def _has_system(messages: Sequence[Message]) -> bool:
    return any(message["role"] == "system" for message in messages)


def _instructed(messages: list[Message], instructions: str) -> list[Message]:
    return messages if _has_system(messages) else [text_message("system", instructions), *messages]


def _checked(messages: Sequence[Message], images: Sequence[ImageRecord]) -> list[Message]:
    """``messages`` with lists of parts. Raises ``ValueError`` when they show other than ``images``."""
    whole = [
        text_message(message["role"], message["content"]) if isinstance(message["content"], str) else message
        for message in messages
    ]
    shown = sum(part["type"] == "image" for message in whole for part in message["content"])
    if shown != len(images):
        raise ValueError(f"the prompt shows {shown} pictures, {len(images)} were given")
    return whole


def _asked(messages: list[Message], first: str, before: str) -> list[Message]:
    """``messages`` with the first user turn in order: ``first``, its pictures, ``before`` and its words."""
    asked = next((place for place, message in enumerate(messages) if message["role"] == "user"), None)
    if asked is None:
        raise ValueError("the prompt has no user message")
    message = messages[asked]
    pictures = [part for part in message["content"] if part["type"] == "image"]
    parts = [*([_part(first)] if first else []), *pictures, _part(before + text_of(message))]
    return [*messages[:asked], {**message, "content": parts}, *messages[asked + 1 :]]


def _shown(schemas: Sequence[Schema]) -> list[Schema]:
    """``schemas`` with the tools' names in the release."""
    renamed = []
    for schema in schemas:
        function = schema["function"]
        renamed.append({**schema, "function": {**function, "name": _SHOWN.get(function["name"], function["name"])}})
    return renamed


def _line(function: Mapping[str, Any]) -> str:
    """A tool in one line: ``- crop(image, x, y, width, height): what it does``, with the defaults that there are."""
    arguments = []
    for name, field in function["parameters"]["properties"].items():
        default = field.get("default")
        arguments.append(name if default is None else f"{name}={json.dumps(default, ensure_ascii=False)}")
    return f"- {function['name']}({', '.join(arguments)}): {function['description']}"
