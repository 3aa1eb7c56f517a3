"""Search by picture with local features only: colour layout, SIFT with geometric verification, comparison of detail.

A query is first held against the pictures of similar colour layout, as a whole. Only where none of them is the same
do keypoints vote, for queries that are a part of a picture or turned, and are loose crops shifted into place; what is
aligned so is compared likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from osvl_plugins.corpus.keypoints import KeypointIndex, Keypoints, keypoints
from osvl_plugins.corpus.shift import shift
from osvl_plugins.corpus.verify import MIN_GAIN, NO_MATCH, SIDE, Bytes, Floats, Match, compare
from osvl_plugins.errors import CorpusError, ToolError

FEATURE_SIDE = 256
LAYOUT_SIDE = 16
BY_LAYOUT = 8
BY_VOTES = 3
BY_SHIFT = 2
# Grey levels between the colour layouts, beyond which no small shift makes pictures equal.
SHIFT_DISTANCE = 30.0
MAX_PIXELS = 40_000_000
MAX_PICTURES = 20_000
# How much worse than the best a match may be and still count as a twin of it.
TWIN_MARGIN = 0.03
# Looser than what makes a hit confident, so that a picture that nearly has a twin counts as ambiguous.
TWIN_CORRELATION = 0.80
TWIN_COLOUR_DISTANCE = 16.0

PictureKey = tuple[str, int]


class ImageHit(NamedTuple):
    """A picture of a page. ``score`` in 0..1 orders hits; ``confident`` says that it is really the same picture."""

    page_id: str
    picture_index: int
    score: float
    confident: bool


class Features(NamedTuple):
    """What the index keeps of a picture: a small RGB copy, its colour layout, and its keypoints."""

    thumbnail: Bytes
    layout: Floats
    keypoints: Keypoints


class ImageIndex:
    """Features of all pictures, in memory. Reading is safe from several threads."""

    def __init__(self, keys: Sequence[PictureKey], features: Sequence[Features]) -> None:
        if len(keys) > MAX_PICTURES:
            raise CorpusError(f"{len(keys)} pictures are too many for this index; at most {MAX_PICTURES}")
        self._keys = list(keys)
        self._thumbnails = [each.thumbnail for each in features]
        self._layouts = np.stack([each.layout for each in features]) if features else np.zeros((0, 1), np.float32)
        self._points = _joined([each.keypoints.points for each in features], 2)
        self._descriptors = _joined([each.keypoints.descriptors for each in features], 128)
        self._counts = np.asarray([len(each.keypoints.points) for each in features], np.int64)
        self._keypoints = KeypointIndex(self._points, self._descriptors, self._counts)

    @classmethod
    def build(cls, pictures: Mapping[PictureKey, Features]) -> ImageIndex:
        """Index the features of pictures, named by page id and position on the page."""
        return cls(list(pictures), list(pictures.values()))

    def save(self, file: Path) -> None:
        """Write the index as .npz."""
        shapes = np.asarray([thumbnail.shape[:2] for thumbnail in self._thumbnails], np.int32).reshape(-1, 2)
        flat = [thumbnail.ravel() for thumbnail in self._thumbnails]
        np.savez_compressed(
            file,
            pages=np.asarray([page for page, _ in self._keys], np.str_),
            positions=np.asarray([position for _, position in self._keys], np.int32),
            thumbnails=np.concatenate(flat) if flat else np.zeros(0, np.uint8),
            shapes=shapes,
            points=self._points.astype(np.float16),
            descriptors=np.rint(self._descriptors * 255).astype(np.uint8),
            counts=self._counts,
        )

    @classmethod
    def open(cls, file: Path) -> ImageIndex:
        """Read what ``save`` wrote.

        Raises ``CorpusError`` when the file is not there or holds something else.
        """
        try:
            with np.load(file, allow_pickle=False) as data:
                keys = [(str(page), int(at)) for page, at in zip(data["pages"], data["positions"], strict=True)]
                sizes = [int(height) * int(width) * 3 for height, width in data["shapes"]]
                parts = np.split(data["thumbnails"], np.cumsum(np.asarray(sizes, np.int64)))[:-1]
                thumbnails = [part.reshape(*shape, 3) for part, shape in zip(parts, data["shapes"], strict=True)]
                ends = np.cumsum(data["counts"])
                points = np.split(data["points"].astype(np.float32), ends)[:-1]
                descriptors = np.split(data["descriptors"].astype(np.float32) / 255, ends)[:-1]
        except (OSError, ValueError, KeyError) as error:
            raise CorpusError(f"{file}: no readable image index ({error}); build the corpus again") from error
        features = [
            Features(thumbnail, layout(thumbnail), Keypoints(at, _unit(described)))
            for thumbnail, at, described in zip(thumbnails, points, descriptors, strict=True)
        ]
        return cls(keys, features)

    def search(self, image: Image.Image, k: int) -> list[ImageHit]:
        """The ``k`` pictures most like ``image``, best first.

        Raises ``ToolError``: ``bad_arguments`` when ``k`` is not positive, ``limit`` when the image is over 40
        million pixels.
        """
        if k < 1:
            raise ToolError("bad_arguments", f"k must be at least 1, not {k}")
        if not self._keys:
            return []
        query = pixels(image)
        distances = self._distances(layout(query))
        matches = {int(i): self._whole(query, int(i)) for i in np.argsort(distances, kind="stable")[:BY_LAYOUT]}
        votes = np.zeros(len(self._keys), np.float32)
        if not any(match.same for match in matches.values()):
            votes = self._search_parts(query, distances, matches)
        best = min((match.error for match in matches.values() if match.confident), default=0.0)
        hits = [
            ImageHit(
                *self._keys[i],
                _score(match, float(distances[i]), float(votes[i])),
                match.confident and match.error <= best + TWIN_MARGIN,
            )
            for i, match in matches.items()
        ]
        return sorted(hits, key=lambda hit: (-hit.confident, -hit.score, hit.page_id))[:k]

    def ambiguous(self) -> frozenset[PictureKey]:
        """Pictures that another page's picture is nearly equal to, so that a query cannot tell them apart."""
        found: set[PictureKey] = set()
        for i, thumbnail in enumerate(self._thumbnails):
            distances = self._distances(layout(thumbnail))
            for j in map(int, np.argsort(distances, kind="stable")[: 2 * BY_LAYOUT]):
                if self._keys[i][0] == self._keys[j][0]:
                    continue
                match = self._whole(thumbnail, j)
                if match.correlation >= TWIN_CORRELATION and match.colour_distance <= TWIN_COLOUR_DISTANCE:
                    found |= {self._keys[i], self._keys[j]}
        return frozenset(found)

    def _distances(self, query: Floats) -> Floats:
        return np.asarray(np.abs(self._layouts - query).mean(1), np.float32)

    def _whole(self, query: Bytes, i: int) -> Match:
        reference = self._thumbnails[i]
        height, width = reference.shape[:2]
        return compare(np.asarray(cv2.resize(query, (width, height), interpolation=cv2.INTER_AREA)), reference)

    def _search_parts(self, query: Bytes, distances: Floats, matches: dict[int, Match]) -> Floats:
        # Puts into matches what keypoints or shifting find, and returns the keypoints' votes.
        found = keypoints(query)
        votes = self._keypoints.votes(found)
        for i in map(int, np.argsort(-votes, kind="stable")[:BY_VOTES]):
            part = self._mapped(query, self._keypoints.align(found, i), i)
            if part.same or i not in matches:
                matches[i] = part
        if not any(match.same for match in matches.values()):
            for i in map(int, np.argsort(distances, kind="stable")[:BY_SHIFT]):
                # Gain is at most energy: what is too soft for that cannot become a confident match.
                if distances[i] > SHIFT_DISTANCE or matches[i].energy < MIN_GAIN:
                    continue
                part = self._mapped(query, shift(query, self._thumbnails[i]), i)
                if part.same:
                    matches[i] = part
        return votes

    def _mapped(self, query: Bytes, affine: NDArray[np.float64] | None, i: int) -> Match:
        # affine maps the query's pixels to the picture's at FEATURE_SIDE.
        if affine is None:
            return NO_MATCH
        reference = self._thumbnails[i]
        height, width = reference.shape[:2]
        to_thumbnail = affine * (SIDE / FEATURE_SIDE)
        size = (query.shape[1], query.shape[0])
        known = np.full((height, width), 255, np.uint8)
        inside = cv2.warpAffine(known, to_thumbnail, size, flags=cv2.WARP_INVERSE_MAP)
        mask = cv2.warpAffine(np.full(query.shape[:2], 255, np.uint8), to_thumbnail, (width, height))
        # Shrinking by a warp alone would alias.
        scale = float(np.sqrt(abs(np.linalg.det(to_thumbnail[:, :2]))))
        smooth = cv2.GaussianBlur(query, (0, 0), 0.4 / scale) if scale < 0.9 else query
        warped = cv2.warpAffine(smooth, to_thumbnail, (width, height))
        return compare(np.asarray(warped, np.uint8), reference, np.asarray(mask, np.uint8), float((inside > 0).mean()))


