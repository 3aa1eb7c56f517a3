"""Exported data: complete, on two sides, as trainers read it, and free of what was rejected."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from osvl_plugins.curation.stages.export import SPLITS, ExportSettings
from osvl_plugins.data.sharegpt import read_conversation
from osvl_plugins.protocol import parse_turn
from osvl_plugins.wire import build_wire
from tests.curation.conftest import Run


@pytest.fixture(scope="module")
def out(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.export(tmp_path_factory.mktemp("export") / "out")


def table(out: Path, kind: str, split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / f"{kind}-{split}.parquet").to_pylist()
    return rows


def lines(file: Path) -> Iterator[Any]:
    return map(json.loads, file.read_text("utf-8").splitlines())


def test_each_side_has_the_questions_and_the_examples_of_its_rows(run: Run, out: Path) -> None:
    for split in SPLITS:
        rows = [row for row in run.rows() if row.split == split]
        assert rows
        asked = table(out, "rl", split)
        assert [row["prompt"][0]["content"] for row in asked] == [f"<image>{row.question}" for row in rows]
        assert [row["reward_model"]["ground_truth"] for row in asked] == [list(row.accepted) for row in rows]
        assert [row["images"][0]["bytes"] for row in asked] == [row.image for row in rows]
        shown = [row["id"] for row in table(out, "sft", split)]
        assert shown == [row.id for row in rows if row.trajectories]
        assert shown


def test_nothing_that_was_rejected_is_exported(run: Run, out: Path) -> None:
    rejected = {
        reject.id for stage in ("question", "rewrite", "ground", "filter") for reject in run.folder.rejects(stage)
    }
    unseen = {reject.id for reject in run.folder.rejects("trajectories")}
    assert rejected
    assert unseen
    asked = {credit["id"] for credit in lines(out / "credits.jsonl")}
    shown = {row["id"] for split in SPLITS for row in table(out, "sft", split)}
    assert not rejected & asked
    assert not (rejected | unseen) & shown
    assert unseen <= asked


def test_no_picture_and_no_question_is_on_both_sides(out: Path) -> None:
    train, held_out = (
        {value for row in table(out, "rl", split) for value in (row["images"][0]["bytes"], row["prompt"][0]["content"])}
        for split in SPLITS
    )
    assert not train & held_out


@pytest.mark.parametrize("wire", ["native", "sft", "rl", "infer"])
def test_examples_say_in_every_profile_what_it_reads_and_show_every_picture(
    run: Run, tmp_path: Path, wire: Any
) -> None:
    dated = {"date": "2026-01-31"} if wire == "rl" else {}
    rows = table(run.export(tmp_path / "out", wire=wire, **dated), "sft", "train")
    for row in rows:
        said = [message for message in row["messages"] if message["role"] == "assistant"]
        parsed = [build_wire(wire).parse(message["content"]) for message in said]
        assert all(turn.call for turn in parsed[:-1])
        assert ("boxed" in str(parsed[-1].answer)) == (wire != "native")
        assert sum(message["content"].count("<image>") for message in row["messages"]) == len(row["images"])


def test_the_files_hold_what_trainers_check(run: Run, out: Path) -> None:
    rows = [json.loads(line) for split in SPLITS for line in (out / f"sharegpt-{split}.jsonl").open("rb")]
    assert len(rows) == sum(bool(row.trajectories) for row in run.rows())
    for row in rows:
        conversation = read_conversation(row, max_images=32)
        assert conversation.warnings == ()
        assert all(Image.open(out / name).size for name in row["images"])
    info = json.loads((out / "dataset_info.json").read_text())
    assert sorted(info) == ["osvl_curated_held_out", "osvl_curated_train"]
    assert all((out / entry["file_name"]).exists() for entry in info.values())


def test_a_repaired_picture_is_in_the_example_as_the_tool_made_it(run: Run, out: Path) -> None:
    repaired = {row.id for row in run.rows() if row.repair and row.trajectories}
    assert repaired
    for row in (row for split in SPLITS for row in table(out, "sft", split) if row["id"] in repaired):
        first, second = (Image.open(io.BytesIO(image["bytes"])) for image in row["images"][:2])
        assert first.tobytes() != second.tobytes()


def test_every_picture_has_its_source_and_its_licence(run: Run, out: Path) -> None:
    credits = list(lines(out / "credits.jsonl"))
    assert [credit["image"] for credit in credits] == [hashlib.sha256(row.image).hexdigest() for row in run.rows()]
    assert all(credit["source"] and credit["licence"] for credit in credits)


def test_the_same_rows_give_the_same_bytes(run: Run, out: Path, tmp_path: Path) -> None:
    again = run.export(tmp_path / "out")
    files = sorted(file.relative_to(out) for file in out.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(again) for file in again.rglob("*") if file.is_file())
    assert all((out / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_the_answers_of_examples_are_accepted(run: Run, out: Path) -> None:
    accepted = {row.id: row.accepted for row in run.rows()}
    for row in table(out, "sft", "train"):
        assert parse_turn(row["messages"][-1]["content"]).answer in accepted[row["id"]]


def test_the_card_counts_what_is_there_and_why_the_rest_is_not(run: Run, out: Path) -> None:
    card = json.loads((out / "card.json").read_text("utf-8"))
    for split in SPLITS:
        assert card["splits"][split]["questions"] == len(table(out, "rl", split))
        assert card["splits"][split]["examples"] == len(table(out, "sft", split))
    assert card["stages"]["filter"]["rejected"] == {"no_tools": 1}
    assert card["graph"]["fingerprint"] == run.graph.fingerprint
    assert card["anchors on both sides"] == 0
    text = (out / "card.md").read_text("utf-8")
    assert run.graph.fingerprint in text
    assert all(licence in text for licence in card["splits"]["train"]["licences"])
    assert "no_tools 1" in text


@pytest.mark.parametrize("settings", [{"wire": "rl"}, {"wire": "native", "date": "2026-01-31"}])
def test_a_day_goes_with_the_profile_that_names_one(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="date goes with the wire profile rl"):
        ExportSettings.model_validate(settings)
