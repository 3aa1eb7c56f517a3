"""The folders that a run reads and writes: are they there, can they be written, is there room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from osvl_plugins.architectures import Architecture, lora_parameters, parameters
from osvl_plugins.memory import BF16, GIB, Training
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.plan import Plan


def check_places(plan: Plan, model: Architecture | None, training: Training | None) -> list[Finding]:
    """Output folder, room for checkpoints, and the folder of recordings where the run replays or caches services."""
    return [*_output(plan, model, training), *_recordings(plan)]


def _output(plan: Plan, model: Architecture | None, training: Training | None) -> list[Finding]:
    name, folder = "trainer.default_local_dir", plan.output
    there = _existing(folder)
    if not os.access(there, os.W_OK) or not there.is_dir():
        return [Finding("error", name, f"{folder}: {there} is no folder that can be written", f"set {name}")]
    if model is None or training is None:
        return [Finding("ok", name, f"{folder} can be written")]
    each = checkpoint_bytes(plan, model, training)
    keep = plan.get("trainer.max_actor_ckpt_to_keep" if plan.rl else "trainer.max_ckpt_to_keep")
    free = shutil.disk_usage(there).free
    # A new one is written before the oldest is removed.
    needed = each * (int(keep) + 1) if keep else each
    said = f"{folder}: a checkpoint has {each / GIB:,.1f} GiB, " + (
        f"{keep} are kept" if keep else "all are kept"
    ) + f"; {free / GIB:,.1f} GiB are free"  # fmt: skip
    if needed > free:
        limit = "trainer.max_actor_ckpt_to_keep" if plan.rl else "trainer.max_ckpt_to_keep"
        return [Finding("warning", name, said, f"{name} on a larger disk, or {limit}=1")]
    return [Finding("ok", name, said)]


def checkpoint_bytes(plan: Plan, model: Architecture, training: Training) -> float:
    """Of one checkpoint, by what ``save_contents`` names; a LoRA's optimizer has only the adapters' state."""
    group = "actor_rollout_ref.actor.checkpoint" if plan.rl else "checkpoint"
    total = parameters(model).total
    adapters = lora_parameters(model, training.lora_rank, training.lora_vision) if training.lora_rank else 0
    megatron = training.layout.engine == "megatron"
    kept = adapters if adapters and plan.get(f"{group}.save_lora_only", False) else total + adapters
    sizes = {
        "model": kept * (BF16 if megatron else training.stored),
        "optimizer": (adapters or total) * (12 if megatron else 2 * training.stored),
        "hf_model": total * BF16,
    }
    return float(sum(sizes.get(part, 0) for part in plan.get(f"{group}.save_contents", [])))


def _recordings(plan: Plan) -> list[Finding]:
    mode, name = plan.get("osvl.services.recording.mode", "live"), "osvl.services.recording.folder"
    folder = Path(str(plan.get(name, ""))).expanduser()
    if mode == "live":
        return []
    if not plan.get(name):
        return [Finding("error", name, f"is empty, and the mode is {mode}", f"set {name}")]
    if mode == "replay" and not folder.is_dir():
        return [Finding("error", name, f"{folder} is no folder, and the run replays from it", "record it first")]
    if not os.access(_existing(folder), os.W_OK) and mode != "replay":
        return [Finding("error", name, f"{folder} cannot be written", f"set {name}")]
    return [Finding("ok", name, f"{folder}, mode {mode}")]


def _existing(folder: Path) -> Path:
    """The nearest parent that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())
