"""The released SFT data, imported."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.data.importer import Say
from osvl_plugins.data.pictures import peek
from osvl_plugins.data.report import Report
from osvl_plugins.data.sft import import_sft
from osvl_plugins.errors import OsvlError
from osvl_plugins.images import ImageSettings
from tests.data import released

COUNTS = {"fvqa": 11, "livevqa": 20, "wiki_art": 9}
SETTINGS = ImageSettings()
ROWS_PER_PART = 8
SCRIPT = f"""
import sys
from pathlib import Path
from osvl_plugins.data.sft import import_sft
from osvl_plugins.images import ImageSettings
import_sft(Path(sys.argv[1]), Path(sys.argv[2]), ImageSettings(), int(sys.argv[3]), print, {ROWS_PER_PART})
"""


def quiet(text: str) -> None:
    """Say nothing."""


def bring(path: Path, out: Path, jobs: int = 1, say: Say = quiet) -> Report:
    return import_sft(path, out, SETTINGS, jobs, say, ROWS_PER_PART)


def contents(out: Path) -> dict[str, str]:
    """A digest of every file."""
    files = sorted(file for file in out.rglob("*") if file.is_file())
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def rows_in(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(out.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def rejects_in(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    released.write_sft(folder, COUNTS)
    return folder


@pytest.fixture(scope="module")
def imported(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported")
    bring(hub, out)
    return out


def test_every_row_of_sound_data_is_kept_in_order(imported: Path) -> None:
    rows = rows_in(imported)
    assert [row["id"] for row in rows] == [f"{name}:{i}" for name, count in COUNTS.items() for i in range(count)]
    assert all(row["id"].startswith(row["subset"] + ":") for row in rows)
    assert rejects_in(imported) == []


def test_pictures_are_within_the_bound(imported: Path) -> None:
    sizes = [peek(image["bytes"]).size for row in rows_in(imported) for image in row["images"]]
    assert max(width * height for width, height in sizes) <= SETTINGS.max_pixels
    assert json.loads((imported / "report.json").read_text())["rows"]["fvqa"]["pictures"] == {
        "scaled": 4, "unchanged": 11,
    }  # fmt: skip


def test_row_groups_are_small(imported: Path) -> None:
    for file in imported.glob("*.parquet"):
        metadata = pq.read_metadata(file)
        assert max(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)) <= 8


def test_llama_factory_gets_the_same_rows_and_pictures_as_verl(imported: Path) -> None:
    info = json.loads((imported / "dataset_info.json").read_text())["osvl_search_vl_sft"]
    lines = [json.loads(line) for line in (imported / info["file_name"]).read_text("utf-8").splitlines()]
    roles = {"user": "human", "assistant": "gpt", "tool": "observation"}
    for line, row in zip(lines, rows_in(imported), strict=True):
        system, *messages = row["messages"]
        assert line[info["columns"]["system"]] == system["content"]
        assert line["tools"] == row["tools"]
        assert line["conversations"] == [{"from": roles[m["role"]], "value": m["content"]} for m in messages]
        assert [(imported / name).read_bytes() for name in line["images"]] == [
            image["bytes"] for image in row["images"]
        ]


@pytest.mark.parametrize("packed", [True, False])
def test_both_layouts_give_the_same_rows(imported: Path, tmp_path: Path, packed: bool) -> None:
    released.write_sft(tmp_path / "data", COUNTS, released.REPOSITORY_FILES, packed)
    bring(tmp_path / "data", tmp_path / "out")
    ours, theirs = contents(tmp_path / "out"), contents(imported)
    assert {**ours, "report.json": ""} == {**theirs, "report.json": ""}


def test_the_number_of_processes_changes_no_byte(hub: Path, imported: Path, tmp_path: Path) -> None:
    bring(hub, tmp_path, jobs=3)
    assert contents(tmp_path) == contents(imported)


def test_an_import_that_is_killed_again_and_again_ends_with_the_same_bytes(
    hub: Path, imported: Path, tmp_path: Path
) -> None:
    """Each run is killed a little after it has done something, at a moment of its own."""
    chance = random.Random(0)
    command = [sys.executable, "-c", SCRIPT, str(hub), str(tmp_path / "out")]
    for jobs in ("1", "2", "1", "2", "1"):
        process = subprocess.Popen([*command, jobs], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = process.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        if not said:
            break
    subprocess.run([*command, "2"], check=True, timeout=300, stdout=subprocess.DEVNULL)
    assert contents(tmp_path / "out") == contents(imported)


@settings(max_examples=30)
@given(after=st.integers(0, 200))
def test_an_import_that_is_stopped_at_any_file_ends_with_the_same_bytes(
    hub: Path, imported: Path, tmp_path_factory: pytest.TempPathFactory, after: int
) -> None:
    out = tmp_path_factory.mktemp("stopped")
    replace = Path.replace
    done = 0

    def stopping(self: Path, target: Path) -> Path:
        nonlocal done
        done += 1
        if done > after:
            raise KeyboardInterrupt
        return replace(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", stopping)
        with contextlib.suppress(KeyboardInterrupt):
            bring(hub, out)
    bring(hub, out)
    assert contents(out) == contents(imported)


def test_what_is_done_is_not_done_again(hub: Path, imported: Path, tmp_path: Path) -> None:
    said: list[str] = []
    report = bring(hub, tmp_path, say=said.append)
    assert len(said) == sum(-(-count // ROWS_PER_PART) for count in COUNTS.values())
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    again: list[str] = []
    assert bring(hub, tmp_path, say=again.append).to_dict() == report.to_dict()
    assert again == []
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}.items() <= before.items()


def test_a_file_that_was_lost_is_made_again(hub: Path, imported: Path, tmp_path: Path) -> None:
    bring(hub, tmp_path)
    (tmp_path / "fvqa-00000.parquet").unlink()
    bring(hub, tmp_path)
    assert contents(tmp_path) == contents(imported)


def test_a_folder_with_something_else_is_left_alone(hub: Path, tmp_path: Path) -> None:
    bring(hub, tmp_path / "done")
    with pytest.raises(OsvlError, match="holds a finished import of other data"):
        import_sft(hub, tmp_path / "done", ImageSettings(max_pixels=1000), 1, quiet, ROWS_PER_PART)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset_info.json").write_bytes(b"{}")
    with pytest.raises(OsvlError, match="data of another origin"):
        bring(hub, tmp_path / "other")

    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(hub, tmp_path / "begun", say=interrupt)
    with pytest.raises(OsvlError, match="holds an unfinished import of other data"):
        import_sft(hub, tmp_path / "begun", SETTINGS, 1, quiet, rows_per_part=5)


def test_two_imports_do_not_write_to_one_folder(hub: Path, tmp_path: Path) -> None:
    def nested(text: str) -> None:
        with pytest.raises(OsvlError, match="another import is writing"):
            bring(hub, tmp_path)

    bring(hub, tmp_path, say=nested)


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "roles": lambda row: row["conversations"].pop(),
    "wrong_fields": lambda row: row["conversations"][0].pop("value"),
    "image_count": lambda row: row["images"].append("images/x.jpg"),
    "picture_missing": lambda row: row["images"].__setitem__(0, "images/none.jpg"),
    "picture_unreadable": lambda row: row["images"].__setitem__(0, "images/damaged.jpg"),
    "picture_too_large": lambda row: row["images"].__setitem__(0, "images/giant.png"),
    "tools": lambda row: row.update(tools="{"),
    "not_unicode": lambda row: row.update(system="\ud800"),
}


@settings(max_examples=25)
@given(faults=st.lists(st.sampled_from([None, None, "bad_json", *FAULTS]), min_size=1, max_size=20))
def test_every_row_is_kept_or_rejected_once_and_for_its_reason(
    tmp_path_factory: pytest.TempPathFactory, faults: list[str | None]
) -> None:
    folder = tmp_path_factory.mktemp("faulty")
    rows, pictures = released.sft_rows("fvqa", len(faults))
    pictures["images/damaged.jpg"] = released.picture(0, (99, 99))[:400]
    pictures["images/giant.png"] = GIANT
    texts = []
    for row, fault in zip(rows, faults, strict=True):
        row = copy.deepcopy(row)
        if fault in FAULTS:
            FAULTS[fault](row)
        text = json.dumps(row)
        texts.append(text.replace("}, {", "}; {", 1) if fault == "bad_json" else text)
    file = folder / released.HUB_FILES["fvqa"]
    file.parent.mkdir()
    file.write_text(f"[{','.join(texts)}]", "utf-8")
    released.write_zip(file.parent / "images.zip", pictures)
    report = bring(folder, folder / "out")
    kept = [row["id"] for row in rows_in(folder / "out")]
    rejected = {reject["id"]: reject["reason"] for reject in rejects_in(folder / "out")}
    assert kept == [f"fvqa:{number}" for number, fault in enumerate(faults) if fault is None]
    assert rejected == {f"fvqa:{number}": fault for number, fault in enumerate(faults) if fault}
    assert len(rejects_in(folder / "out")) == len(rejected)
    assert (report.kept, report.rejected) == (len(kept), len(rejected))


GIANT = released.picture(0, (8000, 6000), "PNG")


def test_of_a_cut_archive_the_rows_with_whole_pictures_are_kept(hub: Path, tmp_path: Path) -> None:
    released.write_sft(tmp_path / "data", {"livevqa": 20})
    file = tmp_path / "data" / "livevqa" / "images.zip"
    with zipfile.ZipFile(file) as archive:
        cut = archive.infolist()[10].header_offset + 40
    os.truncate(file, cut)
    said: list[str] = []
    report = bring(tmp_path / "data", tmp_path / "out", say=said.append)
    assert "images.zip: File is not a zip file; 10 entries could be found from its start" in said[0]
    assert report["livevqa"].rejected == {"picture_missing": 20 - report.kept}
    assert 0 < report.kept < 20


def test_nothing_kept_is_an_end_too(tmp_path: Path) -> None:
    released.write_list(tmp_path / "fvqa.json", [{"conversations": []}])
    report = bring(tmp_path, tmp_path / "out")
    assert (report.kept, report.rejected) == (0, 1)
    assert list((tmp_path / "out").glob("*.parquet")) == []


def test_imported_rows_are_what_the_trainer_reads(imported: Path, tmp_path: Path) -> None:
    pytest.importorskip("verl")
    from osvl_plugins.verl.sft_dataset import ConversationDataset
    from tests.tiny import load_tiny

    processor = load_tiny(tmp_path).processor
    config = {"max_length": 100_000, "max_pixels": 50_000}
    dataset = ConversationDataset(str(imported / "*.parquet"), processor.tokenizer, config, processor)
    assert len(dataset) == sum(COUNTS.values())
    for number in (0, 1, len(dataset) - 1):
        item = dataset[number]
        trained = processor.tokenizer.decode(item["input_ids"][item["loss_mask"].bool()])
        assert "<tool_call>" in trained
        assert "<observation>" not in trained
        assert len(item["multi_modal_inputs"]["image_grid_thw"]) == len(rows_in(imported)[number]["images"])
