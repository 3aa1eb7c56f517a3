"""What is wrong with data, found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from osvl_plugins.curation.rows import RL_SCHEMA
from osvl_plugins.data.parquet import Row
from osvl_plugins.data.validate import find_problems
from osvl_plugins.images import ImageSettings
from tests.data import released
from tests.data.rows import rl, sft, write

PICTURES = [released.picture(1), released.picture(2)]


def problems(*files: Path) -> list[str]:
    return list(find_problems(files, ImageSettings()))


def test_sound_rows_have_no_problem(tmp_path: Path) -> None:
    sound = sft(pictures=PICTURES)
    said = [{**message, "role": message["role"].replace("tool", "user")} for message in sound.values["messages"]]
    as_user = sound._replace(values={**sound.values, "messages": said[1:]})
    files = [write(tmp_path / "sft.parquet", [sound, as_user]), write(tmp_path / "rl.parquet", [rl()], RL_SCHEMA)]
    assert problems(*files) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: row["messages"].pop(), "a conversation cannot have the roles"),
        (lambda row: row["messages"].clear(), "a conversation cannot have the roles (none)"),
        (lambda row: row["messages"][1].update(role="tool"), "a conversation cannot have the roles"),
        (lambda row: row["messages"][3].update(content=None), "a message without role or content"),
        (lambda row: row["images"].pop(), "2 <image> for 1 pictures"),
        (lambda row: row["images"][1].update(bytes=b""), "picture 2 has no bytes"),
        (lambda row: row["images"][1].update(bytes=PICTURES[1][:-90]), "picture 2: not a readable picture"),
        (lambda row: row.update(tools="{"), "tools is no JSON list"),
        (lambda row: row.update(tools=json.dumps([{"name": "crop"}])), "tools is no JSON list"),
        (lambda row: row["messages"][2].update(content="Oslo"), "message 2: Found neither"),
        (lambda row: row["messages"][2].update(content=released.call("PythonInterpreter")), "there is no tool 'Python"),
        (lambda row: row["messages"][2].update(content=released.call("visit")), "visit is not among the row's tools"),
    ],
)
def test_a_fault_of_a_trajectory_is_found(tmp_path: Path, change: Callable[[Any], Any], problem: str) -> None:
    row = sft(pictures=PICTURES)
    change(row.values)
    found = problems(write(tmp_path / "sft.parquet", [sft(pictures=PICTURES), row]))
    assert any(problem in text for text in found)
    assert all("row 1: " in text for text in found)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (rl(prompt=[{"role": "assistant", "content": "<image>"}]), "a prompt cannot have the roles assistant"),
        (rl(prompt=[{"role": "user", "content": "Where?"}]), "0 <image> for 1 pictures"),
        (rl(reward_model={"style": "rule", "ground_truth": " "}), "reward_model.ground_truth is empty"),
        (rl(data_source=None), "data_source is missing"),
    ],
)
def test_a_fault_of_a_question_is_found(tmp_path: Path, row: Row, problem: str) -> None:
    found = problems(write(tmp_path / "rl.parquet", [row], RL_SCHEMA))
    assert any(problem in text for text in found)


def test_a_picture_of_two_splits_is_found(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", [rl(picture=PICTURES[0]), rl(picture=PICTURES[1])], RL_SCHEMA)
    val = write(tmp_path / "val.parquet", [rl(picture=PICTURES[1], split="val")], RL_SCHEMA)
    assert problems(train, val) == [f"{val}: row 0: a picture of val is also in train ({train}: row 1)"]


def test_a_file_of_another_kind_is_a_problem_and_no_end(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    pq.write_table(pa.table({"messages": ["text"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"question": ["text"]}), tmp_path / "c.parquet")
    bad = write(tmp_path / "d.parquet", [sft(pictures=[b"damaged"])])
    first, second, third, fourth = problems(*sorted(tmp_path.glob("*.parquet")))
    assert "a.parquet: not a readable parquet file" in first
    assert "the column messages must have role and content; it is string" in second
    assert "the column prompt must have role and content; it is missing" in third
    assert fourth.startswith(f"{bad}: row 0: picture 1")
