"""Sizes of the models that the recipes train, and the number of parameters that follows from them.

The layers are those of transformers' ``Qwen3VLForConditionalGeneration`` and ``Qwen3VLMoeForConditionalGeneration``;
the sizes in ``KNOWN`` are those of the published ``config.json`` files. A model's own ``config.json`` goes first:
``from_config`` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Vision:
    """The vision tower: ``deepstack`` is the number of layers whose features enter the language model directly."""

    depth: int
    hidden: int
    mlp: int
    heads: int
    deepstack: int = 3
    positions: int = 2304
    patch: int = 16
    temporal_patch: int = 2
    merge: int = 2
    channels: int = 3


@dataclass(frozen=True)
class Architecture:
    """A Qwen3-VL. ``experts`` is 0 for a dense one; of a mixture each layer has ``experts`` MLPs of ``expert_mlp``."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vision: Vision
    tied: bool = False
    head_dim: int = 128
    vocabulary: int = 151_936
    positions: int = 262_144
    experts: int = 0
    experts_per_token: int = 0
    expert_mlp: int = 0


@dataclass(frozen=True)
class Parameters:
    """Numbers of parameters: ``attention``, ``experts`` and ``mlp`` are of one layer.

    ``head`` is 0 where the embedding serves as head; ``experts`` is 0 for a dense model, and ``mlp`` is then the whole
    MLP; of a mixture ``mlp`` is the router. ``attention`` includes the layer's norms.
    """

    embedding: int
    head: int
    layers: int
    attention: int
    mlp: int
    experts: int
    norm: int
    vision: int
    vision_block: int

    @property
    def layer(self) -> int:
        """Of one layer of the language model."""
        return self.attention + self.mlp + self.experts

    @property
    def total(self) -> int:
        """Of the whole model."""
        return self.embedding + self.head + self.layers * self.layer + self.norm + self.vision


_SMALL = Vision(depth=24, hidden=1024, mlp=4096, heads=16)
_LARGE = Vision(depth=27, hidden=1152, mlp=4304, heads=16)

KNOWN = {
    "Qwen3-VL-2B": Architecture(2048, 28, 16, 8, 6144, _SMALL, tied=True),
    "Qwen3-VL-4B": Architecture(2560, 36, 32, 8, 9728, _SMALL, tied=True),
    "Qwen3-VL-8B": Architecture(4096, 36, 32, 8, 12288, _LARGE),
    "Qwen3-VL-32B": Architecture(5120, 64, 64, 8, 25600, _LARGE),
    "Qwen3-VL-30B-A3B": Architecture(
        2048, 48, 32, 4, 6144, _LARGE, experts=128, experts_per_token=8, expert_mlp=768
    ),
}  # fmt: skip
"""The sizes of 2025's release, Instruct and Thinking alike."""

_NAME = re.compile(r"qwen3[-_]?vl[-_](2b|4b|8b|32b|30b[-_]a3b)(?![a-z0-9])", re.IGNORECASE)


def named(text: str) -> str | None:
    """The name in ``KNOWN`` of the model that a path or a recipe's name speaks of, or None."""
    found = _NAME.search(text)
    return "Qwen3-VL-" + found[1].upper().replace("_", "-") if found else None


def from_config(config: Mapping[str, Any]) -> Architecture | None:
    """The architecture in a ``config.json``, or None where it is none of these models.

    A mixture in which some layers are dense is none of them. Raises ``KeyError`` for a file without the sizes.
    """
    if config.get("model_type") not in ("qwen3_vl", "qwen3_vl_moe"):
        return None
    text, vision = config["text_config"], config["vision_config"]
    if text.get("mlp_only_layers") or text.get("decoder_sparse_step", 1) != 1 or text.get("attention_bias"):
        return None
    mixture = config["model_type"] == "qwen3_vl_moe"
    heads = int(text["num_attention_heads"])
    return Architecture(
        hidden=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        mlp=text["intermediate_size"],
        vision=Vision(
            depth=vision["depth"],
            hidden=vision["hidden_size"],
            mlp=vision["intermediate_size"],
            heads=vision["num_heads"],
            deepstack=len(vision["deepstack_visual_indexes"]),
            positions=vision["num_position_embeddings"],
            patch=vision["patch_size"],
            temporal_patch=vision["temporal_patch_size"],
            merge=vision["spatial_merge_size"],
            channels=vision.get("in_channels", 3),
        ),
        tied=bool(config.get("tie_word_embeddings", False)),
        head_dim=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        positions=text["max_position_embeddings"],
        # The published files say num_experts; transformers 5 saves it under another name.
        experts=(text.get("num_experts") or text["num_local_experts"]) if mixture else 0,
        experts_per_token=text["num_experts_per_tok"] if mixture else 0,
        expert_mlp=text["moe_intermediate_size"] if mixture else 0,
    )


def parameters(model: Architecture) -> Parameters:
    """How many parameters ``model`` has, part by part."""
    h, query, key = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
    words = model.vocabulary * h
    return Parameters(
        embedding=words,
        head=0 if model.tied else words,
        layers=model.layers,
        attention=h * (2 * query + 2 * key) + 2 * model.head_dim + 2 * h,
        mlp=model.experts * h if model.experts else 3 * h * model.mlp,
        experts=model.experts * 3 * h * model.expert_mlp,
        norm=h,
        vision=_vision(model.vision, h),
        vision_block=_vision_block(model.vision),
    )


def lora_parameters(model: Architecture, rank: int, vision: bool = True) -> int:
    """Parameters of LoRA matrices of ``rank`` at every ``Linear`` but the head, as peft's ``all-linear`` places them.

    Experts are stacked tensors and no ``Linear``, so they get none, and neither does a mixture's router. ``vision``:
    whether the vision tower gets them too.
    """
    h, query, key = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
    layer = 2 * (h + query) + 2 * (h + key)
    if not model.experts:
        layer += 3 * (h + model.mlp)
    sizes = model.layers * layer
    if vision:
        v = model.vision
        wide = v.hidden * v.merge**2
        sizes += v.depth * ((v.hidden + 3 * v.hidden) + 2 * v.hidden + 2 * (v.hidden + v.mlp))
        sizes += (1 + v.deepstack) * (2 * wide + wide + h)
    return rank * sizes


def _vision_block(vision: Vision) -> int:
    norms = 4 * vision.hidden
    attention = _linear(vision.hidden, 3 * vision.hidden) + _linear(vision.hidden, vision.hidden)
    return norms + attention + _linear(vision.hidden, vision.mlp) + _linear(vision.mlp, vision.hidden)


def _vision(vision: Vision, out: int) -> int:
    wide = vision.hidden * vision.merge**2
    merger = _linear(wide, wide) + _linear(wide, out)
    patches = _linear(vision.channels * vision.temporal_patch * vision.patch**2, vision.hidden)
    return (
        patches
        + vision.positions * vision.hidden
        + vision.depth * _vision_block(vision)
        + merger + 2 * vision.hidden
        + vision.deepstack * (merger + 2 * wide)
    )  # fmt: skip


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs
