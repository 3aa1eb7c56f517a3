"""crop: cut a rectangle out of a picture, in pixels of the original."""

from __future__ import annotations

from typing import ClassVar

from PIL import Image
from pydantic import Field

from osvl_plugins.errors import ToolError
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult


class CropArguments(Arguments):
    image: str = Field(description="Name of the picture, e.g. img_1.")
    x: int = Field(description="Left edge in pixels of the picture.")
    y: int = Field(description="Top edge in pixels of the picture.")
    width: int = Field(description="Width in pixels.")
    height: int = Field(description="Height in pixels.")


class Crop:
    """A box must lie inside the picture: a box that sticks out is an error that names the picture's size."""

    name: ClassVar[str] = "crop"
    description: ClassVar[str] = "Cut a rectangle out of a picture. Gives a new picture."
    arguments: ClassVar[type[Arguments]] = CropArguments
    backend = "pillow"

    async def run(self, arguments: CropArguments, context: ToolContext) -> ToolResult:
        source = context.images.resolve(arguments.image)
        image = context.images.original(source)
        x, y, width, height = arguments.x, arguments.y, arguments.width, arguments.height
        if width < 1 or height < 1:
            raise ToolError("bad_arguments", f"width and height must be at least 1, got {width} and {height}")
        if x < 0 or y < 0 or x + width > image.width or y + height > image.height:
            raise ToolError(
                "bad_arguments",
                f"the box {x},{y} {width}x{height} is not inside {source}, which is {image.width}x{image.height}",
            )
        return ToolResult(image=await in_thread(_crop, image, (x, y, x + width, y + height)), source=source)


def _crop(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    return image.crop(box)
