from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from osvl_plugins.architectures import KNOWN
from osvl_plugins.preflight.model_folder import Model, check_model
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.tiny import TinyShape, build_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shape = TinyShape(128, 2, 4, 128, vision_hidden=32, pieces=300, max_positions=512)
    build_tiny(tmp_path / "model", ["What is the capital of Norway?"] * 20, ["crop"], ["capital"], shape)
    return tmp_path / "model"


def check(path: Path | str, recipe: str = "mine") -> Model:
    config = {"sft_checkpoint": str(path), "actor_rollout_ref": {"model": {"path": str(path)}}}
    return check_model(Plan(config, rl=True), recipe)


def test_a_whole_model_is_described_by_its_own_sizes(folder: Path) -> None:
    model = check(folder)
    assert [found.level for found in model.findings] == ["ok"]
    assert model.sizes is not None
    assert model.sizes.hidden == 128


def test_a_missing_folder_names_the_setting_and_the_sizes_come_from_its_name() -> None:
    model = check("/nowhere/Qwen3-VL-8B-Instruct")
    assert model.sizes == KNOWN["Qwen3-VL-8B"]
    assert model.findings[0].name == "actor_rollout_ref.model.path"
    assert model.findings[0].level == "error"
    assert "OSVL_SFT_CHECKPOINT" in model.findings[0].remedy


def test_a_name_on_a_hub_is_a_warning() -> None:
    model = check("Qwen/Qwen3-VL-2B-Instruct")
    assert model.findings[0].level == "warning"
    assert model.sizes == KNOWN["Qwen3-VL-2B"]


def test_a_recipes_own_name_says_the_sizes_where_the_path_does_not() -> None:
    assert check("/nowhere/model", "osvl_qwen3_vl_32b").sizes == KNOWN["Qwen3-VL-32B"]
    assert check("/nowhere/model").sizes is None


@pytest.mark.parametrize(
    ("file", "what"),
    [("tokenizer.json", "tokenizer"), ("processor_config.json", "processor"), ("model.safetensors", "weights")],
)
def test_a_part_that_is_missing_is_an_error(folder: Path, file: str, what: str) -> None:
    (folder / file).unlink()
    assert any(found.level == "error" and what in found.name + found.remedy for found in check(folder).findings)


def test_missing_files_of_an_index_are_counted(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert any("1 of 2 files are missing" in found.detail for found in check(folder).findings)


def test_a_config_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    model = check(folder)
    assert [found.level for found in model.findings] == ["error"]
