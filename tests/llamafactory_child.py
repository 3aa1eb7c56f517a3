"""Run by the interpreter that has LLaMA-Factory: what it makes of a recipe, and of data, as JSON.

    python llamafactory_child.py settings OUT RECIPE…
    python llamafactory_child.py tokens OUT RECIPE KEY=VALUE…

A recipe is read as ``llamafactory-cli train`` reads it. ``use_cpu`` is added, without which transformers refuses
bfloat16 on a machine that has no GPU.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from osvl_plugins import torchvision_ops

torchvision_ops.allow_missing()
# LLaMA-Factory imports it for sounds, of which there are none here; its builds need the torch that they were made with.
sys.modules["torchaudio"] = ModuleType("torchaudio")
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from llamafactory.hparams import get_ray_args, get_train_args  # noqa: E402


def parsed(*arguments: str) -> tuple[Any, ...]:
    sys.argv = ["llamafactory-cli", *arguments, "use_cpu=true"]
    return tuple(get_train_args())


def settings(recipe: str) -> dict[str, Any]:
    model, data, training, tuning, _ = parsed(recipe)
    values = {
        "model": vars(model), "data": vars(data), "training": training.to_dict(), "tuning": vars(tuning),
        "ray": vars(get_ray_args()), "zero_stage": training.hf_deepspeed_config.config["zero_optimization"]["stage"],
    }  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def tokens(*arguments: str) -> list[dict[str, list[int]]]:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    model, data, training, _, _ = parsed(*arguments)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    rows = get_dataset(template, model, data, training, stage="sft", **loaded)["train_dataset"]
    return [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]


if __name__ == "__main__":
    what, out, *rest = sys.argv[1:]
    result: Any = {recipe: settings(recipe) for recipe in rest} if what == "settings" else tokens(*rest)
    Path(out).write_text(json.dumps(result))
