"""Alignment of pictures that show nearly the same section: loose crops of flat pictures, which have few keypoints."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from osvl_plugins.corpus.verify import Bytes

COARSE_SIDE = 64
STEPS = 12
PRECISION = 1e-3
SMOOTHING = 5
# Of the query's size to the reference's, when the two are stretched over each other: a loose or a tight crop, no more.
MIN_SCALE, MAX_SCALE = 0.85, 1.18


def shift(query: Bytes, reference: Bytes) -> NDArray[np.float64] | None:
    """Affine map (2, 3) from the query's pixels to those of the reference at twice its size, or None.

    The two are first stretched over each other; the map is what then aligns them best (enhanced correlation
    coefficient, Evangelidis and Psarakis, 2008). None where the search does not converge or
    ends far from the start.
    """
    ends = [
        cv2.resize(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), (COARSE_SIDE, COARSE_SIDE), interpolation=cv2.INTER_AREA)
        for each in (reference, query)
    ]
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, PRECISION)
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, found = cv2.findTransformECC(ends[0], ends[1], start, cv2.MOTION_AFFINE, stop, None, SMOOTHING)
    except cv2.error:
        # OpenCV reports by this that the pictures have nothing in common to align.
        return None
    to_query = np.vstack([np.asarray(found, np.float64), [0, 0, 1]])
    if not MIN_SCALE <= float(np.sqrt(max(np.linalg.det(to_query), 0.0))) <= MAX_SCALE:
        return None
    height, width = query.shape[:2]
    shrink = np.diag([COARSE_SIDE / width, COARSE_SIDE / height, 1.0])
    grow = np.diag([2 * reference.shape[1] / COARSE_SIDE, 2 * reference.shape[0] / COARSE_SIDE, 1.0])
    return np.asarray((grow @ np.linalg.inv(to_query) @ shrink)[:2], np.float64)
