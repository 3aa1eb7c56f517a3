"""Rows into and out of parquet files, a few at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from osvl_plugins.errors import OsvlError

ROW_GROUP = 8
"""Rows that are read together: a trainer picks single rows at random."""
GROUP_BYTES = 64 * 2**20
"""Rows with so many bytes of pictures are fewer."""
_BUFFER_BYTES = 2**20
"""A file of one huge row group is read through it."""


class RowWriter:
    """A parquet file in small row groups, of which only the last is in memory. Use it in a ``with``."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.count = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        """Append ``row``."""
        self._rows.append(row)
        self.count += 1
        self._bytes += sum(len(image["bytes"]) for image in row["images"])
        if len(self._rows) == ROW_GROUP or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._bytes = [], 0


class Message(NamedTuple):
    """What one side says; nothing where the file has null."""

    role: str
    content: str


class Row(NamedTuple):
    """A row of SFT or RL data, and where it was read."""

    file: Path
    number: int
    """Counted from 0 in the file."""
    kind: Literal["sft", "rl"]
    values: dict[str, Any]

    @property
    def subset(self) -> str:
        """Where it comes from: its subset or data source, or the file."""
        return str(self.values.get("subset") or self.values.get("data_source") or self.file.stem)

    @property
    def messages(self) -> list[Message]:
        """The conversation, or the prompt."""
        said = self.values["messages" if self.kind == "sft" else "prompt"] or ()
        return [Message(message["role"] or "", message["content"] or "") for message in said if message]

    @property
    def accepted(self) -> list[str]:
        """What is right, of RL data."""
        truth = (self.values.get("reward_model") or {}).get("ground_truth")
        return [truth] if isinstance(truth, str) else list(truth or ())

    @property
    def pictures(self) -> list[bytes | None]:
        """The encoded pictures; None for one without bytes."""
        return [(image or {}).get("bytes") for image in self.values.get("images") or ()]


def parquet_files(paths: Sequence[Path]) -> list[Path]:
    """The files that ``paths`` name; a folder stands for the parquet files in it, in order of name.

    Raises ``OsvlError`` when there are none.
    """
    files: list[Path] = []
    for path in paths:
        found = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.is_file() else []
        if not found:
            raise OsvlError(f"{path}: there is no parquet file; osvl data import and osvl data make write some")
        files += found
    return files


def read_rows(files: Iterable[Path], start: int = 0) -> Iterator[Row]:
    """The rows of ``files`` one after the other, without the first ``start`` of them all.

    Raises ``OsvlError`` for a file that is not in verl's SFT or RL format.
    """
    for file in files:
        try:
            with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES) as parquet:
                kind = _kind(file, parquet.schema_arrow)
                count = parquet.metadata.num_rows
                yield from _rows_of(parquet, file, kind, min(start, count))
        except (OSError, pa.ArrowException) as error:
            raise OsvlError(f"{file}: not a readable parquet file ({error})") from error
        start = max(0, start - count)


def _kind(file: Path, schema: pa.Schema) -> Literal["sft", "rl"]:
    said: Literal["messages", "prompt"] = "messages" if "messages" in schema.names else "prompt"
    needed: dict[str, tuple[str, ...]] = {said: ("role", "content")}
    if said == "prompt":
        needed["reward_model"] = ("ground_truth",)
    if "images" in schema.names:
        needed["images"] = ("bytes",)
    for column, fields in needed.items():
        if not set(fields) <= _fields(schema, column):
            has = schema.field(column).type if column in schema.names else "missing"
            raise OsvlError(f"{file}: the column {column} must have {' and '.join(fields)}; it is {has}")
    return "sft" if said == "messages" else "rl"


def _fields(schema: pa.Schema, column: str) -> set[str]:
    """The fields of a column of structs, or of lists of them."""
    kind = schema.field(column).type if column in schema.names else pa.null()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return {kind.field(number).name for number in range(kind.num_fields)} if pa.types.is_struct(kind) else set()


def _rows_of(parquet: pq.ParquetFile, file: Path, kind: Literal["sft", "rl"], start: int) -> Iterator[Row]:
    number, groups = 0, list(range(parquet.num_row_groups))
    while groups and number + parquet.metadata.row_group(groups[0]).num_rows <= start:
        number += parquet.metadata.row_group(groups.pop(0)).num_rows
    for batch in parquet.iter_batches(batch_size=ROW_GROUP, row_groups=groups):
        for values in batch.to_pylist():
            if number >= start:
                yield Row(file, number, kind, values)
            number += 1
