from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from osvl_plugins.curation.rows import RL_SCHEMA, write_parquet
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.preflight.rows import check_rows


def png(side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


def row(**changed: Any) -> dict[str, Any]:
    good = {
        "data_source": "x",
        "prompt": [{"role": "user", "content": "<image>What is this?"}],
        "images": [{"bytes": png()}],
        "agent_name": "osvl_agent",
        "reward_model": {"style": "rule", "ground_truth": "a square"},
        "extra_info": {"index": 0},
    }
    return {**good, **changed}


def check(file: Path | str, **data: Any) -> list[Finding]:
    settings = {"train_files": str(file), "max_prompt_length": 256, "train_batch_size": 1, **data}
    return check_rows(Plan({"data": settings}, rl=True))


def write(folder: Path, *rows: dict[str, Any]) -> Path:
    write_parquet(list(rows), RL_SCHEMA, folder / "rows.parquet")
    return folder / "rows.parquet"


def test_good_rows_are_counted_and_measured(tmp_path: Path) -> None:
    (found,) = check(write(tmp_path, row(), row()))
    assert found.level == "ok"
    assert "2 rows" in found.detail


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": []}, "1 times <image>, and 0 pictures"),
        ({"images": [{"bytes": b"no picture"}]}, "not a readable picture"),
        ({"reward_model": {"style": "rule", "ground_truth": ""}}, "no ground_truth"),
        ({"prompt": []}, "no list of messages"),
    ],
)
def test_a_row_that_cannot_train_is_named_by_its_number(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    found = check(write(tmp_path, row(), row(**changed)))
    assert any(each.level == "error" and said in each.detail and "row 1" in each.detail for each in found)


def test_a_prompt_that_is_too_long_is_a_warning(tmp_path: Path) -> None:
    long = row(prompt=[{"role": "user", "content": "<image>" + "word " * 1000}])
    assert [each.level for each in check(write(tmp_path, long))] == ["warning"]


def test_other_scripts_count_a_token_a_character(tmp_path: Path) -> None:
    long = row(prompt=[{"role": "user", "content": "<image>" + "字" * 400}])
    assert [each.level for each in check(write(tmp_path, long))] == ["warning"]


def test_missing_columns_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "rows.parquet")
    (found,) = check(tmp_path / "rows.parquet")
    assert "data_source, reward_model" in found.detail


def test_a_file_that_is_not_there_or_no_parquet_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"nothing")
    assert [each.level for each in check(tmp_path / "none.parquet")] == ["error"]
    assert [each.level for each in check(tmp_path / "broken.parquet")] == ["error"]


def test_fewer_rows_than_a_batch_are_an_error(tmp_path: Path) -> None:
    assert "error" in {each.level for each in check(write(tmp_path, row()), train_batch_size=2)}


def test_a_pattern_names_all_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet([row()], RL_SCHEMA, tmp_path / f"{name}.parquet")
    assert len(check(tmp_path / "*.parquet")) == 2
