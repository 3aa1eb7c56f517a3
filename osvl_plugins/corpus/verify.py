"""Whether one picture is the same as another, and sharp enough to say so.

Two pictures of one size are compared in a band of spatial frequencies, as a least-squares fit of the query's detail
to the reference's: ``correlation`` says whether it is the same detail, ``gain`` how much of it is left. A Gaussian
blur lowers the gain and an unsharp mask raises it, by amounts that depend on the blur and hardly on the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Pixels of the band's two Gaussians, in a picture whose longer side is SIDE pixels.
SIDE = 128
FINE, COARSE = 1.0, 3.0

# benchmarks/image_search.py shows what these rest on: a blur of 4 pixels (of 256) takes the gain of 99 of 100 pictures
# below the least, and an unsharp mask of 3 brings it back above; JPEG and a smaller size leave it above 0.9.
MIN_CORRELATION = 0.85
MIN_GAIN = 0.60
MAX_COLOUR_DISTANCE = 12.0
MIN_COVERAGE = 0.85


class Match(NamedTuple):
    """How well a query agrees with a reference.

    ``correlation`` in -1..1 of the detail, ``energy`` >= 0 of the query's detail relative to the reference's,
    ``colour_distance`` in grey levels (0..255) of the coarse layout, ``coverage`` in 0..1 of the query that the
    reference explains.
    """

    correlation: float
    energy: float
    colour_distance: float
    coverage: float

    @property
    def gain(self) -> float:
        """How much of the reference's detail the query has, by least squares: 1 for equal pictures."""
        return max(self.correlation, 0.0) * self.energy

    @property
    def error(self) -> float:
        """Disagreement in detail and colour, 0 for equal pictures; what candidates are compared by."""
        return 1.0 - self.correlation + self.colour_distance / 200.0

    @property
    def same(self) -> bool:
        """The pictures agree in detail and colour over nearly all of the query."""
        return (
            self.correlation >= MIN_CORRELATION
            and self.colour_distance <= MAX_COLOUR_DISTANCE
            and self.coverage >= MIN_COVERAGE
        )

    @property
    def confident(self) -> bool:
        """They are the same, and the query is sharp enough to tell."""
        return self.same and self.gain >= MIN_GAIN


NO_MATCH = Match(0.0, 0.0, 255.0, 0.0)


def compare(query: Bytes, reference: Bytes, mask: Bytes | None = None, coverage: float = 1.0) -> Match:
    """Compare two RGB pictures of one shape (height, width, 3).

    ``mask`` (height, width) is not zero where the query has been warped to, and ``coverage`` the part of the query
    that lies on the reference; both are for a query that shows a part of the reference.
    """
    a, b = query.astype(np.float32), reference.astype(np.float32)
    weight = np.ones(a.shape[:2], np.float32)
    if mask is not None:
        weight = (mask > 0).astype(np.float32)
        # Outside the query both are made equal, so that its edge is no detail.
        a = np.where(weight[..., None] > 0, a, b)
    colour = _colour_distance(a, b, weight)
    band_a, band_b = detail(a) * weight[..., None], detail(b) * weight[..., None]
    aa, bb, ab = (float(np.vdot(x, y)) for x, y in ((band_a, band_a), (band_b, band_b), (band_a, band_b)))
    # Half a grey level: below it there is only rounding.
    floor = 0.25 * 3.0 * float(weight.sum())
    if aa <= floor or bb <= floor:
        return Match(0.0, 0.0, colour, coverage)
    return Match(ab / float(np.sqrt(aa * bb)), float(np.sqrt(aa / bb)), colour, coverage)


def detail(image: Floats) -> Floats:
    """The band of spatial frequencies that ``compare`` looks at, same shape."""
    fine = cv2.GaussianBlur(image, (0, 0), FINE, borderType=cv2.BORDER_REPLICATE)
    coarse = cv2.GaussianBlur(image, (0, 0), COARSE, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(fine - coarse, np.float32)


def _colour_distance(a: Floats, b: Floats, weight: Floats) -> float:
    difference = cv2.resize((a - b) * weight[..., None], (8, 8), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(weight, (8, 8), interpolation=cv2.INTER_AREA)
    return float(np.abs(difference).sum() / max(3.0 * float(cells.sum()), 1e-6))
