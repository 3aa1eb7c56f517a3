"""What osvl_plugins.architectures, activations and serving compute, beside what transformers, peft and PyTorch do.

    python benchmarks/memory_estimate.py

Parameters are counted on models without storage (the meta device). Of a small model that really runs on the CPU, the
storages that a forward pass leaves for the backward pass are added up, and the bytes of its cache. Of models in their
full size a forward and backward pass runs on fake tensors, which have sizes and no values, and the largest number of
bytes alive at a time is taken. A GPU's allocator, its kernels and the engines around the model are not measured.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from osvl_plugins import activations, torchvision_ops
from osvl_plugins.architectures import KNOWN, Architecture, Vision, lora_parameters, parameters
from osvl_plugins.serving import cache_bytes_per_token

torchvision_ops.allow_missing()

RANK = 16
TOKENS = 8192
SMALL = Architecture(
    256, 4, 8, 2, 768, Vision(6, 128, 344, 4, deepstack=3, positions=256), head_dim=32, vocabulary=1000
)

MIXTURE = replace(SMALL, experts=16, experts_per_token=4, expert_mlp=192)


class Compared(NamedTuple):
    """An estimate beside what was measured."""

    what: str
    estimated: float
    measured: float

    @property
    def ratio(self) -> float:
        """Estimated by measured."""
        return self.estimated / self.measured


class Alive(TorchDispatchMode):
    """Adds up the storages that operators make, as long as something refers to them."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._change(storage.nbytes())
                weakref.finalize(storage, self._change, -storage.nbytes())
        return result

    def _change(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


def build(model: Architecture, dtype: torch.dtype = torch.bfloat16) -> Any:
    """The model of transformers of that size on the current default device."""
    from transformers import (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLMoeConfig,
        Qwen3VLMoeForConditionalGeneration,
    )

    vision = model.vision
    text = {
        "hidden_size": model.hidden, "num_hidden_layers": model.layers, "intermediate_size": model.mlp,
        "num_attention_heads": model.heads, "num_key_value_heads": model.kv_heads, "head_dim": model.head_dim,
        "vocab_size": model.vocabulary, "max_position_embeddings": model.positions, "pad_token_id": 0,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e6, "mrope_interleaved": True,
            "mrope_section": [model.head_dim // 4, model.head_dim // 8, model.head_dim // 8],
        },
    }  # fmt: skip
    tower = {
        "depth": vision.depth, "hidden_size": vision.hidden, "intermediate_size": vision.mlp,
        "num_heads": vision.heads, "num_position_embeddings": vision.positions, "out_hidden_size": model.hidden,
        "deepstack_visual_indexes": [*range(vision.deepstack)],
    }  # fmt: skip
    config_type, model_type = Qwen3VLConfig, Qwen3VLForConditionalGeneration
    if model.experts:
        config_type, model_type = Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration
        text |= {"num_experts": model.experts, "num_experts_per_tok": model.experts_per_token}
        text["moe_intermediate_size"] = model.expert_mlp
    config = config_type(text_config=text, vision_config=tower, tie_word_embeddings=model.tied)
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        built = model_type(config)
    finally:
        torch.set_default_dtype(before)
    built.tie_weights()
    return built.train()


def counted(model: Architecture) -> int:
    """Parameters of transformers' model."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(model).parameters())


def counted_lora(model: Architecture, rank: int, exclude: str | None = None) -> int:
    """Parameters that peft adds with ``all-linear``."""
    from peft import LoraConfig, get_peft_model

    with torch.device("meta"):
        config = LoraConfig(r=rank, target_modules="all-linear", exclude_modules=exclude, task_type="CAUSAL_LM")
        adapted = get_peft_model(build(model), config)
        return sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


def saved(module: torch.nn.Module, run: Callable[[], Any]) -> int:
    """Bytes of the storages that autograd keeps of ``run``, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = run()  # alive, so that no address is used twice
    del result
    return sum(kept.values())


def saved_per_token(model: Architecture, dtype: torch.dtype, tokens: int) -> float:
    """Bytes a token that a layer of the language model really saves, without checkpointing.

    The difference between two depths, so that what is there once does not count.
    """
    return _slope(
        lambda layers: build(replace(model, layers=layers), dtype).model.language_model,
        lambda text: _text_run(text, model, dtype, tokens),
        tokens,
    )


def saved_per_patch(model: Architecture, dtype: torch.dtype, side: int) -> float:
    """Bytes a patch that a block of the vision tower really saves, for a picture of ``side`` x ``side`` patches."""
    vision, patches = model.vision, side * side

    def tower(depth: int) -> Any:
        return build(replace(model, vision=replace(vision, depth=depth, deepstack=0)), dtype).model.visual

    def run(module: Any) -> Any:
        pixels = torch.zeros(patches, vision.channels * vision.temporal_patch * vision.patch**2, dtype=dtype)
        return module(pixels, torch.tensor([[1, side, side]]))

    return _slope(tower, run, patches)


def _slope(make: Callable[[int], Any], run: Callable[[Any], Any], count: int) -> float:
    sizes = []
    for depth in (2, 6):
        module = make(depth)
        sizes.append(saved(module, lambda module=module: run(module)))
    return (sizes[1] - sizes[0]) / 4 / count


def _text_run(text: Any, model: Architecture, dtype: torch.dtype, tokens: int) -> Any:
    inputs = torch.zeros(1, tokens, model.hidden, dtype=dtype, requires_grad=True)
    positions = torch.zeros(3, 1, tokens, dtype=torch.long)
    return text(inputs_embeds=inputs, position_ids=positions, use_cache=False).last_hidden_state


def cached_per_token(model: Architecture, tokens: int = 64) -> float:
    """Bytes a token of the cache that transformers' model really keeps."""
    text = build(model).model.language_model.eval()
    with torch.no_grad():
        inputs = torch.zeros(1, tokens, model.hidden, dtype=torch.bfloat16)
        cache = text(inputs_embeds=inputs, use_cache=True).past_key_values
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers) / tokens


