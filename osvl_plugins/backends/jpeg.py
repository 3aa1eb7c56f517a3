"""A picture as it is sent to a service: a bounded JPEG, with a digest of its pixels."""

from __future__ import annotations

import hashlib
import io
import math
from typing import NamedTuple

from PIL import Image


class Jpeg(NamedTuple):
    """``digest`` is the SHA-256 in hex of the size and pixels before scaling; ``width`` and ``height`` are after it."""

    data: bytes
    digest: str
    width: int
    height: int


def jpeg(image: Image.Image, max_pixels: int) -> Jpeg:
    """``image`` as JPEG, scaled down to ``max_pixels``."""
    image = image.convert("RGB")
    # Of the pixels, because the bytes of a JPEG differ from one encoder to the next.
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode() + image.tobytes()).hexdigest()
    scale = math.sqrt(max_pixels / (image.width * image.height))
    if scale < 1:
        size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95)
    return Jpeg(encoded.getvalue(), digest, *image.size)
