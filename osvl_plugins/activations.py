"""What a forward and backward pass of a Qwen3-VL keeps in memory, in bytes a token.

The terms are the tensors that transformers' layers save for the backward pass, written out; ``width`` is the bytes of
a value, 2 for bfloat16. Norms work in 32 bits whatever the width. Attention is one that stores no score matrix: flash
attention, or PyTorch's own. ``benchmarks/memory_estimate.py`` compares them with what PyTorch saves.
"""

from __future__ import annotations

from osvl_plugins.architectures import Architecture, Vision

FP32 = 4


def checkpoint(model: Architecture, width: int = 2) -> int:
    """Of one layer under gradient checkpointing: its input, from which the backward pass computes it again."""
    return width * model.hidden


def layer(model: Architecture, width: int = 2) -> int:
    """Of one layer without checkpointing: everything that its backward pass reads.

    Two norms over the hidden size and one each over queries and keys (a 32-bit copy, the normalised value, the
    product); queries, keys, values and what attention gives; gate, up, their product, and the activation between.
    """
    hidden, query, key = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
    norms = 2 * (FP32 + 2 * width) * hidden + (FP32 + width) * (query + key)
    attention = width * (2 * query + 2 * key)
    if not model.experts:
        return norms + attention + 4 * width * model.mlp
    routed = model.experts_per_token * width * (4 * model.expert_mlp + 2 * hidden)
    return norms + attention + routed + 2 * FP32 * model.experts


def layer_backward(model: Architecture, width: int = 2) -> int:
    """Of the layer that the backward pass is in: what ``layer`` says, and the gradients of the MLP's widest values."""
    widest = model.experts_per_token * model.expert_mlp if model.experts else model.mlp
    return layer(model, width) + 3 * width * widest


def vision_checkpoint(vision: Vision, width: int = 2) -> int:
    """Of a patch, in one block of the vision tower, under gradient checkpointing."""
    return width * vision.hidden


def vision_block(vision: Vision, width: int = 2) -> int:
    """Of a patch, in one block without checkpointing: eleven values of the hidden size, two of the MLP's."""
    return width * (11 * vision.hidden + 2 * vision.mlp)


def vision_backward(vision: Vision, width: int = 2) -> int:
    """Of a patch, in the block that the backward pass is in: with the gradients of the MLP's values."""
    return vision_block(vision, width) + 2 * width * vision.mlp


def patches_per_token(vision: Vision) -> int:
    """Patches that the tower merges into one token."""
    return vision.merge**2


def logits_training(tensor_parallel: bool, width: int, scaled: bool, entropy: bool) -> int:
    """Bytes of a token and word of the vocabulary at the peak of the loss, where the head's output is kept whole.

    verl's FSDP engine (``prepare_model_outputs``): the logits, and a copy where the temperature is not 1, whose
    gradient flash attention's cross entropy writes in place. Its Megatron engine (``_lm_head_logits_processor``): the
    logits, Megatron's 32-bit copy, and the gradient. An entropy term in the loss adds its 32-bit softmax, product and
    gradient.
    """
    base = 2 * width + FP32 if tensor_parallel else width * (2 if scaled else 1)
    return base + (3 * FP32 if entropy else 0)


def logits_scoring(tensor_parallel: bool, width: int, scaled: bool, chunked: bool) -> int:
    """The same where log-probabilities and entropy are only computed, as of the old policy before every update.

    The entropy in chunks adds nothing that grows with the tokens; whole, it adds a 32-bit softmax and product (FSDP).
    """
    if tensor_parallel:
        return 2 * width + FP32
    return width * (2 if scaled else 1) + (0 if chunked else 2 * FP32)
