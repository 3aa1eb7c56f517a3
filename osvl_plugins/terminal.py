"""Pictures and text of unknown origin in a terminal."""

from __future__ import annotations

import re

from PIL import Image

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def half_blocks(image: Image.Image, columns: int, rows: int) -> str:
    """``image`` in at most ``columns`` x ``rows`` characters, never enlarged, in 24-bit colour.

    A character shows two pixels, one above the other: the upper half block in the colour of the upper pixel, on the
    colour of the lower one.
    """
    scale = min(1.0, columns / image.width, 2 * rows / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).tobytes()
    lines = []
    for y in range(0, size[1], 2):
        cells = []
        for x in range(size[0]):
            above, below = (3 * (row * size[0] + x) for row in (y, y + 1))
            background = _colour(48, pixels[below : below + 3]) if y + 1 < size[1] else "49"
            cells.append(f"\x1b[{_colour(38, pixels[above : above + 3])};{background}m▀")
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def _colour(layer: int, pixel: bytes) -> str:
    red, green, blue = pixel
    return f"{layer};2;{red};{green};{blue}"


def printable(text: str) -> str:
    """``text`` without control characters but tab and newline: what a page says must not steer the terminal."""
    return _CONTROL.sub("", text)
