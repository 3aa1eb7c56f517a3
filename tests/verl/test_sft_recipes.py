"""The SFT recipes: what stock verl makes of them, and two steps of each with the tiny model."""

from __future__ import annotations

import io
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import verl.trainer
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from osvl_plugins.curation.rows import SFT_SCHEMA
from osvl_plugins.launch import run_logged
from tests.agents import answer, call
from tests.tiny import load_tiny

MODELS = {
    "osvl_qwen3_vl_8b_sft": "Qwen/Qwen3-VL-8B-Instruct",
    "osvl_qwen3_vl_30b_a3b_sft": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "osvl_qwen3_vl_32b_sft": "Qwen/Qwen3-VL-32B-Instruct",
}
CONFIGS = str(Path(verl.trainer.__file__).parent / "config")


def composed(recipe: str | None, *overrides: str) -> Any:
    """What ``sft_trainer --config-name RECIPE`` composes; None: verl's own config."""
    with initialize_config_dir(CONFIGS, version_base=None):
        return compose(recipe or "sft_trainer_engine", list(overrides))


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OSVL_HOME", "/home")
    return str(request.param)


def keys(node: Any, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key in node:
        found.add(f"{prefix}{key}")
        if OmegaConf.is_dict(node) and OmegaConf.is_dict(value := node._get_node(key)):
            found |= keys(value, f"{prefix}{key}.")
    return found


def test_a_recipe_adds_its_own_settings_and_no_key_that_verl_does_not_know(name: str) -> None:
    added = keys(composed(name)) - keys(composed(None))
    # The dataset reads max_pixels; verl's dataclass has mixed_precision, which its file leaves out.
    assert {key for key in added if not key.startswith("engine.mixed_precision")} == {"osvl_home", "data.max_pixels"}


def test_verl_accepts_every_group_of_a_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    # The model's folder is read when its group becomes a dataclass.
    load_tiny(tmp_path / "base")
    config = composed(name, f"model.path={tmp_path / 'base'}", "model.override_config={}")
    engine = omega_conf_to_dataclass(config.engine)
    optim = omega_conf_to_dataclass(config.optim)
    model = omega_conf_to_dataclass(config.model)
    checkpoint = omega_conf_to_dataclass(config.checkpoint)
    assert (engine.strategy, engine.reshard_after_forward, engine.fsdp_size) == ("fsdp2", True, -1)
    assert (optim.lr, optim.lr_scheduler_type, optim.lr_warmup_steps_ratio) == (2e-5, "cosine", 0.1)
    assert model.enable_gradient_checkpointing
    assert model.lora_rank == 0
    assert "hf_model" in checkpoint.save_contents


def test_a_recipe_has_the_values_of_the_paper(name: str) -> None:
    config = composed(name)
    assert config.model.path == MODELS[name]
    assert (config.data.max_length, config.data.max_pixels, config.data.train_batch_size) == (32_000, 262_144, 256)
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node == 256
    assert config.trainer.total_epochs == 8


def test_the_recipes_differ_in_the_model_and_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = []
    for name in MODELS:
        config = composed(name, "model.path=-", "trainer.experiment_name=-")
        plain.append(OmegaConf.to_container(config))
    assert plain[0] == plain[1] == plain[2]


def test_the_rl_recipe_of_the_same_model_starts_from_what_the_sft_recipe_leaves(name: str) -> None:
    sft = composed(name)
    with initialize_config_dir(CONFIGS, version_base=None):
        rl = compose(name.removesuffix("_sft"))
    assert sft.trainer.default_local_dir == f"/home/sft/{name}/checkpoints"
    assert rl.actor_rollout_ref.model.path == f"/home/sft/{name}/model"


def test_the_data_lies_where_the_import_writes_it(name: str) -> None:
    assert composed(name).data.train_files == "/home/data/sft/*.parquet"


def write_rows(path: Path, count: int) -> None:
    """Conversations with two pictures and one call, of different lengths."""
    draw = random.Random(0)
    rows = []
    for _ in range(count):
        pictures = []
        for size in ((64, 64), (32, 64)):
            buffer = io.BytesIO()
            Image.new("RGB", size, tuple(draw.randrange(256) for _ in range(3))).save(buffer, "PNG")
            pictures.append({"bytes": buffer.getvalue()})
        words = " ".join(draw.choices("abcdefgh", k=draw.randint(5, 40)))
        messages = [
            {"role": "system", "content": "Tools:"},
            {"role": "user", "content": f"<image>{words}"},
            {"role": "assistant", "content": call("crop", image="img_1")},
            {"role": "tool", "content": "<image><observation>img_2</observation>"},
            {"role": "assistant", "content": answer(words)},
        ]
        tools = [{"type": "function", "function": {"name": "crop", "parameters": {}}}]
        rows.append({"messages": messages, "images": pictures, "tools": json.dumps(tools)})
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SFT_SCHEMA), path, row_group_size=2)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", MODELS)
def test_two_steps_leave_a_model_that_transformers_loads_from_where_the_rl_recipe_looks(
    recipe: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    load_tiny(tmp_path / "base")
    write_rows(tmp_path / "data" / "sft" / "part-0.parquet", 8)
    steps: dict[int, dict[str, float]] = {}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    command += ["-m", "verl.trainer.sft_trainer", "--config-name", recipe, "+osvl/scale=tiny_sft"]
    environment = {"OSVL_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run_logged(command, tmp_path / "log.txt", 500, environment, lambda step, metrics: steps.update({step: metrics}))
    assert set(steps) == {1, 2}
    assert all(math.isfinite(metrics["train/loss"]) for metrics in steps.values())

    link = "ln -sfn checkpoints/global_step_$(cat checkpoints/latest_checkpointed_iteration.txt)/huggingface model"
    subprocess.run(link, shell=True, check=True, cwd=tmp_path / "sft" / recipe, timeout=10)
    trained = AutoModelForImageTextToText.from_pretrained(tmp_path / "sft" / recipe / "model").state_dict()
    assert AutoProcessor.from_pretrained(tmp_path / "sft" / recipe / "model").image_processor is not None
    before = AutoModelForImageTextToText.from_pretrained(tmp_path / "base").state_dict()
    assert trained.keys() == before.keys()
    changed = {key for key, value in before.items() if not torch.equal(value.float(), trained[key].float())}
    # All parameters train, the vision tower's and the projector's among them.
    assert any("visual.blocks" in key for key in changed)
    assert any("visual.merger" in key for key in changed)
    assert any("language_model.layers" in key for key in changed)
