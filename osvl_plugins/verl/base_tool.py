"""The tools for verl's stock ``tool_agent`` loop.

verl makes one ``OsvlTool`` for each entry of a tool yaml (``recipes/osvl/tools.yaml``) and creates and releases it at
every call (verl/experimental/agent_loop/tool_agent_loop.py), so what belongs to an episode hangs on the loop's own
``agent_data`` and goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ConfigDict
from verl.tools.base_tool import BaseTool
from verl.tools.schemas import (
    OpenAIFunctionParametersSchema,
    OpenAIFunctionPropertySchema,
    OpenAIFunctionSchema,
    OpenAIFunctionToolSchema,
    ToolResponse,
)
from verl.utils.rollout_trace import rollout_trace_op

from osvl_plugins.agent import AgentSettings
from osvl_plugins.errors import SettingError, ToolError
from osvl_plugins.images import ImageStore, decode
from osvl_plugins.settings import read
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.faults import FaultInjector
from osvl_plugins.tools.toolset import render_error
from osvl_plugins.trajectory import ToolCall
from osvl_plugins.verl.agent_loop import shared_tools


class _Property(OpenAIFunctionPropertySchema):
    """verl's class drops defaults and bounds, which the model would then not be told."""

    model_config = ConfigDict(extra="allow")
    type: str | list[str] = "string"


class _Parameters(OpenAIFunctionParametersSchema):
    properties: dict[str, _Property]


class _Function(OpenAIFunctionSchema):
    parameters: _Parameters


class ToolSchema(OpenAIFunctionToolSchema):
    """verl's schema of a tool, with all that the tool's own schema says."""

    function: _Function


@dataclass(frozen=True)
class _Episode:
    images: ImageStore
    faults: FaultInjector


_episodes: WeakKeyDictionary[Any, _Episode] = WeakKeyDictionary()
"""By verl's ``AgentData``, for all tools of the process."""


class OsvlTool(BaseTool):
    """One tool of the set. ``config`` has the tool's ``name`` and the settings group ``osvl``.

    ``img_1`` and so on are the pictures that ``agent_data`` has when the first of the tools is called. Raises
    ``SettingError`` when the settings are wrong or name no such tool, ``CorpusError`` when there is no corpus.
    """

    def __init__(self, config: dict[str, Any], tool_schema: OpenAIFunctionToolSchema | None = None) -> None:
        self.settings = read(AgentSettings, config.get("osvl"), "osvl")
        self.tools = shared_tools(self.settings)
        schemas = {schema["function"]["name"]: schema for schema in self.tools.schemas}
        if config.get("name") not in schemas:
            raise SettingError("config.name", f"must be one of {', '.join(schemas)}, got {config.get('name')!r}")
        super().__init__(config, tool_schema or ToolSchema.model_validate(schemas[config["name"]]))
        # A schema in the yaml may give the tool another name to the model.
        self._tool = str(config["name"])

    @rollout_trace_op
    async def execute(
        self, instance_id: str, parameters: dict[str, Any], *, agent_data: Any, **kwargs: Any
    ) -> tuple[ToolResponse, float, dict[str, Any]]:
        """Run one call in the episode of ``agent_data``.

        A call that fails is no exception: its text is what our own loop tells the model. The third value has the
        call's ``error_kind`` (None when it succeeded), ``latency_s`` and ``backend``.
        """
        try:
            episode = _episode(agent_data, self.settings)
        except ToolError as error:
            text = render_error(error.kind, str(error))
            return ToolResponse(text=text), 0.0, {"error_kind": error.kind, "latency_s": 0.0, "backend": ""}
        call = ToolCall(self._tool, parameters)
        observation = await self.tools.run(call, ToolContext(episode.images), episode.faults)
        views = [await in_thread(episode.images.view, image_id) for image_id in observation.image_ids]
        metrics = {
            "error_kind": observation.error.kind if observation.error is not None else None,
            "latency_s": observation.latency_s,
            "backend": observation.backend,
        }
        response = ToolResponse(text=observation.text, image=views) if views else ToolResponse(text=observation.text)
        return response, 0.0, metrics


def _episode(agent_data: Any, settings: AgentSettings) -> _Episode:
    episode = _episodes.get(agent_data)
    if episode is None:
        images = ImageStore(settings.episode.images)
        # Decoded by verl already, so this is quick; another call of the turn must find the episode complete.
        for image in agent_data.image_data or ():
            images.add(decode(image, settings.episode.images))
        episode = _Episode(images, FaultInjector(settings.episode.faults, agent_data.request_id))
        _episodes[agent_data] = episode
    return episode
