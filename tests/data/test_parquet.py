"""Rows in parquet files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from osvl_plugins.curation.rows import SFT_SCHEMA, write_parquet
from osvl_plugins.data import parquet
from osvl_plugins.data.parquet import ROW_GROUP, parquet_files, read_rows
from osvl_plugins.errors import OsvlError
from tests.data.rows import sft, write


def test_rows_are_written_in_small_groups_and_read_back(tmp_path: Path) -> None:
    rows = [sft(subset=f"s{number}") for number in range(2 * ROW_GROUP + 1)]
    file = write(tmp_path / "a.parquet", rows)
    assert pq.read_metadata(file).num_row_groups == 3
    assert [row.values for row in read_rows([file])] == [row.values for row in rows]
    assert [row.number for row in read_rows([file])] == list(range(len(rows)))


@pytest.mark.parametrize("start", [0, 1, 8, 9, 16, 17, 25, 34, 99])
def test_reading_can_start_at_any_row(tmp_path: Path, start: int) -> None:
    rows = [sft(subset=f"s{number}") for number in range(17)]
    small = write(tmp_path / "a.parquet", rows)
    large = tmp_path / "b.parquet"
    write_parquet([row.values for row in rows], SFT_SCHEMA.append(pq.read_schema(small).field("id")), large)
    ids = [row.values["id"] for row in read_rows([small, large], start)]
    assert ids == [row.values["id"] for row in [*rows, *rows]][start:]


def test_a_folder_stands_for_its_files(tmp_path: Path) -> None:
    second, first = write(tmp_path / "b.parquet", []), write(tmp_path / "a.parquet", [])
    assert parquet_files([tmp_path, second]) == [first, second, second]
    with pytest.raises(OsvlError, match="there is no parquet file"):
        parquet_files([tmp_path / "none"])


def test_rows_with_large_pictures_come_in_smaller_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 100)
    file = write(tmp_path / "a.parquet", [sft(pictures=[bytes(size)]) for size in (60, 60, 100, 10, 10)])
    metadata = pq.read_metadata(file)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [2, 1, 2]