def pixels(image: Image.Image) -> Bytes:
    """An image as an RGB array whose longer side is 256 pixels.

    Raises ``ToolError("limit")`` when it is over 40 million pixels.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ToolError("limit", f"the picture has {image.width}x{image.height} pixels, over {MAX_PIXELS}")
    scale = FEATURE_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    rgb = image.convert("RGB")
    return np.asarray(rgb if rgb.size == size else rgb.resize(size, Image.Resampling.LANCZOS), np.uint8)


def describe(image: Image.Image) -> Features:
    """What the index keeps of a picture. Raises as ``pixels``."""
    picture = pixels(image)
    height, width = picture.shape[:2]
    small = (max(1, round(width * SIDE / FEATURE_SIDE)), max(1, round(height * SIDE / FEATURE_SIDE)))
    thumbnail = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
    return Features(thumbnail, layout(thumbnail), keypoints(picture))


def layout(picture: Bytes) -> Floats:
    """Mean colours of a 16 x 16 grid, flat."""
    grid = cv2.resize(picture, (LAYOUT_SIDE, LAYOUT_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(grid, np.float32).ravel()


def _score(match: Match, distance: float, votes: float) -> float:
    likeness = 0.3 * float(np.exp(-distance / 30.0)) + 0.2 * min(votes / 3.0, 1.0)
    return likeness + 0.5 * max(0.0, 1.0 - match.error) if match.same else likeness


def _joined(arrays: Iterable[NDArray[np.float32]], width: int) -> Floats:
    return np.concatenate([np.zeros((0, width), np.float32), *arrays])


def _unit(descriptors: Floats) -> Floats:
    return np.asarray(descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6), np.float32)
