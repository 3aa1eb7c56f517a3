"""Rows of parquet files by number, in memory that does not grow with the files.

A row is read with its row group, and one group is kept. A shuffled pass therefore reads about one group for each row:
write tables of pictures with few rows in a group (``row_group_size=8``).
"""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from osvl_plugins.errors import OsvlError

MAX_GROUP_BYTES = 256 * 2**20
"""Most bytes of a row group, as it lies in memory."""


class _Group(NamedTuple):
    file: str
    number: int


class ParquetRows(Sequence[dict[str, Any]]):
    """The rows of ``files``, one file after the other, as mappings of ``columns``.

    A name may be a pattern (``data/*.parquet``), whose files come in the order of their names. Forked and spawned
    processes may go on reading: each opens the files for itself. Not to be shared between threads.

    Raises ``OsvlError`` for a name that fits no file, for a file that lacks a column, and for a row group over
    ``MAX_GROUP_BYTES``.
    """

    def __init__(self, files: str | Path | Sequence[str | Path], columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._groups: list[_Group] = []
        sizes: list[int] = []
        for file in _expanded([files] if isinstance(files, str | Path) else files):
            for number, rows in enumerate(self._row_counts(file)):
                self._groups.append(_Group(file, number))
                sizes.append(rows)
        self._ends = list(accumulate(sizes))
        self._forget()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        place = bisect_right(self._ends, index)
        start = self._ends[place - 1] if place else 0
        return self._table(self._groups[place]).slice(index - start, 1).to_pylist()[0]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_kept": None, "_process": 0}

    def _forget(self) -> None:
        self._open: dict[str, pq.ParquetFile] = {}
        self._kept: tuple[_Group, pa.Table] | None = None
        self._process = os.getpid()

    def _table(self, group: _Group) -> pa.Table:
        if self._process != os.getpid():
            # A lock that another thread held during the fork stays locked in an inherited reader.
            self._forget()
        if self._kept is None or self._kept[0] != group:
            self._kept = None
            if group.file not in self._open:
                self._open[group.file] = pq.ParquetFile(group.file)
            table = self._open[group.file].read_row_group(group.number, columns=self.columns, use_threads=False)
            self._kept = (group, table)
        return self._kept[1]

    def _row_counts(self, file: str) -> list[int]:
        metadata = pq.read_metadata(file)
        missing = set(self.columns) - set(metadata.schema.to_arrow_schema().names)
        if missing:
            raise OsvlError(f"{file} has no column {', '.join(sorted(missing))}")
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > MAX_GROUP_BYTES:
            raise OsvlError(
                f"{file} has a row group of {largest / 2**20:.0f} MB, over {MAX_GROUP_BYTES / 2**20:.0f}: "
                "write it again with fewer rows in a group (row_group_size=8)"
            )
        return [group.num_rows for group in groups]


def _expanded(names: Sequence[str | Path]) -> list[str]:
    files: list[str] = []
    for name in (os.fspath(given) for given in names):
        found = [name] if os.path.exists(name) else sorted(glob.glob(name))
        if not found:
            raise OsvlError(f"there is no file {name}")
        files += found
    return files
