"""The model's folder: what kind of model lies in it, and whether anything is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from osvl_plugins.architectures import KNOWN, Architecture, from_config, named, parameters
from osvl_plugins.memory import GIB
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.plan import Plan

TOKENIZERS = ("tokenizer.json", "vocab.json", "tokenizer.model")
PROCESSORS = ("preprocessor_config.json", "processor_config.json")


class Model(NamedTuple):
    """What is known: the sizes, or None; and what was found."""

    sizes: Architecture | None
    findings: list[Finding]


def check_model(plan: Plan, recipe: str) -> Model:
    """Look into the folder; where there is none, sizes come from the name in the path, or in the recipe's."""
    path, name = plan.model_path, f"{plan.model_setting}.path"
    folder = Path(path).expanduser()
    if folder.is_dir():
        return _inside(folder, name)
    known = named(path) or named(recipe)
    sizes = KNOWN[known] if known else None
    if not path.startswith((".", "/", "~")) and path.count("/") == 1:
        said = f"{path} is no folder here, so it is a name on a hub, fetched when the run starts"
        found = Finding("warning", name, said, f"hf download {path}, or {name}=FOLDER")
    else:
        found = Finding("error", name, f"{path} is no folder", _where(plan, name))
    if known:
        return Model(sizes, [found, Finding("ok", "sizes", f"those of {known}, by its name")])
    return Model(
        None, [found, Finding("warning", "sizes", "unknown, so nothing is estimated", "name the model's folder")]
    )


def _where(plan: Plan, name: str) -> str:
    if plan.get("sft_checkpoint") is not None:
        return "sft_checkpoint=FOLDER, or the environment variable OSVL_SFT_CHECKPOINT"
    return f"{name}=FOLDER"


def _inside(folder: Path, name: str) -> Model:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sizes = from_config(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = f"{folder / 'config.json'} cannot be read: {type(error).__name__}: {error}"
        return Model(None, [Finding("error", name, said, "name the folder of a whole model")])
    found = []
    kind = ", ".join(config.get("architectures") or [str(config.get("model_type"))])
    if sizes is None:
        found.append(Finding("warning", "sizes", f"{kind} is none that can be estimated"))
    files = list(folder.glob("*.safetensors")) + list(folder.glob("*.bin"))
    size = sum(file.stat().st_size for file in files)
    count = f", {parameters(sizes).total / 1e9:,.2f} B parameters" if sizes else ""
    said = f"{folder}: {kind}{count}, {size / GIB:,.2f} GiB in {len(files)} files"
    found.insert(0, Finding("ok" if files else "error", name, said, "" if files else "no weights lie in it"))
    found += _missing_shards(folder)
    for what, names in (("tokenizer", TOKENIZERS), ("processor", PROCESSORS)):
        if not any((folder / file).exists() for file in names):
            remedy = "copy it from the model that this one was made from"
            found.append(Finding("error", what, f"none of {', '.join(names)} is in {folder}", remedy))
    return Model(sizes, found)


def _missing_shards(folder: Path) -> list[Finding]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return []
    named_files = set(json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values())
    missing = sorted(file for file in named_files if not (folder / file).exists())
    if not missing:
        return []
    return [Finding("error", "weights", f"{len(missing)} of {len(named_files)} files are missing, {missing[0]} first")]
