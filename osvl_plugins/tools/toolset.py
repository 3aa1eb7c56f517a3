"""The tool set: runs an episode's calls with validation, deadline, typed errors and records."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pydantic import Field, ValidationError

from osvl_plugins.errors import ErrorKind, OsvlError, ToolError
from osvl_plugins.protocol import name_image
from osvl_plugins.settings import Settings
from osvl_plugins.tools.base import Tool, ToolContext, ToolResult, schema
from osvl_plugins.tools.faults import FaultInjector
from osvl_plugins.tools.passages import clip
from osvl_plugins.trajectory import Observation, StepError, ToolCall

logger = logging.getLogger(__name__)

MAX_ERROR_CHARS = 1000
"""Most characters of an error's message: a message may repeat what the model wrote."""

ALIASES = {"PythonInterpreter": "python_interpreter"}
"""Names that released data and checkpoints use."""


async def _nothing() -> None:
    pass


class CallSettings(Settings):
    """Bounds of every call."""

    deadline_s: float = Field(default=60.0, gt=0)
    """Seconds after which a call is a ``timeout``."""
    max_chars: int = Field(default=32_000, ge=100)
    """Most characters of an observation's text."""


class ToolSet:
    """A fixed set of tools, shared by all episodes of a process; it keeps nothing of an episode."""

    def __init__(
        self, tools: Iterable[Tool], settings: CallSettings, close: Callable[[], Awaitable[None]] = _nothing
    ) -> None:
        """``close`` ends what the tools stand on."""
        self.tools = {tool.name: tool for tool in tools}
        self.settings = settings
        self._close = close
        self.schemas: list[dict[str, Any]] = [schema(tool) for tool in self.tools.values()]
        """All tools in OpenAI's function format."""

    async def run(self, call: ToolCall, context: ToolContext, faults: FaultInjector | None = None) -> Observation:
        """Run one call. The error of a call that fails is in the observation.

        Raises ``OsvlError`` when the run itself cannot go on: a replay that misses, a recording that cannot be kept.
        """
        started = time.monotonic()
        tool = self.tools.get(ALIASES.get(call.name, call.name))
        try:
            result = await self._run(tool, call, context, faults)
            image_ids: tuple[str, ...] = ()
            text = result.text[: self.settings.max_chars]
            if result.image is not None:
                record = context.images.add(result.image, call.name, result.source)
                image_ids = (record.id,)
                text = "\n".join(part for part in (name_image(record), text) if part)
            error: StepError | None = None
        except ToolError as failure:
            result = ToolResult()
            image_ids = ()
            error = StepError(failure.kind, clip(str(failure), MAX_ERROR_CHARS))
            text = render_error(error.kind, error.message)
        return Observation(
            text=text,
            image_ids=image_ids,
            error=error,
            pages=result.pages,
            latency_s=time.monotonic() - started,
            backend=tool.backend if tool is not None else "",
        )

    async def aclose(self) -> None:
        """End the processes and connections that the tools started from this event loop."""
        await self._close()

    async def _run(
        self, tool: Tool | None, call: ToolCall, context: ToolContext, faults: FaultInjector | None
    ) -> ToolResult:
        if tool is None:
            raise ToolError("unknown_tool", f"there is no tool {call.name[:80]!r}; there are {', '.join(self.tools)}")
        try:
            arguments = tool.arguments.model_validate(call.arguments)
        except ValidationError as invalid:
            raise ToolError("bad_arguments", _explain(invalid)) from None
        if faults is not None:
            faults.check()
        try:
            return await asyncio.wait_for(tool.run(arguments, context), self.settings.deadline_s)
        except OsvlError:
            raise
        except asyncio.TimeoutError:
            raise ToolError("timeout", f"no result within {self.settings.deadline_s:g} seconds") from None
        except Exception as error:  # a broken tool is data for the model and a log line for us
            logger.exception("tool %s broke on %.300s", call.name, call.arguments)
            raise ToolError("failed", f"the tool broke ({type(error).__name__})") from error


def render_error(kind: ErrorKind, message: str) -> str:
    """An error as the model reads it."""
    return f"Error ({kind}): {message}"


def _explain(invalid: ValidationError) -> str:
    problems = []
    for error in invalid.errors(include_url=False, include_input=False, include_context=False)[:5]:
        where = ".".join(str(part) for part in error["loc"]) or "arguments"
        problems.append(f"{where}: {error['msg']}"[:200])
    return "; ".join(problems)
