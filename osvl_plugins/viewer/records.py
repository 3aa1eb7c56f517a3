"""What the page holds of a trajectory: a line of its list, and the whole as it is shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from osvl_plugins.fatal import FatalMode, token_mask
from osvl_plugins.fatal_report import tool_label
from osvl_plugins.tools.crop import CropArguments
from osvl_plugins.trajectory import ImageRecord, Trajectory, Turn
from osvl_plugins.viewer.pictures import Shown, calls_by_picture
from osvl_plugins.viewer.rows import Entry, Kind

QUESTION_CHARS, ANSWER_CHARS = 200, 80
"""Most characters of a question and of an answer in the list."""
MAX_PIXELS = 1_000_000
"""A rectangle beyond is not drawn: no picture is that wide."""


@dataclass(frozen=True)
class Line:
    """A trajectory in the list: what is read there and what it is found by."""

    id: str
    """Its address in the page."""
    source: int
    group: str
    name: str
    prompt: int
    """Equal for samples of one question."""
    question: str
    answer: str | None
    end: str
    fatal: int | None
    turns: int
    score: float | None
    accuracy: float | None
    unscored: bool
    tools: list[str]
    kinds: list[str]


@dataclass(frozen=True)
class Box:
    """A rectangle that a turn's ``crop`` asked for, in pixels of its picture; ``made`` is the picture that it gave."""

    x: int
    y: int
    width: int
    height: int
    turn: int
    made: str | None


@dataclass(frozen=True)
class Picture:
    """A picture of an episode: its provenance, and ``thumbnail``, a key of the album, or why it is ``missing``."""

    id: str
    width: int
    height: int
    tool: str | None
    source: str | None
    thumbnail: str
    missing: str
    boxes: list[Box]


@dataclass(frozen=True)
class Step:
    """A turn. ``tokens`` were sampled; ``trains`` says whether they train, None where nothing is trained."""

    text: str
    tool: str | None
    arguments: list[tuple[str, str]]
    answer: str | None
    observation: str | None
    pictures: list[str]
    pages: list[str]
    error: str | None
    seconds: float | None
    backend: str
    start: int | None
    tokens: int | None
    trains: bool | None


@dataclass(frozen=True)
class Card:
    """A trajectory as it is shown."""

    kind: Kind
    file: str
    question: str
    found: str
    accepted: list[str]
    parts: list[tuple[str, float]]
    reason: str
    unscored: str
    failure: str | None
    pictures: list[Picture]
    steps: list[Step]


def line_of(entry: Entry, id: str, prompt: int, question: str) -> Line:
    """The line of ``entry``. ``question``: in words, where the trajectory does not hold it."""
    trajectory = entry.trajectory
    errors = (turn.observation.error for turn in trajectory.turns if turn.observation is not None)
    answer = trajectory.answer
    return Line(
        id=id,
        source=entry.source,
        group=entry.group,
        name=entry.name,
        prompt=prompt,
        question=(trajectory.question or question)[:QUESTION_CHARS],
        answer=answer[:ANSWER_CHARS] if answer is not None else None,
        end="not recorded" if entry.kind == "sft" and answer is None else trajectory.end,
        fatal=trajectory.fatal_step,
        turns=len(trajectory.turns),
        score=None if entry.unscored else entry.parts.get("score"),
        accuracy=entry.parts.get("accuracy"),
        unscored=bool(entry.unscored),
        tools=sorted({tool_label(turn) for turn in trajectory.turns if turn.call is not None}),
        kinds=sorted({error.kind for error in errors if error is not None}),
    )


def card_of(
    entry: Entry, shown: Mapping[str, Shown], mode: FatalMode, question: str, accepted: tuple[str, ...]
) -> Card:
    """The card of ``entry``.

    ``shown``: its pictures by id. ``mode``: that of the run, which decides what trained. ``question`` and ``accepted``
    stand in where its file does not hold them.
    """
    trajectory = entry.trajectory
    boxes = boxes_of(trajectory)
    trains = trained(entry, mode)
    return Card(
        kind=entry.kind,
        file=str(entry.file),
        question=trajectory.question or question,
        found=trajectory.found,
        accepted=list(entry.accepted or accepted),
        parts=list(entry.parts.items()),
        reason=entry.reason,
        unscored=entry.unscored,
        failure=trajectory.failure,
        pictures=[_picture(record, shown[record.id], boxes.get(record.id, [])) for record in trajectory.images],
        steps=[_step(turn, entry.kind, flag) for turn, flag in zip(trajectory.turns, trains, strict=True)],
    )


def trained(entry: Entry, mode: FatalMode) -> list[bool | None]:
    """For each turn whether its tokens train; None where nothing is trained or the spans are not known."""
    trajectory = entry.trajectory
    turns = trajectory.turns
    if entry.kind == "sft":
        return [True] * len(turns)
    spans = [turn.span for turn in turns if turn.span is not None]
    if entry.kind == "evaluation" or len(spans) < len(turns):
        return [None] * len(turns)
    if trajectory.end == "policy_error" or entry.unscored:
        return [False] * len(turns)
    mask = token_mask(max((span.end for span in spans), default=0), spans, trajectory.fatal_step, mode)
    return [any(mask[span.start : span.end]) for span in spans]


def boxes_of(trajectory: Trajectory) -> dict[str, list[Box]]:
    """The rectangles that were asked for, by the id of the picture that they lie on."""
    records = {record.id: record for record in trajectory.images}
    made = {id(call): image_id for image_id, call in calls_by_picture(trajectory).items()}
    boxes: dict[str, list[Box]] = {}
    for number, turn in enumerate(trajectory.turns):
        if turn.call is None or turn.call.name != "crop":
            continue
        try:
            box = CropArguments.model_validate(turn.call.arguments)
        except ValidationError:
            continue
        if max(map(abs, (box.x, box.y, box.width, box.height))) > MAX_PIXELS:
            continue
        gave = made.get(id(turn.call))
        on = records[gave].source if gave in records else box.image
        if on in records:
            boxes.setdefault(on, []).append(Box(box.x, box.y, box.width, box.height, number, gave))
    return boxes


def _picture(record: ImageRecord, shown: Shown, boxes: list[Box]) -> Picture:
    return Picture(record.id, record.width, record.height, record.tool, record.source, shown.key, shown.missing, boxes)


def _step(turn: Turn, kind: Kind, trains: bool | None) -> Step:
    observation, call, span = turn.observation, turn.call, turn.span
    timed = observation is not None and call is not None and kind != "sft" and math.isfinite(observation.latency_s)
    return Step(
        text=turn.text,
        tool=call.name if call is not None else None,
        arguments=[(name, _written(value)) for name, value in call.arguments.items()] if call is not None else [],
        answer=turn.answer,
        observation=observation.text if observation is not None else None,
        pictures=list(observation.image_ids) if observation is not None else [],
        pages=list(observation.pages) if observation is not None else [],
        error=observation.error.kind if observation is not None and observation.error is not None else None,
        seconds=observation.latency_s if observation is not None and timed else None,
        backend=observation.backend if observation is not None else "",
        start=span.start if span is not None else None,
        tokens=span.end - span.start if span is not None else None,
        trains=trains,
    )


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
