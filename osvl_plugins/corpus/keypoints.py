"""Local features of pictures: SIFT descriptors of all of them in one matrix, voting, and geometric verification."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from osvl_plugins.corpus.verify import Bytes, Floats

PER_PICTURE = 120
RATIO = 0.8
MIN_INLIERS = 8
MIN_SIMILARITY = 0.85
REPROJECTION = 3.0
MAX_TRIALS = 500
# Of the query's size to the reference's: beyond it an affine fit is no crop but an accident.
MIN_SCALE, MAX_SCALE = 0.15, 6.0


class Keypoints(NamedTuple):
    """Positions (n, 2) in pixels of the picture they were taken from, and unit descriptors (n, 128)."""

    points: Floats
    descriptors: Floats


def keypoints(picture: Bytes) -> Keypoints:
    """The strongest SIFT keypoints of an RGB picture, at most ``PER_PICTURE``; none for a flat one."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found, descriptors = cv2.SIFT_create(nfeatures=PER_PICTURE).detectAndCompute(grey, None)  # type: ignore[attr-defined]
    if descriptors is None or not len(found):
        return Keypoints(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    points = np.asarray([point.pt for point in found[:PER_PICTURE]], np.float32)
    # RootSIFT (Arandjelović and Zisserman, 2012): the dot product of these is the Hellinger kernel.
    raw = np.asarray(descriptors[:PER_PICTURE], np.float32)
    return Keypoints(points, np.sqrt(raw / np.maximum(raw.sum(1, keepdims=True), 1e-6)))


class KeypointIndex:
    """Keypoints of many pictures; ``counts`` says how many each has, in order."""

    def __init__(self, points: Floats, descriptors: Floats, counts: NDArray[np.int64]) -> None:
        self._points = points
        self._descriptors = descriptors
        self._ends = np.cumsum(counts)
        self._filled = np.flatnonzero(counts)
        self._starts = (self._ends - counts)[self._filled]
        self._size = len(counts)

    def votes(self, query: Keypoints) -> Floats:
        """Likeness of each picture (pictures,): its best match for each keypoint of the query, summed."""
        votes = np.zeros(self._size, np.float32)
        if len(query.points) and len(self._starts):
            similarity = _products(query.descriptors, self._descriptors)
            best = np.maximum.reduceat(similarity, self._starts, axis=1)
            votes[self._filled] = np.maximum(best - MIN_SIMILARITY, 0.0).sum(0)
        return votes

    def align(self, query: Keypoints, picture: int) -> NDArray[np.float64] | None:
        """Affine map (2, 3) from the query's pixels to the picture's, or None where the keypoints agree on none."""
        end = int(self._ends[picture])
        start = int(self._ends[picture - 1]) if picture else 0
        if end - start < MIN_INLIERS or len(query.points) < MIN_INLIERS:
            return None
        similarity = _products(query.descriptors, self._descriptors[start:end])
        order = np.argsort(-similarity, axis=1)[:, :2]
        rows = np.arange(len(order))
        # Distances of unit vectors, for Lowe's ratio test.
        first = np.sqrt(np.maximum(2 - 2 * similarity[rows, order[:, 0]], 0))
        second = np.sqrt(np.maximum(2 - 2 * similarity[rows, order[:, 1]], 0))
        good = first < RATIO * second
        if int(good.sum()) < MIN_INLIERS:
            return None
        source, target = query.points[good], self._points[start:end][order[good, 0]]
        affine, inliers = cv2.estimateAffine2D(source, target, ransacReprojThreshold=REPROJECTION, maxIters=MAX_TRIALS)
        if affine is None or int(inliers.sum()) < MIN_INLIERS:
            return None
        scale = float(np.sqrt(max(np.linalg.det(affine[:, :2]), 0.0)))
        return np.asarray(affine, np.float64) if MIN_SCALE <= scale <= MAX_SCALE else None


def _products(a: Floats, b: Floats) -> Floats:
    # OpenCV's product of small matrices: NumPy's starts BLAS threads, which wait busily where cores are shared.
    return np.asarray(cv2.gemm(a, b, 1.0, None, 0.0, flags=cv2.GEMM_2_T), np.float32)
