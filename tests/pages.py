"""Pages of text whose words are known, the damage that a camera does to them, and how well they were read."""

from __future__ import annotations

import io
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

TEXT = (
    "The harbour of Esbjerg was opened in 1874. Grain, timber and butter left it for England, and by 1912 the town "
    "had grown to 18,208 people.\n"
    "A steamer needed 31 hours to Harwich when the weather was kind; in January the crossing could take three days.\n"
    "Fishing followed trade. In 1930 more than 500 cutters sailed from the new basin, and the auction hall on the quay "
    "sold plaice from five in the morning until noon.\n"
    "Oil came last: the first platform was towed out in the spring of 1971."
)

Corners = npt.NDArray[np.float32]


class Photo(NamedTuple):
    """A page in a scene; ``corners`` are its own, in pixels of the scene, upper left first, then clockwise."""

    image: Image.Image
    corners: Corners


def page(text: str = TEXT, font_size: int = 24, width: int = 720, height: int = 640) -> Image.Image:
    """Black text on white, wrapped to the width."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(font_size)
    y = 2 * font_size
    for paragraph in text.split("\n"):
        line = ""
        for word in [*paragraph.split(), ""]:
            if word and draw.textlength(f"{line} {word}", font=font) < width - 4 * font_size:
                line = f"{line} {word}".strip()
                continue
            draw.text((2 * font_size, y), line, font=font, fill="black")
            y += round(1.5 * font_size)
            line = word
        y += font_size // 2
    return image


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur, sigma in pixels."""
    return Image.fromarray(cv2.GaussianBlur(np.asarray(image), (0, 0), sigma))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """Fewer pixels."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Through JPEG."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def photographed(sheet: Image.Image, corners: list[tuple[float, float]], scene: Image.Image) -> Photo:
    """``sheet`` seen in ``scene`` with its corners at ``corners``."""
    width, height = sheet.size
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    target = np.array(corners, np.float32)
    matrix = cv2.getPerspectiveTransform(source, target)
    seen = cv2.warpPerspective(np.asarray(sheet), matrix, scene.size, flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, scene.size)[..., None] / 255
    return Photo(Image.fromarray((seen * cover + np.asarray(scene) * (1 - cover)).astype(np.uint8)), target)


def character_error(read: str, truth: str = TEXT) -> float:
    """Edit distance over the length of ``truth``, white space aside."""
    got, want = "".join(read.split()), "".join(truth.split())
    row = np.arange(len(want) + 1)
    letters = np.array(list(want))
    for count, letter in enumerate(got, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (letters != letter))
        steps = np.concatenate([[count], changed]) - np.arange(len(want) + 1)
        row = np.minimum.accumulate(steps) + np.arange(len(want) + 1)
    return float(row[-1]) / len(want)


def psnr(image: Image.Image, truth: Image.Image) -> float:
    """Peak signal-to-noise ratio in decibels."""
    difference = np.asarray(image, np.float64) - np.asarray(truth, np.float64)
    return float(10 * np.log10(255**2 / np.mean(difference**2)))
