"""SQL tables of a wiki, as Wikimedia publishes them: ``linktarget``, ``pagelinks``, ``image``."""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.names import Hashes, HashIndex, Ints, normal_title, string_hash
from osvl_plugins.errors import CorpusError

MAX_LINE_BYTES = 256 * 2**20
"""A line holds one INSERT, in published dumps of about a megabyte."""

_COLUMN = re.compile(rb"\s+`(\w+)` ")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_STRING = rb"'((?:[^'\\]|\\.)*)'"
_LINK_TARGET = re.compile(rb"\((\d+),(-?\d+)," + _STRING, re.DOTALL)
_IMAGE = re.compile(rb"\(" + _STRING + rb",\d+,(\d+),(\d+),", re.DOTALL)


class ImageSizes(NamedTuple):
    """The tables ``image`` of a wiki and of Wikimedia Commons."""

    files: tuple[Path, ...]

    def fill(self, hashes: Hashes, known: Ints) -> Ints:
        """``known`` (n, 2) with width and height where they were 0 and a table has the file name of that hash.

        Raises ``CorpusError`` when a file is no such table.
        """
        wanted = np.unique(hashes[(known[:, 0] == 0) & (hashes != 0)])
        sizes = np.zeros((len(wanted), 2), np.int32)
        index = HashIndex.of(wanted)
        for file in self.files:
            for values in inserts(file, ("img_name", "img_size", "img_width", "img_height")):
                rows = _IMAGE.findall(values)
                names = np.array([string_hash(_text(name)) for name, _, _ in rows], np.uint64)
                found = index.find(names)
                numbers = np.array([(int(width), int(height)) for _, width, height in rows], np.int64).reshape(-1, 2)
                sizes[found[found >= 0]] = np.minimum(numbers[found >= 0], 2**31 - 1)
        places = index.find(hashes)
        fill = (places >= 0) & (known[:, 0] == 0)
        filled: Ints = known.copy()
        filled[fill] = sizes[places[fill]]
        return filled


def link_targets(file: Path) -> Iterator[tuple[NDArray[np.int64], Hashes]]:
    """(ids, hashes of the titles) of the articles in a table ``linktarget``, some at a time.

    Raises ``CorpusError`` when the file is no such table.
    """
    for values in inserts(file, ("lt_id", "lt_namespace", "lt_title")):
        rows = [row for row in _LINK_TARGET.findall(values) if row[1] == b"0"]
        ids = np.array([int(row[0]) for row in rows], np.int64)
        yield ids, np.array([string_hash(normal_title(_text(row[2]))) for row in rows], np.uint64)


def page_links(file: Path) -> Iterator[NDArray[np.int64]]:
    """(k, 2) page id and link target id of the links from articles in a table ``pagelinks``, some at a time.

    Raises ``CorpusError`` when the file is no such table.
    """
    for values in inserts(file, ("pl_from", "pl_from_namespace", "pl_target_id")):
        try:
            with warnings.catch_warnings():
                # Of what it cannot read numpy takes the start, with a warning.
                warnings.simplefilter("error", DeprecationWarning)
                numbers = np.fromstring(values.strip()[1:-2].replace(b"),(", b","), np.int64, sep=",")
            rows = numbers.reshape(-1, 3)
        except (ValueError, DeprecationWarning) as error:
            raise CorpusError(f"{file}: rows are not three numbers ({error}); download it again") from error
        yield rows[rows[:, 1] == 0][:, (0, 2)]


def inserts(file: Path, columns: Sequence[str]) -> Iterator[bytes]:
    """What stands after VALUES in each INSERT of a table whose first columns are ``columns``.

    Raises ``CorpusError`` when the file cannot be read or the table has other columns.
    """
    found: list[str] = []
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
            while line := lines.readline(MAX_LINE_BYTES):
                if line.startswith(b"INSERT INTO"):
                    if tuple(found[: len(columns)]) != tuple(columns):
                        raise CorpusError(
                            f"{file}: columns {', '.join(found)}; a table with {', '.join(columns)} is needed"
                        )
                    yield line.partition(b" VALUES ")[2]
                elif column := _COLUMN.match(line):
                    found.append(column[1].decode())
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{file}: not readable ({error})") from error
    if not found:
        raise CorpusError(f"{file}: no SQL table")


def _text(value: bytes) -> str:
    return _ESCAPE.sub(rb"\1", value).decode("utf-8", "replace")
