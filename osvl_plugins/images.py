"""The pictures of one episode: by id, at full resolution, with a bounded view for the model."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from osvl_plugins.errors import ToolError
from osvl_plugins.protocol import name_image
from osvl_plugins.settings import Settings
from osvl_plugins.trajectory import ImageRecord

_ID = re.compile(r"img_?0*([1-9]\d{0,5})", re.IGNORECASE)


class ImageSettings(Settings):
    """Bounds of every picture."""

    max_pixels: int = Field(default=262_144, ge=784)
    """Most pixels of what the model sees."""
    min_side: int = Field(default=28, ge=1)
    """Fewest pixels on a side of what the model sees; vision processors reject less."""
    max_source_pixels: int = Field(default=40_000_000, ge=1)
    """Most pixels of a picture that comes in."""
    max_images: int = Field(default=32, ge=1)
    """Most pictures of one episode."""


def decode(source: Any, settings: ImageSettings) -> Image.Image:
    """An RGB picture from a PIL image, encoded bytes, a path, or a mapping with ``bytes`` or ``path``.

    Orientation from EXIF is applied, of an animation the first frame is taken, what is transparent becomes white,
    and more than eight bits a channel are scaled to eight. Raises ``ToolError`` of kind
    ``bad_arguments`` for what is no picture and ``limit`` for one that is too large.
    """
    if isinstance(source, dict):
        source = source.get("bytes") or source.get("path") or source.get("image")
    try:
        if isinstance(source, Image.Image):
            image = source
        elif isinstance(source, bytes | bytearray):
            image = Image.open(io.BytesIO(source))
        elif isinstance(source, str):
            image = Image.open(source)
        else:
            raise ToolError("bad_arguments", f"cannot read a picture from {type(source).__name__}")
        if image.width * image.height > settings.max_source_pixels:
            raise ToolError(
                "limit", f"the picture has {image.width}x{image.height} pixels, over {settings.max_source_pixels}"
            )
        return _rgb(ImageOps.exif_transpose(image) or image)
    except Image.DecompressionBombError as error:
        raise ToolError("limit", f"the picture is too large: {error}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ToolError("bad_arguments", f"not a readable picture: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        low, high = (0.0, 65535.0) if image.mode.startswith("I;16") else (values.min(), values.max())
        scaled = (values - low) * (255.0 / (high - low if high > low else 1.0))
        image = Image.fromarray(np.nan_to_num(scaled).astype(np.uint8))
    return image.convert("RGB")


def bounded(image: Image.Image, settings: ImageSettings) -> Image.Image:
    """``image`` scaled to the bounds, keeping its shape as far as the smallest side allows."""
    scale = min(1.0, math.sqrt(settings.max_pixels / (image.width * image.height)))
    scale = max(scale, settings.min_side / min(image.width, image.height))
    width = max(settings.min_side, round(image.width * scale))
    height = max(settings.min_side, round(image.height * scale))
    # A strip keeps its short side and gives up length, or it would leave the bound.
    width = min(width, max(settings.min_side, settings.max_pixels // height))
    height = min(height, max(settings.min_side, settings.max_pixels // width))
    return image if (width, height) == image.size else image.resize((width, height), Image.Resampling.LANCZOS)


class ImageStore:
    """The pictures of one episode. Ids are ``img_1``, ``img_2``, …; an id is never used twice."""

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self._images: dict[str, Image.Image] = {}
        self.records: list[ImageRecord] = []

    def add(self, image: Image.Image, tool: str | None = None, source: str | None = None) -> ImageRecord:
        """Keep ``image``, made by ``tool`` from picture ``source``.

        Raises ``ToolError`` of kind ``limit`` when the episode has its share of pictures.
        """
        if len(self.records) >= self.settings.max_images:
            raise ToolError("limit", f"this conversation already has {self.settings.max_images} pictures")
        record = ImageRecord(f"img_{len(self.records) + 1}", image.width, image.height, tool, source)
        self._images[record.id] = image
        self.records.append(record)
        return record

    def resolve(self, reference: str) -> str:
        """The id that ``reference`` plausibly means: ``img1`` and ``IMG_1`` are ``img_1``.

        Raises ``ToolError`` of kind ``bad_arguments`` that lists the pictures there are.
        """
        match = _ID.fullmatch(reference.strip())
        name = f"img_{match[1]}" if match else reference
        if name not in self._images:
            known = ", ".join(name_image(record) for record in self.records)
            raise ToolError("bad_arguments", f"there is no picture {reference[:80]!r}; there are {known or 'none'}")
        return name

    def original(self, image_id: str) -> Image.Image:
        """The picture at full resolution, by exact id."""
        return self._images[image_id]

    def view(self, image_id: str) -> Image.Image:
        """The picture as the model sees it."""
        return bounded(self._images[image_id], self.settings)
