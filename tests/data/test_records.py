"""Rows of JSON files, however large and however broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.data import records
from osvl_plugins.data.records import read_records
from osvl_plugins.errors import OsvlError

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['{"system": 1', "},\n{", '\\"', "]"])
ROWS = st.lists(st.fixed_dictionaries({"system": TEXTS, "images": st.lists(TEXTS)}), max_size=6)


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "WINDOW_CHARS", 16)


def values(file: Path) -> list[Any]:
    """Each row, or the reason why there is none."""
    return [record.problem.reason if record.problem else record.value for record in read_records(file)]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records") / "rows.json"


@given(rows=ROWS, indent=st.sampled_from([None, 1]), start=st.sampled_from(["", "\ufeff", "\n "]))
def test_every_row_of_a_list_is_read(file: Path, rows: list[Any], indent: int | None, start: str) -> None:
    file.write_text(start + json.dumps(rows, ensure_ascii=False, indent=indent), "utf-8")
    assert values(file) == rows
    assert [record.number for record in read_records(file)] == list(range(len(rows)))


@given(rows=ROWS)
def test_every_line_is_read(file: Path, rows: list[Any]) -> None:
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    assert values(file) == rows


@given(rows=ROWS.filter(bool), data=st.data())
def test_a_list_that_was_cut_off_loses_only_what_was_cut(file: Path, rows: list[Any], data: st.DataObject) -> None:
    whole = json.dumps(rows)
    file.write_text(whole[: data.draw(st.integers(1, len(whole) - 1))], "utf-8")
    read = values(file)
    assert read[-1] == "bad_json"
    assert read[:-1] == rows[: len(read) - 1]


@given(rows=ROWS.filter(lambda rows: len(rows) > 1), data=st.data())
def test_a_broken_row_of_a_list_loses_nothing_else(file: Path, rows: list[Any], data: st.DataObject) -> None:
    broken = data.draw(st.integers(0, len(rows) - 1))
    texts = [json.dumps(row, sort_keys=True) for row in rows]
    texts[broken] = texts[broken].removesuffix("}") + data.draw(st.sampled_from(["", "?}", ': "x}', '"', "]}"]))
    file.write_text(f"[{', '.join(texts)}]", "utf-8")
    assert values(file) == [*rows[:broken], "bad_json", *rows[broken + 1 :]]


def test_rows_may_start_with_any_key_of_the_first(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('[{"a": 1, "b": 2}, {"a": {"c": 3}, {"b": 2, "a": 1}]')
    assert values(file) == [{"a": 1, "b": 2}, "bad_json", {"a": 1, "b": 2}]


def test_a_broken_line_loses_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"a": 2\n' + "[" * 100_000 + '\n{"a": 3}\n{"a"')
    assert values(file) == [{"a": 1}, "bad_json", "bad_json", {"a": 3}, "bad_json"]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_giant_line_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(records, "MAX_ROW_CHARS", 100)
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"a": 1}}\n{{"a": "{"x" * 500}"}}\n{{"a": 2}}\n{"y" * 300}{end}')
    assert values(file) == [{"a": 1}, "too_long", {"a": 2}, "too_long"]


@pytest.mark.parametrize("broken", ['{"a": "' + "x" * 5000 + '"}', '{"a": "' + "x" * 5000])
def test_a_giant_row_of_a_list_loses_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(records, "MAX_ROW_CHARS", 100)
    file = tmp_path / "rows.json"
    file.write_text(f'[{{"a": 1}}, {broken}, {{"a": 2}}]')
    read = values(file)
    assert (read[0], read[-1]) == ({"a": 1}, {"a": 2})
    assert len(read) == 3


def test_bytes_that_are_no_text_reach_only_their_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"a": "\xff"}\n{"a": "b"}\n')
    first, second = values(file)
    assert second == {"a": "b"}
    with pytest.raises(UnicodeEncodeError):
        first["a"].encode()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"none\.json: cannot be read"):
        list(read_records(tmp_path / "none.json"))
