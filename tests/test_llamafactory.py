"""LLaMA-Factory itself reads the recipes and tokenises imported rows. ``make test-llamafactory`` sets it up."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

if "LLAMAFACTORY_PYTHON" not in os.environ:
    pytest.skip(
        "LLAMAFACTORY_PYTHON names no interpreter that has LLaMA-Factory; `make test-llamafactory` sets one up",
        allow_module_level=True,
    )
pytest.importorskip("verl")

from PIL import Image
from verl.utils import hf_processor

from osvl_plugins.data.sft import import_sft
from osvl_plugins.images import ImageSettings
from osvl_plugins.verl.sft_dataset import ConversationDataset
from tests.agents import answer, call
from tests.tiny import load_tiny
from tests.wires import QWEN3_VL

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "osvl_plugins" / "recipes" / "llamafactory"
MODELS = {
    "osvl_qwen3_vl_8b": "Qwen/Qwen3-VL-8B-Instruct",
    "osvl_qwen3_vl_30b_a3b": "Qwen/Qwen3-VL-30B-A3B-Instruct",
    "osvl_qwen3_vl_32b": "Qwen/Qwen3-VL-32B-Instruct",
}
TOOLS = [
    {"name": "crop", "description": "Cut “out”.", "parameters": {"type": "object", "properties": {}}},
    {"type": "function", "function": {"name": "text_search", "description": "Look up", "parameters": {}}},
]


def ask(folder: Path, what: str, *arguments: str) -> Any:
    """What the child process answers to ``what``."""
    child, out = ROOT / "tests" / "llamafactory_child.py", folder / "out.json"
    command = [os.environ["LLAMAFACTORY_PYTHON"], str(child), what, str(out), *arguments]
    # It refuses DeepSpeed outside of a distributed launch, which these variables stand for.
    launch = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531"}
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **launch, **offline}
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("settings")
    answered = ask(folder, "settings", *(str(RECIPES / f"{name}.yaml") for name in MODELS))
    return {Path(recipe).stem: values for recipe, values in answered.items()}


@pytest.mark.parametrize("name", MODELS)
def test_its_parser_takes_the_values_of_the_paper(read: dict[str, Any], name: str) -> None:
    model, data, training, tuning = (read[name][group] for group in ("model", "data", "training", "tuning"))
    assert (model["model_name_or_path"], model["image_max_pixels"]) == (MODELS[name], 262_144)
    assert (tuning["stage"], tuning["finetuning_type"]) == ("sft", "full")
    assert not tuning["freeze_vision_tower"]
    assert not tuning["freeze_multi_modal_projector"]
    assert data["cutoff_len"] == 32_000
    assert (training["learning_rate"], training["lr_scheduler_type"]) == (2e-5, "cosine")
    assert (training["num_train_epochs"], training["bf16"], training["gradient_checkpointing"]) == (8, True, True)
    assert training["per_device_train_batch_size"] * training["gradient_accumulation_steps"] == 1
    assert (read[name]["zero_stage"], read[name]["ray"]["ray_num_workers"]) == (3, 256)


@pytest.mark.parametrize("name", MODELS)
def test_it_writes_the_model_where_the_rl_recipe_looks(read: dict[str, Any], name: str) -> None:
    assert read[name]["training"]["output_dir"] == f"sft/{name}_sft/model"


def test_the_recipes_differ_in_the_model_and_where_it_is_written() -> None:
    def common(name: str) -> list[str]:
        lines = (RECIPES / f"{name}.yaml").read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "model_name_or_path:", "output_dir:"))]

    first, second, third = map(common, MODELS)
    assert first == second == third


def write_release(folder: Path) -> None:
    """Two rows as they are released: one that makes pictures, and one with a turn without a thought and no tools."""
    pictures = {"a.png": (640, 480), "b.png": (64, 48), "c.png": (48, 64)}
    for name, size in pictures.items():
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, "PNG")
        (folder / name).write_bytes(buffer.getvalue())
    made = [
        {"from": "human", "value": "<image>Which river is it?\n"},
        {"from": "gpt", "value": call("crop", image="img_1")},
        {"from": "observation", "value": "<image><observation>New image ID: img_3.</observation>"},
        {"from": "gpt", "value": call("text_search", q="Þjórsá 河")},
        {"from": "observation", "value": "<observation>\n[Passage 1]\nTitle: Þjórsá\n</observation>"},
        {"from": "gpt", "value": answer("\\boxed{Þjórsá}")},
    ]
    short = [{"from": "human", "value": "<image>Who?"}, {"from": "gpt", "value": "<response>She.</response>"}]
    rows = [
        {"conversations": made, "images": ["a.png", "b.png"], "system": "Think first.", "tools": json.dumps(TOOLS)},
        {"conversations": short, "images": ["c.png"], "system": "", "tools": ""},
    ]
    (folder / "fvqa.json").write_text(json.dumps(rows, ensure_ascii=False))


def test_it_trains_the_tokens_that_the_verl_recipe_trains(tmp_path: Path) -> None:
    release, data, model = tmp_path / "release", tmp_path / "data", tmp_path / "model"
    release.mkdir()
    write_release(release)
    import_sft(release, data, ImageSettings(), 1, lambda message: None)
    load_tiny(model)
    paths = [f"model_name_or_path={model}", f"dataset_dir={data}", f"output_dir={tmp_path / 'saved'}"]
    workers = ["preprocessing_num_workers=1", "dataloader_num_workers=0"]
    factory = ask(tmp_path, "tokens", str(RECIPES / "osvl_qwen3_vl_8b.yaml"), *paths, *workers)

    processor = hf_processor(str(model))
    processor.chat_template = QWEN3_VL
    config = {"max_length": 32_000, "max_pixels": 262_144}
    ours = ConversationDataset(str(data / "*.parquet"), processor.tokenizer, config, processor)
    newline = processor.tokenizer("\n", add_special_tokens=False)["input_ids"]
    assert len(factory) == len(ours) == 2
    for theirs, item in zip(factory, ours, strict=True):
        ids, written = item["input_ids"].tolist(), item["loss_mask"].bool().tolist()
        # Its turns end with the newline after <|im_end|>, and it trains that too.
        assert theirs["input_ids"] == ids + newline
        newlines = [before and not now for before, now in itertools.pairwise([False, *written, False])]
        trained = [label >= 0 for label in theirs["labels"]]
        assert trained == [turn or end for turn, end in zip([*written, False], newlines, strict=True)]
