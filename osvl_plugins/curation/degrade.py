"""Ways to degrade a picture, each with the tool calls that may repair it: blurred, too small, or seen at an angle."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
from PIL import Image, ImageFilter

Kind = Literal["blurred", "small", "tilted"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SIGMAS = (3.0, 4.0, 6.0)
"""Blurs in pixels of a picture whose longer side is ``BLUR_SIDE``, weakest first."""
BLUR_SIDE = 256
AMOUNTS = (1.5, 3.0)
"""Strengths of ``sharpen`` that are tried on each."""
SIDES = (40, 32, 24)
"""Longer sides in pixels of pictures that are too small."""
TILTS = (0.15, 0.25, 0.35)
"""How far the corners of a tilted picture move, as a share of its sides."""
MARGIN = 0.2
"""What stands around a tilted picture, as a share of its sides."""
WALLS = ((235, 232, 225), (52, 56, 60), (28, 30, 33))


class Call(NamedTuple):
    """A call of a tool on the question's picture."""

    tool: str
    arguments: dict[str, Any]


class Degraded(NamedTuple):
    """A degraded picture and the calls that may repair it, mildest first."""

    image: Image.Image
    repairs: tuple[Call, ...]


def degradations(kind: Kind, image: Image.Image, rng: random.Random) -> Iterator[Degraded]:
    """``image`` (RGB) degraded in one way, weakest first."""
    makers: dict[Kind, Callable[[Image.Image, random.Random], Iterator[Degraded]]] = {
        "blurred": _blurred,
        "small": _small,
        "tilted": _tilted,
    }
    return makers[kind](image, rng)


def _blurred(image: Image.Image, rng: random.Random) -> Iterator[Degraded]:
    repairs = tuple(Call("sharpen", {"image": "img_1", "amount": amount}) for amount in AMOUNTS)
    for sigma in SIGMAS:
        yield Degraded(image.filter(ImageFilter.GaussianBlur(sigma * max(image.size) / BLUR_SIDE)), repairs)


def _small(image: Image.Image, rng: random.Random) -> Iterator[Degraded]:
    for side in SIDES:
        small = image.copy()
        small.thumbnail((side, side), Image.Resampling.BOX)
        yield Degraded(small, (Call("super_resolution", {"image": "img_1", "scale": 4}),))


def _tilted(image: Image.Image, rng: random.Random) -> Iterator[Degraded]:
    width, height = image.size
    wall, mirrored = rng.choice(WALLS), rng.random() < 0.5
    whole = (round(width * (1 + 2 * MARGIN)), round(height * (1 + 2 * MARGIN)))
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    for tilt in TILTS:
        x, y = tilt * width, tilt * height
        # One side recedes: its upper and lower ends move inwards by different amounts.
        corners = flat + np.array([[x, 0], [0, 0.6 * y], [-0.4 * x, 0], [0, -y]], np.float32)
        if mirrored:
            corners = np.array([width, 0], np.float32) + corners[[1, 0, 3, 2]] * np.array([-1, 1], np.float32)
        corners += np.array([MARGIN * width, MARGIN * height], np.float32)
        matrix = cv2.getPerspectiveTransform(flat, corners.astype(np.float32))
        warped = cv2.warpPerspective(
            np.asarray(image), matrix, whole, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=wall
        )
        yield Degraded(Image.fromarray(warped), (Call("perspective_correct", {"image": "img_1"}),))
