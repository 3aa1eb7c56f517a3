"""A trajectory with the pictures that its tools made, as a row keeps it: all that an SFT row is made from."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from PIL import Image

from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.episode import Task
from osvl_plugins.images import ImageSettings, ImageStore, decode
from osvl_plugins.trajectory import Trajectory, Turn


class Example(NamedTuple):
    """``pictures``: PNG files of ``trajectory.images`` after the question's."""

    trajectory: Trajectory
    pictures: tuple[bytes, ...]

    @classmethod
    def of(cls, task: Task, trajectory: Trajectory) -> Example:
        """The example of a finished episode, without what differs between equal runs: durations, places of tokens."""
        assert task.store is not None, "the task has not been run"
        made = [task.store.original(record.id) for record in trajectory.images[len(task.images) :]]
        return cls(replace(trajectory, turns=[_timeless(turn) for turn in trajectory.turns]), tuple(map(_png, made)))

    def to_json(self) -> str:
        """As a line of JSON."""
        pictures = [base64.b64encode(picture).decode() for picture in self.pictures]
        return json.dumps({"trajectory": self.trajectory.to_dict(), "pictures": pictures}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Example:
        """Inverse of ``to_json``."""
        data = json.loads(text)
        return cls(Trajectory.from_dict(data["trajectory"]), tuple(map(base64.b64decode, data["pictures"])))

    def replay(self, row: Candidate, settings: ImageSettings) -> Task:
        """The row's task with the pictures that the episode had."""
        task = question_task(row, settings)
        task.store = ImageStore(settings)
        made: Sequence[Image.Image] = [*task.images, *(decode(picture, settings) for picture in self.pictures)]
        for image, record in zip(made, self.trajectory.images, strict=True):
            task.store.add(image, record.tool, record.source)
        return task


def question_task(row: Candidate, settings: ImageSettings, seed: str = "") -> Task:
    """The episode that asks a row's question. Instructions are the wire profile's."""
    content = [{"type": "image"}, {"type": "text", "text": row.question}]
    image = decode(row.image, settings)
    return Task([{"role": "user", "content": content}], [image], question=row.question, seed=seed)


def _timeless(turn: Turn) -> Turn:
    observation = replace(turn.observation, latency_s=0.0) if turn.observation is not None else None
    return replace(turn, observation=observation, span=None)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