def peak(model: Architecture, tokens: int) -> int:
    """Most bytes alive in a forward and backward pass of the language model under checkpointing, gradients included."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        whole = build(model)
        whole.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        text = whole.model.language_model
        with Alive([*whole.parameters(), *whole.buffers()]) as alive:
            _text_run(text, model, torch.bfloat16, tokens).sum().backward()
        return alive.peak


def estimated_peak(model: Architecture, tokens: int) -> float:
    """The same by the estimate: all layers' inputs, one layer, and 16-bit gradients of all layers."""
    kept = model.layers * activations.checkpoint(model) + activations.layer_backward(model)
    return tokens * kept + 2 * model.layers * parameters(model).layer


def main() -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    rows = []
    for name, model in KNOWN.items():
        rows.append(Compared(f"{name}: parameters", parameters(model).total, counted(model)))
        rows.append(Compared(f"{name}: LoRA of rank {RANK}", lora_parameters(model, RANK), counted_lora(model, RANK)))
    rows.append(Compared("small model: cache, bytes a token", cache_bytes_per_token(SMALL), cached_per_token(SMALL)))
    for dtype, width in ((torch.float32, 4), (torch.bfloat16, 2)):
        for what, model in (("small model", SMALL), ("small mixture", MIXTURE)):
            layer = activations.layer(model, width)
            rows.append(Compared(f"{what}, {dtype}: a layer, bytes a token", layer, saved_per_token(model, dtype, 512)))
        block = activations.vision_block(SMALL.vision, width)
        rows.append(Compared(f"small model, {dtype}: a block, bytes a patch", block, saved_per_patch(SMALL, dtype, 16)))
    for name, model in KNOWN.items():
        if not model.experts:  # which expert a token goes to depends on values
            said = f"{name}: peak of a pass over {TOKENS:,} tokens, bytes"
            rows.append(Compared(said, estimated_peak(model, TOKENS), peak(model, TOKENS)))
    table = Table("what", "estimated", "measured", "ratio")
    for row in rows:
        digits = "," if math.isclose(row.measured, round(row.measured)) else ",.1f"
        table.add_row(row.what, format(round(row.estimated), ","), format(row.measured, digits), f"{row.ratio:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
