"""One episode: policy and tools in turn, until an answer, a limit or the fatal step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image
from pydantic import Field

from osvl_plugins.conversation import Message
from osvl_plugins.detectors import FatalDetector
from osvl_plugins.errors import ContextLimit, PolicyError, ToolError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.settings import Settings
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.faults import FaultInjector, FaultSettings
from osvl_plugins.tools.toolset import ToolSet, render_error
from osvl_plugins.trajectory import Observation, Span, StepError, Trajectory, Turn
from osvl_plugins.wire import NATIVE, Wire


class EpisodeSettings(Settings):
    """Bounds of an episode."""

    max_turns: int = Field(default=50, ge=1)
    """Turns of the policy, the answer included."""
    turn_deadline_s: float = Field(default=1800.0, gt=0)
    """Seconds that the policy may take for a turn; then the trajectory is marked as failed and trains nothing."""
    images: ImageSettings = ImageSettings()
    faults: FaultSettings = FaultSettings()


class Policy(Protocol):
    """Whoever takes the turns: a rollout server, a model in this process, a remote API, a script."""

    async def start(
        self, messages: Sequence[Message], images: Sequence[Image.Image], tools: list[dict[str, Any]] | None
    ) -> None:
        """The prompt; ``images`` as the model sees them, in the order of the messages' image parts."""

    async def act(self) -> tuple[str, Span | None]:
        """The next turn's text and, for token policies, where it lies. Raises ``PolicyError``."""

    async def observe(self, message: Message, images: Sequence[Image.Image]) -> bool:
        """An observation; ``images`` in the order of its image parts. False when the context has no room for it."""


@dataclass
class Task:
    """What an episode starts from: chat messages whose image parts stand for ``images``, in order."""

    messages: list[Message]
    images: list[Image.Image]
    question: str = ""
    seed: int | str = 0
    """Seeds the injected faults."""
    store: ImageStore | None = field(default=None, init=False)
    """The episode's pictures, once it runs."""
    trajectory: Trajectory | None = field(default=None, init=False)
    """What there is of it so far, once it runs."""


async def run_episode(
    task: Task, policy: Policy, tools: ToolSet, settings: EpisodeSettings, fatal: FatalSettings, wire: Wire = NATIVE
) -> Trajectory:
    """Run ``task`` to its end, the policy being spoken to by ``wire``.

    What the policy or a tool does wrong becomes part of the trajectory. A failing rollout server ends it with
    ``policy_error``. Raises ``ValueError`` or ``ToolError`` when the task itself is unusable.
    """
    store = task.store = ImageStore(settings.images)
    records = [store.add(image) for image in task.images]
    trajectory = task.trajectory = Trajectory(question=task.question, images=store.records)
    faults = FaultInjector(settings.faults, task.seed)
    detector = FatalDetector(fatal)
    views = await in_thread(_views, store, [record.id for record in records])
    prompt = wire.prompt(task.messages, records, tools.schemas)
    await policy.start(prompt.messages, views, prompt.tools)
    while len(trajectory.turns) < settings.max_turns:
        try:
            text, span = await asyncio.wait_for(policy.act(), settings.turn_deadline_s)
        except asyncio.TimeoutError:
            return _failed(trajectory, f"no turn within {settings.turn_deadline_s:g} seconds")
        except ContextLimit:
            trajectory.end = "context_limit"
            break
        except PolicyError as error:
            return _failed(trajectory, str(error))
        turn = await _take(text, span, tools, ToolContext(store), faults, wire)
        trajectory.turns.append(turn)
        if turn.observation is None:
            trajectory.end = "answer"
            break
        if fatal.on_fatal == "stop" and detector.so_far(trajectory):
            trajectory.end = "fatal"
            break
        if wire.ends_unread and not turn.well_formed:
            trajectory.end = "unread"
            break
        if len(trajectory.turns) == settings.max_turns:
            break
        new = await in_thread(_views, store, turn.observation.image_ids)
        if not await policy.observe(wire.observation(turn, store.records), new):
            trajectory.end = "context_limit"
            break
    trajectory.fatal_step = detector(trajectory)
    return trajectory


def _views(store: ImageStore, image_ids: Sequence[str]) -> list[Image.Image]:
    return [store.view(image_id) for image_id in image_ids]


async def _take(
    text: str, span: Span | None, tools: ToolSet, context: ToolContext, faults: FaultInjector, wire: Wire
) -> Turn:
    try:
        parsed = wire.parse(text)
    except ToolError as error:
        failure = Observation(render_error(error.kind, str(error)), error=StepError(error.kind, str(error)))
        return Turn(text=text, observation=failure, span=span)
    if parsed.call is None:
        return Turn(text=text, answer=parsed.answer, span=span)
    return Turn(text=text, call=parsed.call, observation=await tools.run(parsed.call, context, faults), span=span)


def _failed(trajectory: Trajectory, reason: str) -> Trajectory:
    trajectory.end = "policy_error"
    trajectory.failure = reason
    return trajectory
