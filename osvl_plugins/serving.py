"""An estimate of the memory that generating trajectories takes, on GPUs that the trainer uses too.

verl puts the trainer and the rollout engine on the same GPUs and lets one sleep while the other works: see
``ActorRolloutRefWorker.update_weights`` in ``workers/engine_workers.py``. vLLM and SGLang keep a cache of keys and
values in what their weights leave of their share of the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from osvl_plugins.architectures import Architecture, parameters
from osvl_plugins.memory import BF16, GIB, RUNTIME, Phase, Term, Training, held, resting

GRAPHS = 1 * GIB
"""CUDA graphs of a rollout engine."""


@dataclass(frozen=True)
class Rollout:
    """How trajectories are generated.

    ``share``: of the GPU's memory, for weights and cache; ``context``: the longest sequence that the engine takes, in
    tokens; ``wanted``: trajectories that a replica is given at once; ``bucket``: bytes of new weights that are handed
    over at a time; ``sleeps``: whether the engine frees its memory while the trainer works.
    """

    engine: str
    tensor: int
    share: float
    context: int
    wanted: int
    batched_tokens: int
    bucket: int = 2 * GIB
    width: int = BF16
    sleeps: bool = True


class Cache(NamedTuple):
    """The cache of a replica: ``tokens`` fit into it, of which one sequence takes at most ``context``."""

    tokens: int
    context: int

    @property
    def sequences(self) -> int:
        """How many sequences of full length it holds."""
        return self.tokens // self.context


def cache_bytes_per_token(model: Architecture, tensor: int = 1, width: int = BF16) -> int:
    """Keys and values of one token on one GPU, in bytes. Heads are shared out, but each GPU has at least one."""
    return 2 * model.layers * max(1, model.kv_heads // tensor) * model.head_dim * width


def cache(model: Architecture, rollout: Rollout, gpu: float) -> Cache:
    """What fits beside the weights; ``gpu``: bytes of a GPU. No room gives a cache of 0 tokens."""
    room = rollout.share * gpu - weights(model, rollout) - _inside(model, rollout)
    return Cache(max(0, int(room // cache_bytes_per_token(model, rollout.tensor, rollout.width))), rollout.context)


def weights(model: Architecture, rollout: Rollout) -> float:
    """Bytes of the engine's copy of the model on one GPU."""
    return rollout.width * parameters(model).total / rollout.tensor


def _working(model: Architecture, rollout: Rollout) -> float:
    # A prefill of as many tokens as the engine takes at once: the MLP's gate and up, and the residual stream.
    routed = model.experts_per_token * model.expert_mlp if model.experts else model.mlp
    return rollout.batched_tokens * rollout.width * (2 * routed / rollout.tensor + 4 * model.hidden)


def _inside(model: Architecture, rollout: Rollout) -> float:
    # vLLM's share includes what it works with, SGLang's does not.
    return _working(model, rollout) if rollout.engine == "vllm" else 0.0


def generating(model: Architecture, training: Training, rollout: Rollout, gpu: float) -> Phase:
    """The engine's whole share, with what the trainer leaves on a GPU of ``gpu`` bytes."""
    share = max(rollout.share * gpu, weights(model, rollout) + _inside(model, rollout))
    room = share - weights(model, rollout) - _inside(model, rollout)
    return Phase(
        "rollout",
        [
            Term("weights", weights(model, rollout)),
            Term("cache of keys and values", room),
            Term("a prefill", _working(model, rollout)),
            Term("CUDA graphs", GRAPHS),
            *resting(model, training),
            Term("runtime", RUNTIME),
        ],
    )


def hand_over(model: Architecture, training: Training, rollout: Rollout) -> Phase:
    """New weights go to the engine: both copies, and the pieces on the way. The cache is not there yet."""
    state = held(model, training)
    streamed = training.host_state or (training.layout.engine == "fsdp2" and not training.lora_rank)
    offloaded = training.param_offload or training.host_state
    largest = max(parameters(model).embedding, parameters(model).experts // 3 * 2)
    terms = [Term("the engine's weights", weights(model, rollout))]
    if not (streamed and offloaded):
        terms.append(Term("the trainer's parameters", state.weights))
    terms += [term for term in resting(model, training) if "parameters" not in term.name]
    terms.append(Term("the largest parameter, whole", training.stored * largest))
    return Phase("weights to the rollout", [*terms, Term("buckets", 2 * rollout.bucket), Term("runtime", RUNTIME)])


def staying(model: Architecture, training: Training, rollout: Rollout, gpu: float) -> list[Term]:
    """What the engine keeps on a GPU of ``gpu`` bytes while the trainer works.

    All of its share where it does not sleep; SGLang with adapters keeps the weights even then.
    """
    if not rollout.sleeps:
        return [Term("the rollout's share", rollout.share * gpu)]
    if rollout.engine == "sglang" and training.lora_rank:
        return [Term("SGLang's weights, which stay", weights(model, rollout))]
    return []


def sleeping(model: Architecture, training: Training, rollout: Rollout, gpus_per_node: int) -> list[Term]:
    """What the engine puts on the host while the trainer works: vLLM the base model of adapters; else nothing."""
    if rollout.engine != "vllm" or not training.lora_rank:
        return []
    return [Term("vLLM's weights while it sleeps", weights(model, rollout) * gpus_per_node)]
