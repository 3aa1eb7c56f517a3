"""``osvl data`` in a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osvl_plugins.cli import main
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.demo import make_data
from tests.data import released


def osvl(*words: object) -> int:
    return main(["data", *map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sft`` and ``rl``: the released data; ``out``: imported."""
    folder = tmp_path_factory.mktemp("data")
    released.write_sft(folder / "sft", {"fvqa": 4, "palace": 3})
    released.write_rl(folder / "rl", *released.rl_rows(20))
    assert osvl("import", "sft", folder / "sft", "--out", folder / "out" / "sft", "--jobs", 1) == 0
    assert osvl("import", "rl", folder / "rl", "--out", folder / "out" / "rl", "--jobs", 1, "--val", 5) == 0
    return folder


def test_an_import_tells_what_became_of_the_rows(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert osvl("import", "sft", folder / "sft", "--out", tmp_path, "--jobs", 1, "--max-pixels", 50_000) == 0
    out = capsys.readouterr().out
    assert "fvqa: 4 rows kept, 0 rejected" in out
    assert "all: 7 rows kept, 0 rejected" in out
    assert json.loads((tmp_path / "report.json").read_text())["import"]["images"]["max_pixels"] == 50_000


def test_an_import_that_keeps_nothing_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    released.write_list(tmp_path / "a.json", [{"conversations": []}])
    assert osvl("import", "sft", tmp_path, "--out", tmp_path / "out", "--jobs", 1) == 1
    assert "1 rejected (1 roles)" in capsys.readouterr().out
    (tmp_path / "b.jsonl").write_text('{"question": ""}\n')
    assert osvl("import", "rl", tmp_path, "--out", tmp_path / "rl", "--jobs", 1) == 1
    assert "unknown: 0 rows kept, 1 rejected (1 wrong_fields)" in capsys.readouterr().out


def test_an_import_that_cannot_be_done_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("import", "sft", tmp_path, "--out", tmp_path / "out") == 2
    assert "there is no JSON file whose rows have 'conversations'" in capsys.readouterr().err
    assert osvl("import", "sft", tmp_path, "--out", tmp_path / "out", "--max-pixels", 3) == 2
    assert "images.max_pixels" in capsys.readouterr().err


def test_stats_are_printed_by_subset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("stats", folder / "out" / "sft", folder / "out" / "rl" / "val.parquet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "sft fvqa: 4 rows; mean / median / 90 % / most of" in lines
    assert "  calls      image_search 4, text_search 4, crop 2" in lines
    assert "  pictures   1.5 / 1 / 2 / 2" in lines


def test_imported_data_is_valid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("validate", folder / "out" / "sft", folder / "out" / "rl") == 0
    assert capsys.readouterr().out == "every row is sound\n"


def test_data_that_is_made_here_is_valid_too(atlas: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from osvl_plugins.demo import SCALES

    make_data(atlas.folder, tmp_path, SCALES["smoke"], lambda text: None)
    assert osvl("validate", tmp_path) == 0
    assert osvl("stats", tmp_path) == 0
    assert osvl("show", tmp_path / "sft.parquet") == 0
    assert "--- assistant ---" in capsys.readouterr().out


def test_problems_are_printed_up_to_the_limit(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.parquet").write_bytes((folder / "out" / "rl" / "train.parquet").read_bytes())
    (tmp_path / "z.parquet").write_bytes(b"")
    (tmp_path / "y.parquet").write_bytes(b"")
    assert osvl("validate", tmp_path, "--limit", 1) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'y.parquet'}: not a readable parquet file")
    assert last == "2 problems"


def test_a_row_is_shown_with_its_pictures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("show", folder / "out" / "sft", "--row", 5, "--images", tmp_path) == 0
    assert "sft, palace, palace:1" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["1.jpeg"]


def test_a_row_that_is_not_there_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("show", folder / "out" / "sft", "--row", 7) == 2
    assert "has no row 7" in capsys.readouterr().err
