from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.architectures import KNOWN, lora_parameters, parameters
from osvl_plugins.memory import Layout, Training
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.places import check_places, checkpoint_bytes
from osvl_plugins.preflight.plan import Plan

MODEL = KNOWN["Qwen3-VL-8B"]
FULL = Training(Layout("fsdp2", 8, 8), tokens=1)


def plan(folder: Path, **more: Any) -> Plan:
    checkpoint = {"save_contents": ["model", "optimizer", "extra", "hf_model"], **more.pop("checkpoint", {})}
    settings = {
        "trainer": {"default_local_dir": str(folder)},
        "actor_rollout_ref": {"actor": {"checkpoint": checkpoint}},
    }
    return Plan({**settings, **more}, rl=True)


def levels(found: list[Finding]) -> dict[str, str]:
    return {each.name: each.level for each in found}


def test_a_folder_that_is_yet_to_be_made_is_judged_by_its_parent(tmp_path: Path) -> None:
    assert levels(check_places(plan(tmp_path / "a/b/c"), None, None)) == {"trainer.default_local_dir": "ok"}


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert levels(check_places(plan(tmp_path / "file/out"), None, None)) == {"trainer.default_local_dir": "error"}


def test_a_disk_without_room_for_the_checkpoints_is_a_warning(tmp_path: Path) -> None:
    many = plan(tmp_path, trainer={"default_local_dir": str(tmp_path), "max_actor_ckpt_to_keep": 10**6})
    assert levels(check_places(many, MODEL, FULL)) == {"trainer.default_local_dir": "warning"}


def test_a_full_checkpoint_has_fourteen_bytes_a_parameter(tmp_path: Path) -> None:
    assert checkpoint_bytes(plan(tmp_path), MODEL, FULL) == 14 * parameters(MODEL).total


def test_adapters_alone_are_twelve_bytes_each(tmp_path: Path) -> None:
    only = plan(tmp_path, checkpoint={"save_contents": ["model", "optimizer"], "save_lora_only": True})
    adapted = Training(Layout("fsdp2", 8, 8), tokens=1, lora_rank=16)
    assert checkpoint_bytes(only, MODEL, adapted) == 12 * lora_parameters(MODEL, 16)


@pytest.mark.parametrize(
    ("mode", "there", "level"),
    [("replay", True, "ok"), ("replay", False, "error"), ("cache", False, "ok"), ("record", True, "ok")],
)
def test_recordings_must_be_there_to_be_replayed(tmp_path: Path, mode: str, there: bool, level: str) -> None:
    folder = tmp_path / "recordings"
    if there:
        folder.mkdir()
    services = {"recording": {"mode": mode, "folder": str(folder)}}
    found = levels(check_places(plan(tmp_path, osvl={"services": services}), None, None))
    assert found["osvl.services.recording.folder"] == level
