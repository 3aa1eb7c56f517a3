"""super_resolution: a small picture enlarged two or four times."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from osvl_plugins.backends.upscale import SCALES, Upscaler
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult


class SuperResolutionArguments(Arguments):
    image: str = Field(description="Name of the picture, e.g. img_1.")
    scale: int = Field(default=4, description="Times the pixels on each side: 2 or 4.")


class SuperResolution:
    """Enlarges with ``upscaler``; a result over ``max_pixels`` is refused with the size that would do."""

    name: ClassVar[str] = "super_resolution"
    description: ClassVar[str] = "Enlarge a small or coarse picture and restore detail. Gives a new picture."
    arguments: ClassVar[type[Arguments]] = SuperResolutionArguments

    def __init__(self, upscaler: Upscaler, max_pixels: int) -> None:
        self._upscaler = upscaler
        self._max_pixels = max_pixels
        self.backend = upscaler.name

    async def run(self, arguments: SuperResolutionArguments, context: ToolContext) -> ToolResult:
        source = context.images.resolve(arguments.image)
        image = context.images.original(source)
        scale = arguments.scale
        if scale not in SCALES:
            raise ToolError("bad_arguments", f"a scale of {scale} is not possible; 2 and 4 are")
        room = self._max_pixels // scale**2
        if image.width * image.height > room:
            side = math.isqrt(room)
            raise ToolError(
                "limit",
                f"{source} is {image.width}x{image.height}; a scale of {scale} takes up to {room} pixels, "
                f"e.g. {side}x{side}: crop the part that matters" + (", or use a scale of 2" if scale > 2 else ""),
            )
        result = await self._upscaler.upscale(image, scale)
        return ToolResult(text=self._upscaler.note, image=result, source=source)
