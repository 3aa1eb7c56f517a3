"""The files of a graph: plain little-endian arrays, strings one after the other, and ``graph.json``.

``graph.json`` is written last; without it there is no graph.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.names import Blob, HashIndex, Strings, offsets_of
from osvl_plugins.errors import CorpusError

VERSION = 1
MANIFEST, RELATIONS, IMAGES = "graph.json", "relations.json", "images"
ARRAYS: dict[str, type[np.generic]] = {
    "offsets": np.int64,
    "targets": np.int32,
    "anchors": np.int32,
    "positions": np.int32,
    "in_degree": np.int32,
    "fact_offsets": np.int64,
    "fact_targets": np.int32,
    "fact_relations": np.int32,
    "inverse_offsets": np.int64,
    "inverse_sources": np.int32,
    "inverse_relations": np.int32,
    "inverse_unique": np.int32,
    "flags": np.uint16,
    "image_side": np.uint16,
    "image_sizes": np.int32,
    "alias_offsets": np.int64,
    "alias_partial": np.bool_,
    "name_hashes": np.uint64,
    "name_numbers": np.int32,
    "id_hashes": np.uint64,
    "id_numbers": np.int32,
}
"""Every array with its type; ``osvl_plugins.curation.graph.store.Graph`` says what they hold."""

STRINGS = ("ids", "titles", "aliases", "anchor_texts", "pages")
"""Each a file of bytes and one of (count + 1) offsets."""

_CHUNK = 2**20


@dataclass(frozen=True)
class Origin:
    """Where the articles come from, and under which licence they stand."""

    name: str
    licence: str
    links: str = "text"
    """``text`` where hyperlinks were read from the articles, ``tables`` where from the wiki's link tables."""


@dataclass(frozen=True)
class Manifest:
    """What was built. ``rejects`` and ``dropped``: how many articles, and redirects or links, by reason."""

    version: int
    origin: Origin
    nodes: int
    edges: int
    facts: int
    aliases: int
    fingerprint: str = ""
    rejects: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a graph.

        Raises ``CorpusError`` when the folder holds no complete graph of this version.
        """
        remedy = "build it with osvl curate graph"
        try:
            data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if data["version"] != VERSION:
                raise CorpusError(f"{folder}: graph of version {data['version']}, {VERSION} is needed; {remedy}")
            return cls(**{**data, "origin": Origin(**data["origin"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{folder}: no graph there ({error!r}); {remedy}") from error

    def write(self, folder: Path) -> None:
        """Make the folder a graph."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")


def write_array(folder: Path, name: str, values: NDArray[Any], append: bool = False) -> None:
    """Store an array of ``ARRAYS``, or add to it."""
    with (folder / name).open("ab" if append else "wb") as out:
        np.ascontiguousarray(values, ARRAYS[name]).tofile(out)


def read_array(folder: Path, name: str) -> NDArray[Any]:
    """A stored array, memory-mapped and read only.

    Raises ``CorpusError`` when its file is missing.
    """
    file, kind = folder / name, np.dtype(ARRAYS[name])
    try:
        if not file.stat().st_size:
            return np.empty(0, kind)
        return np.asarray(np.memmap(file, kind, mode="r"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file}: not readable ({error}); build the graph again") from error


def write_strings(folder: Path, name: str, blob: Blob) -> None:
    """Store strings of ``STRINGS``."""
    with (folder / f"{name}.text").open("wb") as out:
        blob.data.tofile(out)
    write_string_offsets(folder, name, blob.offsets)


def append_string_data(folder: Path, name: str, blob: Blob) -> NDArray[np.int64]:
    """Add strings to a file whose offsets are written later; returns their lengths."""
    with (folder / f"{name}.text").open("ab") as out:
        blob.data.tofile(out)
    return np.diff(blob.offsets)


def write_string_lengths(folder: Path, name: str, lengths: list[NDArray[np.int64]]) -> None:
    """Store the offsets of what ``append_string_data`` added."""
    write_string_offsets(folder, name, offsets_of(np.concatenate([np.empty(0, np.int64), *lengths])))


def write_string_offsets(folder: Path, name: str, offsets: NDArray[np.int64]) -> None:
    """Store where each string starts."""
    (folder / f"{name}.text").touch()
    with (folder / f"{name}.offsets").open("wb") as out:
        offsets.tofile(out)


def read_strings(folder: Path, name: str) -> Strings:
    """Stored strings, read one by one.

    Raises ``CorpusError`` when a file is missing.
    """
    file = folder / f"{name}.offsets"
    try:
        return Strings(folder / f"{name}.text", np.asarray(np.memmap(file, np.int64, mode="r")))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{file}: not readable ({error}); build the graph again") from error


def read_blob(folder: Path, name: str) -> Blob:
    """All strings of a small file."""
    data = np.fromfile(folder / f"{name}.text", np.uint8)
    return Blob(data, np.fromfile(folder / f"{name}.offsets", np.int64))


def read_index(folder: Path, name: str) -> HashIndex:
    """The index ``name`` ("name" or "id")."""
    return HashIndex(read_array(folder, f"{name}_hashes"), read_array(folder, f"{name}_numbers"))


def content_hash(folder: Path) -> str:
    """SHA-256 of all files of the folder, by name."""
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def sync(folder: Path) -> None:
    """Have all files of the folder on the disk, so that a loss of power leaves them whole."""
    for path in (*(file for file in folder.iterdir() if file.is_file()), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
