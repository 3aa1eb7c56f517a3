"""What a tool is: a name, a schema, and an async function of (arguments, episode context)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict

from osvl_plugins.images import ImageStore


class Arguments(BaseModel):
    """Base of a tool's arguments. "12" is taken for 12; an unknown argument is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives back. ``source`` is the id of the picture that ``image`` was made from."""

    text: str = ""
    image: Image.Image | None = None
    source: str | None = None
    pages: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolContext:
    """What a tool may use of the episode that calls it."""

    images: ImageStore


class Tool(Protocol):
    """One tool. ``run`` raises ``ToolError`` when the call fails; anything else it raises is reported as ``failed``."""

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: ClassVar[type[Arguments]]
    backend: str

    async def run(self, arguments: Any, context: ToolContext) -> ToolResult: ...


def schema(tool: Tool | type[Tool]) -> dict[str, Any]:
    """The tool in OpenAI's function format."""
    parameters = tool.arguments.model_json_schema()
    properties = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in parameters.get("properties", {}).items()
    }
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": parameters.get("required", []),
            },
        },
    }
