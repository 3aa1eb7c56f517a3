"""Anchor texts of all parts, each kept once; memory is bounded by sorting them through files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.files import append_string_data, write_string_lengths
from osvl_plugins.curation.graph.names import Blob, Hashes, Ints, offsets_of

BUCKETS = 64
"""A hash's first six bits name its bucket: of 10⁸ texts each bucket holds a sixtieth."""


class AnchorBuckets:
    """Files below ``scratch`` that texts are thrown into, and one sorted list that comes out."""

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / "anchors"
        self._folder.mkdir()

    def add(self, blob: Blob, hashes: Hashes) -> None:
        """Take the different texts of one part."""
        order = np.argsort(hashes)
        bounds = np.searchsorted(_bucket(hashes[order]), np.arange(BUCKETS + 1))
        lengths = np.diff(blob.offsets).astype(np.int32)
        for bucket in range(BUCKETS):
            chosen = order[bounds[bucket] : bounds[bucket + 1]]
            if len(chosen):
                for kind, values in (("hash", hashes), ("length", lengths)):
                    _append(self._folder / f"{bucket}.{kind}", values[chosen])
                _append(self._folder / f"{bucket}.text", blob.take(chosen).data)

    def write(self, out: Path) -> Hashes:
        """Store the texts in ``out`` as ``anchor_texts`` in the order of their hashes; returns the hashes."""
        found: list[Hashes] = []
        lengths: list[NDArray[np.int64]] = []
        for bucket in range(BUCKETS):
            files = {kind: self._folder / f"{bucket}.{kind}" for kind in ("hash", "length", "text")}
            if not files["hash"].exists():
                continue
            hashes = np.fromfile(files["hash"], np.uint64)
            offsets = offsets_of(np.fromfile(files["length"], np.int32))
            blob = Blob(np.fromfile(files["text"], np.uint8), offsets)
            kept, first = np.unique(hashes, return_index=True)
            lengths.append(append_string_data(out, "anchor_texts", blob.take(first)))
            found.append(kept)
            for file in files.values():
                file.unlink()
        write_string_lengths(out, "anchor_texts", lengths)
        return np.concatenate([np.empty(0, np.uint64), *found])


def ranks(ordered: Hashes, wanted: Hashes) -> Ints:
    """Place of each of ``wanted`` in ``ordered``, which holds them all."""
    order = np.argsort(wanted)
    places = np.empty(len(wanted), np.int32)
    places[order] = np.searchsorted(ordered, wanted[order])
    return places


def _bucket(hashes: Hashes) -> NDArray[np.int64]:
    return np.asarray(hashes >> np.uint64(64 - BUCKETS.bit_length() + 1), np.int64)


def _append(file: Path, values: NDArray[np.generic]) -> None:
    with file.open("ab") as out:
        values.tofile(out)
