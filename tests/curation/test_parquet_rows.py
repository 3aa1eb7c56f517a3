"""Rows by number, whatever the files and their row groups."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.curation import parquet_rows
from osvl_plugins.curation.parquet_rows import ParquetRows
from osvl_plugins.errors import OsvlError


def write(path: Path, numbers: range, group: int) -> Path:
    table = pa.table({"n": list(numbers), "text": [str(n) for n in numbers], "unused": [0] * len(numbers)})
    pq.write_table(table, path, row_group_size=group)
    return path


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=3), group=st.integers(1, 4), data=st.data())
def test_a_row_is_the_one_of_all_files_read_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("files")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    files = [
        write(folder / f"{i}.parquet", range(start, start + size), group)
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    rows = ParquetRows(files, ["n", "text"])
    assert len(rows) == sum(sizes)
    for n in data.draw(st.permutations(range(len(rows)))):
        assert rows[n] == {"n": n, "text": str(n)}


def test_it_is_a_sequence(tmp_path: Path) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(5), 2), ["n"])
    assert rows[-1] == {"n": 4}
    assert [row["n"] for row in rows[1:4]] == [1, 2, 3]
    assert [row["n"] for row in rows] == [0, 1, 2, 3, 4]
    with pytest.raises(IndexError, match="row 5 of 5"):
        rows[5]


def test_a_pattern_means_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", range(2, 4), 1)
    write(tmp_path / "a.parquet", range(2), 1)
    assert [row["n"] for row in ParquetRows(str(tmp_path / "*.parquet"), ["n"])] == [0, 1, 2, 3]


def test_a_name_that_fits_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"there is no file .*x\*\.parquet"):
        ParquetRows([tmp_path / "x*.parquet"], ["n"])


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"a\.parquet has no column images"):
        ParquetRows(write(tmp_path / "a.parquet", range(2), 1), ["n", "images"])


def test_a_row_group_over_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MAX_GROUP_BYTES", 100)
    with pytest.raises(OsvlError, match="write it again with fewer rows in a group"):
        ParquetRows(write(tmp_path / "a.parquet", range(100), 100), ["n"])


def test_what_is_not_asked_for_is_not_read(tmp_path: Path) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(4), 2), ["n"])
    assert rows[3] == {"n": 3}


def test_one_group_is_kept_at_most(tmp_path: Path) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(100), 2), ["n"])
    allocated = []
    for n in range(0, 100, 2):
        rows[n]
        allocated.append(pa.total_allocated_bytes())
    assert max(allocated[1:]) == allocated[1]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_other_processes_go_on_reading(tmp_path: Path, start: str) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(8), 2), ["n"])
    assert rows[3] == {"n": 3}
    with multiprocessing.get_context(start).Pool(2) as pool:
        assert pool.map(rows.__getitem__, range(8)) == [{"n": n} for n in range(8)]


def test_a_forked_process_opens_the_files_for_itself(tmp_path: Path) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(8), 2), ["n"])
    rows[3]
    before = rows._open
    rows._process = os.getpid() + 1  # as after a fork
    assert rows[3] == {"n": 3}
    assert rows._open is not before


def test_pickled_rows_hold_no_open_file(tmp_path: Path) -> None:
    rows = ParquetRows(write(tmp_path / "a.parquet", range(8), 2), ["n"])
    rows[3]
    again = pickle.loads(pickle.dumps(rows))
    assert again._open == {}
    assert again[5] == {"n": 5}
