"""sharpen: unsharp masking, (1 + a) I - a G(I, sigma 3) (as the reference release of arXiv 2605.05185)."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np
from PIL import Image
from pydantic import Field

from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult

SIGMA = 3.0


class SharpenArguments(Arguments):
    image: str = Field(description="Name of the picture, e.g. img_1.")
    amount: float = Field(default=1.5, gt=0, le=10, description="Strength; 1.5 is usual.")


class Sharpen:
    name: ClassVar[str] = "sharpen"
    description: ClassVar[str] = "Sharpen a blurred picture. Gives a new picture."
    arguments: ClassVar[type[Arguments]] = SharpenArguments
    backend = "opencv"

    async def run(self, arguments: SharpenArguments, context: ToolContext) -> ToolResult:
        source = context.images.resolve(arguments.image)
        image = await in_thread(unsharp_mask, context.images.original(source), arguments.amount)
        return ToolResult(image=image, source=source)


def unsharp_mask(image: Image.Image, amount: float) -> Image.Image:
    """``image`` with its difference from a Gaussian blur (sigma 3 pixels) added ``amount`` times."""
    pixels = np.asarray(image.convert("RGB"))
    blurred = cv2.GaussianBlur(pixels, (0, 0), SIGMA)
    return Image.fromarray(cv2.addWeighted(pixels, 1.0 + amount, blurred, -amount, 0.0))
