"""perspective_correct: a page, sign or screen that was photographed at an angle, seen from the front.

The first attempt is that of the reference release of arXiv 2605.05185: Gaussian 5 x 5, Canny 75/200, of the five
largest outer contours the first that ``approxPolyDP`` with 0.02 of its perimeter makes a quadrilateral. It fails
where the outline has a gap, is weak, or touches the edges of what lies around it: then come closed edges, and splits
of the picture into light and dark. Every quadrilateral must prove itself: the contour runs along all of its sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from osvl_plugins.errors import ToolError
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult

MIN_AREA = 0.1
"""Least share of the picture that a quadrilateral covers."""
WORK_SIDE = 1000
"""Most pixels on a side of the picture in which the outline is looked for."""
_CONTOURS = 5
_TOLERANCE = 0.02
_BAND = 0.01
"""Half the width, in diagonals, of the band along a side in which the contour counts as that side."""
_COVERED = 0.8
"""Least share of a side that the contour runs along, and of the contour that runs along the sides."""

Pixels = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float32]


class PerspectiveCorrectArguments(Arguments):
    image: str = Field(description="Name of the picture, e.g. img_1.")


class PerspectiveCorrect:
    """Finds one outline with four corners and warps it flat; without one the call is an error."""

    name: ClassVar[str] = "perspective_correct"
    description: ClassVar[str] = (
        "Flatten a page, sign or screen that was photographed at an angle. Gives a new picture of what lies inside "
        "its outline."
    )
    arguments: ClassVar[type[Arguments]] = PerspectiveCorrectArguments
    backend = "opencv"

    async def run(self, arguments: PerspectiveCorrectArguments, context: ToolContext) -> ToolResult:
        source = context.images.resolve(arguments.image)
        return ToolResult(image=await in_thread(correct, context.images.original(source)), source=source)


def correct(image: Image.Image) -> Image.Image:
    """What lies inside the outline in ``image``, seen from the front.

    Raises ``ToolError`` of kind ``not_found`` when there is no outline with four corners.
    """
    corners = find_corners(image)
    if corners is None:
        raise ToolError(
            "not_found",
            f"no outline with four corners that covers at least {MIN_AREA:.0%} of the picture was found; "
            "crop the picture to the page or sign first, with a margin around it",
        )
    return flatten(image, corners)


def find_corners(image: Image.Image) -> Corners | None:
    """Corners of the most plausible outline: upper left first, then clockwise; (4, 2) pixels (x, y). None without one.

    An outline is convex, covers at least ``MIN_AREA`` of the picture, and has no side on the picture's border.
    """
    small = image.convert("RGB")
    small.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small)
    height, width = pixels.shape[:2]
    for mask in _masks(pixels):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:_CONTOURS]:
            polygon = cv2.approxPolyDP(contour, _TOLERANCE * cv2.arcLength(contour, True), True)
            if not _is_quadrilateral(polygon, width, height):
                continue
            corners = _fit(contour.reshape(-1, 2).astype(np.float32), _ordered(polygon.reshape(-1, 2)))
            if corners is not None:
                return corners * np.array([image.width / width, image.height / height], np.float32)
    return None


def flatten(image: Image.Image, corners: Corners) -> Image.Image:
    """The quadrilateral ``corners`` (upper left first, clockwise) as a rectangle.

    Each side is as long as the longer of the two edges it came from, within the number of pixels of ``image``.
    """
    upper_left, upper_right, lower_right, lower_left = corners
    width = max(np.hypot(*(upper_right - upper_left)), np.hypot(*(lower_right - lower_left)))
    height = max(np.hypot(*(lower_left - upper_left)), np.hypot(*(lower_right - upper_right)))
    scale = min(1.0, np.sqrt(image.width * image.height / (width * height)))
    columns, rows = max(1, int(width * scale)), max(1, int(height * scale))
    target = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(
        cv2.warpPerspective(pixels, matrix, (columns, rows), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def _masks(pixels: Pixels) -> Iterator[Pixels]:
    """White where an outline or what it encloses may be, the likeliest first."""
    grey = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    yield cv2.Canny(grey, 75, 200)
    near = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))
    yield cv2.morphologyEx(cv2.Canny(grey, 75, 200), cv2.MORPH_CLOSE, near)
    yield cv2.morphologyEx(cv2.Canny(grey, 25, 75), cv2.MORPH_CLOSE, near)
    # A page is light in all channels, a dark sign dark in all. Opening cuts the bridges to what touches it.
    wide = cv2.getStructuringElement(cv2.MORPH_RECT, (11, 11))
    light = cv2.GaussianBlur(pixels.min(2), (5, 5), 0)
    dark = cv2.GaussianBlur(255 - pixels.max(2), (5, 5), 0)
    for level in (None, 224, 192, 160, 128, 96):
        for values in (light, dark):
            kind = cv2.THRESH_BINARY + (cv2.THRESH_OTSU if level is None else 0)
            _, mask = cv2.threshold(values, level or 0, 255, kind)
            yield cv2.morphologyEx(mask, cv2.MORPH_OPEN, wide)


def _is_quadrilateral(polygon: Any, width: int, height: int) -> bool:
    if len(polygon) != 4 or not cv2.isContourConvex(polygon):
        return False
    return bool(cv2.contourArea(polygon) >= MIN_AREA * width * height and not _on_border(polygon, width, height))


def _on_border(polygon: Any, width: int, height: int) -> bool:
    """Whether two corners share a border of the picture: that side is where the picture ends, not an outline."""
    x, y = polygon.reshape(-1, 2).T
    margin = 0.01 * max(width, height)
    borders = (x < margin, y < margin, x > width - margin, y > height - margin)
    return any(int(touching.sum()) > 1 for touching in borders)


def _ordered(corners: Any) -> Corners:
    """Clockwise from the upper left one."""
    x, y = (corners - corners.mean(0)).T
    clockwise = corners[np.argsort(np.arctan2(y, x))].astype(np.float32)
    return np.roll(clockwise, -int(clockwise.sum(1).argmin()), axis=0)


def _fit(contour: Corners, corners: Corners) -> Corners | None:
    """Corners where lines through the middles of the four sides meet, so that rounded corners do not matter.

    None when the contour does not run along all four sides.
    """
    band = _BAND * float(np.hypot(*np.ptp(corners, axis=0)))
    near = np.zeros(len(contour), bool)
    lines = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = float(np.hypot(*(end - start)))
        direction = (end - start) / max(1.0, length)
        offset = contour - start
        along = offset @ direction / max(1.0, length)
        on_side = (np.abs(offset @ np.array([-direction[1], direction[0]])) < band) & (along > -0.05) & (along < 1.05)
        covered, _ = np.histogram(along[on_side], bins=20, range=(0.0, 1.0))
        middle = contour[on_side & (along > 0.1) & (along < 0.9)]
        if (covered > 0).mean() < _COVERED or len(middle) < 10:
            return None
        near |= on_side
        lines.append(cv2.fitLine(middle, cv2.DIST_HUBER, 0, 0.01, 0.01).ravel())
    if near.mean() < _COVERED:
        return None
    met = [_meeting(before, line) for before, line in zip(np.roll(lines, 1, axis=0), lines, strict=True)]
    moved = np.array(met, np.float32)
    return moved if np.abs(moved - corners).max() < 5 * band else None


def _meeting(first: Any, second: Any) -> tuple[float, float]:
    """Where two lines (direction x, y, point x, y) meet."""
    (ux, uy, px, py), (vx, vy, qx, qy) = first, second
    along = ((qx - px) * vy - (qy - py) * vx) / (ux * vy - uy * vx or 1e-9)
    return px + along * ux, py + along * uy
