"""One question asked of one policy: shown while it runs, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from osvl_plugins.agent import AgentSettings
from osvl_plugins.conversation import Message, text_message
from osvl_plugins.episode import Policy, Task, run_episode
from osvl_plugins.errors import OsvlError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.images import ImageStore
from osvl_plugins.rollout_dump import json_line
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Span, Trajectory, Turn
from osvl_plugins.wire import build_wire

TRAJECTORY = "trajectory.jsonl"


class Show(Protocol):
    """Whoever is told of a run."""

    def begins(self, number: int) -> None:
        """Turn ``number``, counted from 1, is asked for."""

    def wrote(self, text: str) -> None:
        """The turn is whole."""

    def observed(self, turn: Turn, pictures: Sequence[Path]) -> None:
        """What came back from ``turn``, and where its new pictures were saved."""


def ask(question: str, images: Sequence[Image.Image], system: str = "") -> Task:
    """The episode of ``question`` about ``images``, with ``system`` as system message in place of the profile's."""
    parts: list[dict[str, Any]] = [{"type": "image"} for _ in images]
    messages: list[Message] = [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]
    if system:
        messages.insert(0, text_message("system", system))
    return Task(messages, list(images), question)


@dataclass
class Run:
    """An episode that saves its pictures into ``folder`` as they come."""

    task: Task
    policy: Policy
    folder: Path
    show: Show
    _turns: int = 0

    async def __call__(self, tools: ToolSet, agent: AgentSettings) -> Trajectory:
        """Run it. Whatever ends it, ``save`` keeps what there is."""
        wire = build_wire(agent.wire, agent.date)
        try:
            return await run_episode(self.task, self, tools, agent.episode, FatalSettings(), wire)
        except BaseException as error:
            if self.task.trajectory is not None:
                self.task.trajectory.end = "policy_error"
                self.task.trajectory.failure = str(error) or "interrupted"
            raise

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        """As ``Policy.start``."""
        await self.policy.start(messages, images, tools)

    async def act(self) -> tuple[str, Span | None]:
        """As ``Policy.act``."""
        self._turns += 1
        self.show.begins(self._turns)
        text, span = await self.policy.act()
        self.show.wrote(text)
        return text, span

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        """As ``Policy.observe``."""
        assert self.task.trajectory is not None
        turn = self.task.trajectory.turns[-1]
        made = turn.observation.image_ids if turn.observation is not None else ()
        self.show.observed(turn, [await in_thread(self._keep, image_id) for image_id in made])
        return await self.policy.observe(message, images)

    def save(self) -> Path:
        """Write the trajectory as it stands as one JSON line, and every picture; gives the line's file."""
        trajectory = self.task.trajectory or Trajectory(self.task.question)
        for record in trajectory.images:
            self._keep(record.id)
        file = self.folder / TRAJECTORY
        row = {"world": "run", "index": 0, "trajectory": trajectory.to_dict()}
        file.write_text(json_line(row), encoding="utf-8")
        return file

    def _keep(self, image_id: str) -> Path:
        assert isinstance(self.task.store, ImageStore)
        file = self.folder / f"{image_id}.png"
        if not file.exists():
            self.task.store.original(image_id).save(file)
        return file


def new_folder(parent: Path) -> Path:
    """``parent/1``, or the first number that is not there yet, made. Raises ``OsvlError`` when it cannot be."""
    for number in count(1):
        folder = parent / str(number)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise OsvlError(f"{folder}: cannot be made ({error.strerror})") from error
        return folder
    raise AssertionError("numbers have no end")
