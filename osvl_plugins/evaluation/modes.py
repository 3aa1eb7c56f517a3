"""What a model may use to answer: its own knowledge, what a search found beforehand, or all tools.

``direct`` and ``rag`` are the baselines of arXiv 2605.05185, section 5.1. All three go through the same episode, wire
profile and answer format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from PIL import Image

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.conversation import Message, text_message
from osvl_plugins.episode import Policy, Task, run_episode
from osvl_plugins.evaluation.question import Question
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.images import ImageStore
from osvl_plugins.inference.chat import without_marks
from osvl_plugins.protocol import IMAGE_MARK, inert
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.build import ToolName
from osvl_plugins.tools.faults import FaultInjector
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import ToolCall, Trajectory
from osvl_plugins.wire import build_wire

Mode = Literal[
    "direct",  # one turn, no tools
    "rag",  # one turn, after one search for each picture and one for the question
    "agent",  # all tools of the settings
]
MODES: tuple[Mode, ...] = get_args(Mode)

SEARCHES: tuple[ToolName, ...] = ("image_search", "text_search")
MAX_QUERY_CHARS = 1000
"""As many as ``text_search`` takes."""
FOUND = "What searches found, some of which may be beside the point:"


def mode_tools(mode: Mode, agent: AgentSettings) -> tuple[ToolName, ...]:
    """The tools that ``mode`` calls."""
    return {"direct": (), "rag": SEARCHES, "agent": agent.tools}[mode]


def build_mode_tools(mode: Mode, agent: AgentSettings) -> ToolSet:
    """The tool set over ``mode_tools``. Raises as ``build_tools``."""
    names = mode_tools(mode, agent)
    return build_tools(agent.model_copy(update={"tools": names})) if names else ToolSet((), agent.calls)


@dataclass(frozen=True)
class Play:
    """How questions become trajectories. ``tools`` has those of ``mode_tools``.

    ``system`` stands in place of a question's own system message and of the wire profile's.
    """

    tools: ToolSet
    agent: AgentSettings
    mode: Mode = "agent"
    fatal: FatalSettings = field(default_factory=FatalSettings)
    system: str = ""

    async def __call__(
        self, question: Question, images: Sequence[Image.Image], policy: Policy, seed: str
    ) -> Trajectory:
        """One episode of ``question`` about ``images``, its decoded pictures; ``seed`` is that of injected faults.

        Raises as ``run_episode``.
        """
        agent, tools, messages, found = self.agent, self.tools, question.messages, ""
        episode = agent.episode
        if self.system or self.mode != "agent":
            # A system message of a file of questions tells of tools.
            messages = [message for message in messages if message["role"] != "system"]
        if self.system:
            messages = [text_message("system", self.system), *messages]
        if self.mode != "agent":
            episode = episode.model_copy(update={"max_turns": 1})
            tools = ToolSet((), agent.calls)
        if self.mode == "rag":
            found = await self._found(question.text, images, seed)
            messages = _told(messages, found)
        task = Task(messages, list(images), question.text, seed)
        trajectory = await run_episode(task, policy, tools, episode, self.fatal, build_wire(agent.wire, agent.date))
        trajectory.found = found
        return trajectory

    async def _found(self, question: str, images: Sequence[Image.Image], seed: str) -> str:
        """What the searches brought, as the tools say it; one that failed says so."""
        store, faults = ImageStore(self.agent.episode.images), FaultInjector(self.agent.episode.faults, seed)
        names = [store.add(image).id for image in images]
        calls = {name: ToolCall("image_search", {"url": name}) for name in names}
        calls["the question"] = ToolCall("text_search", {"q": question[:MAX_QUERY_CHARS]})
        found = []
        for about, call in calls.items():
            observation = await self.tools.run(call, ToolContext(store), faults)
            found.append(f"[{call.name} for {about}]\n{observation.text}")
        return await in_thread(_harmless, "\n\n".join([FOUND, *found]))


def _harmless(text: str) -> str:
    return inert(without_marks(text), ("<think>", "</think>", "<response>", "</response>", "<tool_call>", IMAGE_MARK))


def _told(messages: Sequence[Message], found: str) -> list[Message]:
    """``messages`` with ``found`` after the words of the last one."""
    *before, last = messages
    content = last["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    return [*before, {**last, "content": [*parts, {"type": "text", "text": f"\n\n{found}"}]}]
