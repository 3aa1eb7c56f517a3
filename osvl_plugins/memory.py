"""An estimate of the memory that a run of verl needs on every GPU, phase by phase, and on every node's host.

It is arithmetic over the model's sizes and the run's settings, and knows no GPU: it adds up the terms that each
``Phase`` lists, and what is in none of them is left out (``docs/check.md`` says what). A phase is an upper bound where
its terms are: a micro-batch is taken to be as full as its settings allow, and every trajectory as long.

What is resident when follows verl 0.9.1: ``workers/engine/fsdp/transformer_impl.py``,
``workers/engine/megatron/transformer_impl.py``, ``workers/engine/base.py`` (what off-loading moves, and when) and
``workers/engine_workers.py`` (``update_weights``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from osvl_plugins import activations
from osvl_plugins.architectures import Architecture, Parameters, lora_parameters, parameters

GIB = 1024**3
FP32, BF16 = 4, 2

RUNTIME = int(1.5 * GIB)
"""CUDA contexts of the trainer and of the rollout engine, NCCL's buffers, the libraries' workspaces."""
FUSED_CHUNK = 512
"""Tokens at a time of verl's fused head (``FusedLinearForPPO``)."""
ENTROPY_CHUNK_BYTES = 4 * FP32
"""Of a token and word in a chunk of the entropy: 32-bit logits, softmax, product and a temporary."""

Engine = Literal["fsdp", "fsdp2", "megatron"]


class Term(NamedTuple):
    """A part of a phase: ``bytes`` of it, and what it is."""

    name: str
    bytes: float


class Phase(NamedTuple):
    """What is in memory at the peak of a phase."""

    name: str
    terms: list[Term]

    @property
    def total(self) -> float:
        """Bytes."""
        return sum(term.bytes for term in self.terms)


