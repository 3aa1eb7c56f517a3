"""How a question shows its picture: plainly, blurred, or as the framed one of four. Views are JPEG files."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw, ImageFilter

View = Literal["plain", "blurred", "framed"]
VIEW_SHARES: dict[View, float] = {"plain": 0.4, "framed": 0.35, "blurred": 0.25}

SIDE = 256
"""Longest side of a question's picture in pixels; a sheet of four is a square of it."""
FRAME = 8
"""Width in pixels of the red frame."""


class Box(NamedTuple):
    """A rectangle in pixels of the picture that it lies in."""

    x: int
    y: int
    width: int
    height: int


QUADRANTS: dict[str, Box] = {
    "top left": Box(0, 0, SIDE // 2, SIDE // 2),
    "top right": Box(SIDE // 2, 0, SIDE // 2, SIDE // 2),
    "bottom left": Box(0, SIDE // 2, SIDE // 2, SIDE // 2),
    "bottom right": Box(SIDE // 2, SIDE // 2, SIDE // 2, SIDE // 2),
}


def inside(box: Box) -> Box:
    """The part of a quadrant that holds its picture, without the frame."""
    return Box(box.x + FRAME, box.y + FRAME, box.width - 2 * FRAME, box.height - 2 * FRAME)


def plain(picture: Image.Image) -> bytes:
    """The picture at question size."""
    return _jpeg(_small(picture))


def blurred(picture: Image.Image, sigma: float) -> bytes:
    """The picture at question size under a Gaussian blur of ``sigma`` pixels."""
    return _jpeg(_small(picture).filter(ImageFilter.GaussianBlur(sigma)))


def framed(pictures: Sequence[Image.Image], quadrant: str, rng: random.Random) -> bytes:
    """A sheet of four: ``pictures[0]`` with a red frame in ``quadrant``, the other three around it."""
    if len(pictures) != len(QUADRANTS):
        raise ValueError(f"a sheet shows {len(QUADRANTS)} pictures, got {len(pictures)}")
    sheet = Image.new("RGB", (SIDE, SIDE), (128, 128, 128))
    others = list(pictures[1:])
    rng.shuffle(others)
    for name, box in QUADRANTS.items():
        picture = pictures[0] if name == quadrant else others.pop()
        inner = inside(box)
        fitted = picture.convert("RGB").resize((inner.width, inner.height), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (inner.x, inner.y))
    box = QUADRANTS[quadrant]
    corner = (box.x + box.width - 1, box.y + box.height - 1)
    ImageDraw.Draw(sheet).rectangle(((box.x, box.y), corner), outline=(255, 0, 0), width=FRAME)
    return _jpeg(sheet)


def _small(picture: Image.Image) -> Image.Image:
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return small


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