@dataclass(frozen=True)
class Layout:
    """How ``gpus`` share the model. ``shards``: how many of them share a copy of it under FSDP."""

    engine: Engine
    gpus: int
    shards: int = 1
    sequence: int = 1
    """Ulysses' or Megatron's context parallel size: a trajectory is spread over as many GPUs."""
    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    expert_tensor: int = 1

    @property
    def data(self) -> int:
        """Copies that work on different rows."""
        return max(1, self.gpus // (self.tensor * self.pipeline * self.sequence))


@dataclass(frozen=True)
class Training:
    """How the model is trained; tokens are those of a micro-batch on one GPU."""

    layout: Layout
    tokens: int
    score_tokens: int = 0
    """Of a micro-batch whose log-probabilities are only computed; 0: there is no such pass."""
    picture_share: float = 0.0
    """Largest share of the tokens that stand for pictures."""
    stored: int = FP32
    """Bytes of a parameter as FSDP keeps it; gradients and moments have the same."""
    width: int = BF16
    """Bytes of a value in computation."""
    checkpointing: bool = True
    activation_offload: bool = False
    param_offload: bool = False
    optimizer_offload: bool = False
    host_state: bool = False
    """FSDP 2's ``offload_policy``: parameters, gradients and moments stay on the host."""
    host_optimizer: float = 0.0
    """Share of Megatron's optimizer that works on the host."""
    fused_head: bool = False
    entropy_chunk: int = 0
    """Tokens of a chunk of the entropy; 0: all at once."""
    entropy_loss: bool = False
    scaled: bool = False
    """Whether the sampling temperature is not 1."""
    reference: bool = False
    lora_rank: int = 0
    lora_vision: bool = True


class Held(NamedTuple):
    """Bytes of the trainer's state on one GPU. With off-loading they move to the host between its phases."""

    weights: float
    gradients: float
    moments: float
    largest_unit: float
    """Parameters that are gathered at once (FSDP); 0 for Megatron, which keeps its part."""
    root: float
    """Parameters that stay gathered for a whole pass."""


def held(model: Architecture, training: Training) -> Held:
    """What one GPU holds of parameters, gradients and the optimizer's state."""
    count = parameters(model)
    if training.layout.engine == "megatron":
        return _megatron(count, training)
    layout = training.layout
    trained = lora_parameters(model, training.lora_rank, training.lora_vision) if training.lora_rank else count.total
    bytes_each = training.stored / layout.shards
    vision_rest = count.vision - model.vision.depth * count.vision_block
    own_units = layout.engine == "fsdp2" and not model.tied
    root = vision_rest + (0 if own_units else count.embedding + count.head)
    unit = max(count.layer, count.embedding if own_units else 0)
    frozen = count.total if training.lora_rank else 0
    return Held((frozen + trained) * bytes_each, trained * bytes_each, 2 * trained * bytes_each, unit, root)


def _megatron(count: Parameters, training: Training) -> Held:
    layout = training.layout
    layers = -(-count.layers // layout.pipeline)
    dense = layers * (count.attention + count.mlp)
    first, last = count.embedding + count.vision * layout.tensor, count.head + count.norm
    # The vision tower is taken to be whole on every GPU of the first stage.
    dense += first + last if layout.pipeline == 1 else max(first, last)
    dense_each = dense / layout.tensor
    experts_each = layers * count.experts / (layout.expert * layout.expert_tensor)
    both = layout.data * layout.sequence
    expert_copies = max(1, layout.gpus // (layout.expert * layout.expert_tensor * layout.pipeline))
    moments = 3 * FP32 * (dense_each / both + experts_each / expert_copies) * (1 - training.host_optimizer)
    each = dense_each + experts_each
    return Held(BF16 * each, FP32 * each, moments, 0.0, 0.0)


def _gathered(state: Held, training: Training, backward: bool) -> list[Term]:
    if not state.largest_unit:
        return []
    width = training.width
    terms = [Term("parameters gathered for a layer and the next", width * (2 * state.largest_unit + state.root))]
    if backward and not training.lora_rank:
        whole = (width + FP32) * state.largest_unit + width * state.root
        terms.append(Term("their gradients before they are shared out", whole))
    return terms


def _pictures(model: Architecture, training: Training, backward: bool) -> list[Term]:
    # Every GPU of a sequence-parallel group runs the tower on all pictures of the sequence.
    tokens = training.picture_share * (training.tokens if backward else training.score_tokens)
    patches = tokens * training.layout.sequence * activations.patches_per_token(model.vision)
    if not patches:
        return []
    vision = model.vision
    pixels = FP32 * vision.channels * vision.temporal_patch * vision.patch**2
    each: float = pixels + activations.vision_backward(vision, training.width)
    if backward:
        blocks = vision.depth - 1
        kept = activations.vision_checkpoint if training.checkpointing else activations.vision_block
        each += blocks * kept(vision, training.width)
    return [Term(f"vision, at most {training.picture_share:.0%} of the tokens", patches * each)]


def _head(model: Architecture, training: Training, tokens: int, backward: bool) -> float:
    layout, words = training.layout, model.vocabulary / training.layout.tensor
    parallel = layout.engine == "megatron"
    if training.fused_head:
        chunk = 0.0 if parallel else ENTROPY_CHUNK_BYTES * FUSED_CHUNK * words
        gathered = 0 if parallel else training.stored * model.vocabulary * model.hidden
        return chunk + gathered * (2 if backward and not training.lora_rank else 1)
    if backward:
        per_word = activations.logits_training(parallel, training.width, training.scaled, training.entropy_loss)
        return tokens * words * per_word
    per_word = activations.logits_scoring(parallel, training.width, training.scaled, bool(training.entropy_chunk))
    return words * (tokens * per_word + ENTROPY_CHUNK_BYTES * min(tokens, training.entropy_chunk))


def update(model: Architecture, training: Training) -> Phase:
    """The forward and backward pass of a full micro-batch.

    The head and the layer that is computed again do not peak together: the larger of the two counts.
    """
    layout, state = training.layout, held(model, training)
    tokens, width = training.tokens, training.width
    split = layout.tensor
    layers = -(-model.layers // layout.pipeline)
    flying = layout.pipeline  # micro-batches whose activations the first stage keeps at once
    kept = activations.checkpoint(model, width) if training.checkpointing else activations.layer(model, width)
    if training.activation_offload:
        kept = 0
    layer = activations.layer_backward(model, width) * tokens / split
    head = _head(model, training, tokens, backward=True)
    wide = ("the head and its gradient", head) if head > layer else ("one layer, computed again", layer)
    resident = [] if training.host_state else [
        Term("parameters", state.weights), Term("gradients", state.gradients), Term("optimizer", state.moments),
    ]  # fmt: skip
    return Phase(
        "update",
        [
            *resident,
            *_gathered(state, training, backward=True),
            Term(
                "layers' inputs" if training.checkpointing else "activations", kept * tokens * layers * flying / split
            ),
            Term(*wide),
            *_pictures(model, training, backward=True),
            Term("runtime", RUNTIME),
        ],
    )


def step(model: Architecture, training: Training) -> Phase:
    """The optimizer's step: the state, and as much again as the parameters for what it computes in between."""
    state = held(model, training)
    if training.host_state:
        return Phase("optimizer step", [Term("runtime", RUNTIME)])
    # Megatron's Adam is one kernel.
    between = 0.0 if training.layout.engine == "megatron" else state.moments / 2
    parts = [Term("parameters", state.weights), Term("gradients", state.gradients), Term("optimizer", state.moments)]
    return Phase("optimizer step", [*parts, Term("its temporaries", between), Term("runtime", RUNTIME)])


def scoring(model: Architecture, training: Training) -> Phase:
    """The pass that computes log-probabilities and entropy of the finished trajectories."""
    state, tokens = held(model, training), training.score_tokens
    layer = activations.layer(model, training.width) * tokens / training.layout.tensor
    head = _head(model, training, tokens, backward=False)
    wide = ("the head and its entropy", head) if head > layer else ("one layer", layer)
    resident = [] if training.host_state else [Term("parameters", state.weights)]
    if not training.optimizer_offload and not training.host_state:
        resident.append(Term("optimizer", state.moments))
    if training.layout.engine == "megatron" and not training.param_offload:
        resident.append(Term("gradients", state.gradients))
    return Phase(
        "log-probabilities",
        [
            *resident,
            *_gathered(state, training, backward=False),
            Term(*wide),
            *_pictures(model, training, backward=False),
            Term("runtime", RUNTIME),
        ],
    )


def resting(model: Architecture, training: Training) -> list[Term]:
    """What the trainer keeps on the GPU while trajectories are generated."""
    state = held(model, training)
    terms = []
    if not training.param_offload and not training.host_state:
        terms.append(Term("the trainer's parameters", state.weights))
        if training.layout.engine == "megatron":
            terms.append(Term("the trainer's gradients", state.gradients))
    if not training.optimizer_offload and not training.host_state:
        terms.append(Term("the trainer's optimizer", state.moments))
    return terms


def host(model: Architecture, training: Training, gpus_per_node: int) -> Phase:
    """What a node's memory holds for the GPUs on it: what is off-loaded to it, the reference model, and the loading.

    FSDP's first rank reads the whole model before it is shared out; where the embedding is tied, every rank does.
    """
    state, terms = held(model, training), []
    if training.param_offload or training.host_state:
        terms.append(Term("parameters", state.weights * gpus_per_node))
    if training.host_state:
        terms.append(Term("gradients", state.gradients * gpus_per_node))
    if training.optimizer_offload or training.host_state:
        terms.append(Term("optimizer", state.moments * gpus_per_node))
    if training.host_optimizer:
        whole = held(model, replace(training, host_optimizer=0.0)).moments - state.moments
        terms.append(Term("optimizer that works on the host", whole * gpus_per_node))
    if training.reference:
        terms.append(Term("reference model", state.weights * gpus_per_node))
    if training.layout.engine != "megatron":
        readers = gpus_per_node if model.tied else 1
        terms.append(Term("loading the model", readers * training.stored * parameters(model).total))
    return Phase("host", terms)
