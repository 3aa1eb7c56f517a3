"""What a composed config says of the run, read once: the model, its data, the GPUs and how they share the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osvl_plugins.architectures import Architecture
from osvl_plugins.errors import SettingError
from osvl_plugins.memory import GIB, Layout, Training
from osvl_plugins.serving import Rollout

BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}
ENGINES = ("fsdp", "fsdp2", "megatron")
PICTURE_SHARE = 0.1
"""Of SFT's tokens; RL's bound follows from its settings."""


@dataclass(frozen=True)
class Plan:
    """A run. ``config`` is its whole config as plain values, with interpolations resolved.

    Properties that count machines, GPUs or parallel parts raise ``SettingError`` where that is no number of at least 1.
    """

    config: Mapping[str, Any]
    rl: bool

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a setting by its full name; ``default`` where it is missing or null."""
        value: Any = self.config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return default if value is None else value

    def size(self, name: str, default: int = 1) -> int:
        """A whole number of at least 1. Raises ``SettingError`` for anything else."""
        value = self.get(name, default)
        if not isinstance(value, int) or value < 1:
            raise SettingError(name, f"must be a whole number of at least 1, is {value!r}")
        return value

    @property
    def model_setting(self) -> str:
        """The full name of the group that describes the model."""
        return "actor_rollout_ref.model" if self.rl else "model"

    @property
    def model_path(self) -> str:
        """A folder, or a name on a hub."""
        return str(self.get(f"{self.model_setting}.path", ""))

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.size("trainer.nnodes")

    @property
    def gpus_per_node(self) -> int:
        """GPUs of each."""
        return self.size("trainer.n_gpus_per_node")

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.nodes * self.gpus_per_node

    @property
    def length(self) -> int:
        """Longest sequence, in tokens."""
        if self.rl:
            return int(self.get("data.max_prompt_length", 0)) + int(self.get("data.max_response_length", 0))
        return int(self.get("data.max_length", 0))

    @property
    def samples(self) -> int:
        """Trajectories of a prompt."""
        return int(self.get("actor_rollout_ref.rollout.n", 1)) if self.rl else 1

    @property
    def trajectories(self) -> int:
        """Sequences of a step."""
        return int(self.get("data.train_batch_size", 0)) * self.samples

    @property
    def strategy(self) -> str:
        """fsdp, fsdp2, megatron, or another engine of verl's."""
        return str(self.get("actor_rollout_ref.actor.strategy" if self.rl else "engine.strategy", ""))

    @property
    def engine_setting(self) -> str:
        """The full name of the engine's group."""
        if not self.rl:
            return "engine"
        return "actor_rollout_ref.actor." + ("megatron" if self.strategy == "megatron" else "fsdp_config")

    @property
    def on_cpu(self) -> bool:
        """Whether the run uses no GPU at all."""
        return str(self.get("trainer.device", "cuda")) == "cpu"

    @property
    def estimable(self) -> bool:
        """Whether the engine is one whose layout and memory are known here."""
        return self.strategy in ENGINES

    def layout(self) -> Layout:
        """How the GPUs share the model, where ``estimable``. Raises ``SettingError`` for a size below 1."""
        engine = self.engine_setting
        if self.strategy == "megatron":
            tensor = self.size(f"{engine}.tensor_model_parallel_size")
            return Layout(
                "megatron",
                self.gpus,
                sequence=self.size(f"{engine}.context_parallel_size"),
                tensor=tensor,
                pipeline=self.size(f"{engine}.pipeline_model_parallel_size"),
                expert=self.size(f"{engine}.expert_model_parallel_size"),
                expert_tensor=self.size(f"{engine}.expert_tensor_parallel_size", tensor),
            )
        shards = int(self.get(f"{engine}.fsdp_size", -1))
        sequence = self.size(f"{engine}.ulysses_sequence_parallel_size")
        fewer = 0 < shards < self.gpus
        return Layout(
            "fsdp2" if self.strategy == "fsdp2" else "fsdp", self.gpus, shards if fewer else self.gpus, sequence
        )

    @property
    def dynamic(self) -> bool:
        """Whether a micro-batch is bounded by its tokens and not by its rows."""
        name = "actor_rollout_ref.actor.use_dynamic_bsz" if self.rl else "data.use_dynamic_bsz"
        return bool(self.get(name, False))

    def tokens(self, scoring: bool = False) -> int:
        """Most tokens of a micro-batch on one GPU. ``scoring``: of the pass that only computes log-probabilities."""
        actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
        if self.dynamic:
            if not self.rl:
                return int(self.get("data.max_token_len_per_gpu", 0))
            name = f"{rollout}.log_prob_max_token_len_per_gpu" if scoring else f"{actor}.ppo_max_token_len_per_gpu"
            return int(self.get(name, 0))
        if not self.rl:
            rows = self.get("data.micro_batch_size_per_gpu", 1)
        elif scoring:
            rows = self.get(f"{rollout}.log_prob_micro_batch_size_per_gpu", 1)
        else:
            rows = self.get(f"{actor}.ppo_micro_batch_size_per_gpu", 1)
        return -(-int(rows) * self.length // self.layout().sequence)

    def training(self) -> Training:
        """The terms of the estimate, where ``estimable``. Raises ``SettingError`` for a size below 1."""
        engine, model = self.engine_setting, self.model_setting
        megatron = self.strategy == "megatron"
        precision = str(self.get(f"{engine}.mixed_precision.param_dtype", self.get(f"{engine}.dtype", "bfloat16")))
        chunked = bool(self.get(f"{engine}.entropy_from_logits_with_chunking", False))
        recompute = self.get(f"{engine}.override_transformer_config.recompute_granularity") == "full"
        adam = (
            "actor_rollout_ref.actor.optim.override_optimizer_config" if self.rl else "optim.override_optimizer_config"
        )
        on_host = bool(self.get(f"{adam}.optimizer_cpu_offload", False)) and megatron
        entropy_loss = self.get("actor_rollout_ref.actor.calculate_entropy") or self.get(
            "actor_rollout_ref.actor.entropy_coeff"
        )
        lora = max(int(self.get(f"{model}.lora_rank", 0)), int(self.get(f"{model}.lora.rank", 0)))
        penalty = self.get("actor_rollout_ref.actor.use_kl_loss") or self.get("algorithm.use_kl_in_reward")
        return Training(
            layout=self.layout(),
            tokens=self.tokens(),
            score_tokens=self.tokens(scoring=True) if self.rl else 0,
            picture_share=self.picture_share,
            stored=BYTES.get(str(self.get(f"{engine}.model_dtype", "fp32")), 4),
            width=BYTES.get(precision, 2),
            checkpointing=recompute if megatron else bool(self.get(f"{model}.enable_gradient_checkpointing", True)),
            activation_offload=bool(self.get(f"{model}.enable_activation_offload", False)),
            param_offload=bool(self.get(f"{engine}.param_offload", False)),
            optimizer_offload=bool(self.get(f"{engine}.optimizer_offload", False)),
            host_state=bool(self.get(f"{engine}.offload_policy", False)) and self.strategy == "fsdp2",
            host_optimizer=float(self.get(f"{adam}.optimizer_offload_fraction", 0.0)) if on_host else 0.0,
            fused_head=bool(self.get(f"{model}.use_fused_kernels", False)),
            entropy_chunk=int(self.get(f"{engine}.entropy_from_logits_chunk_size", 2048)) if chunked else 0,
            entropy_loss=bool(entropy_loss),
            scaled=self.rl and float(self.get("actor_rollout_ref.rollout.temperature", 1.0)) != 1.0,
            reference=bool(penalty) and not lora,
            lora_rank=lora,
            lora_vision="visual" not in str(self.get(f"{model}.exclude_modules", "")),
        )

    @property
    def picture_share(self) -> float:
        """The largest share of a long sequence's tokens that stand for pictures."""
        # Each turn may add one to the question's.
        turns = int(self.get("osvl.episode.max_turns", 0))
        pictures = min(int(self.get("osvl.episode.images.max_images", turns + 1)), turns + 1)
        pixels = self.get("osvl.episode.images.max_pixels")
        if not self.rl or pixels is None or not self.length:
            return PICTURE_SHARE
        return min(1.0, pictures * int(pixels) / (32 * 32) / self.length)

    def rollout(self, model: Architecture) -> Rollout | None:
        """How trajectories are generated, or None where nothing is, or not by vLLM or SGLang."""
        name = "actor_rollout_ref.rollout"
        if not self.rl or self.get(f"{name}.name") not in ("vllm", "sglang"):
            return None
        tensor = self.size(f"{name}.tensor_model_parallel_size")
        replicas = max(1, self.gpus // (tensor * self.size(f"{name}.data_parallel_size")))
        return Rollout(
            engine=str(self.get(f"{name}.name")),
            tensor=tensor,
            share=float(self.get(f"{name}.gpu_memory_utilization", 0.5)),
            context=int(self.get(f"{name}.max_model_len", model.positions)),
            wanted=min(int(self.get(f"{name}.max_num_seqs", 256)), -(-self.trajectories // replicas)),
            batched_tokens=int(self.get(f"{name}.max_num_batched_tokens", 8192)),
            bucket=int(self.get(f"{name}.checkpoint_engine.update_weights_bucket_megabytes", 2048)) * GIB // 1024,
            width=BYTES.get(str(self.get(f"{name}.dtype", "bfloat16")), 2),
            sleeps=bool(self.get(f"{name}.free_cache_engine", True)),
        )

    def files(self, setting: str) -> list[str]:
        """The paths that a data setting names, with ``~`` and patterns as they stand."""
        value = self.get(setting, [])
        return [str(value)] if isinstance(value, str) else [str(path) for path in value]

    @property
    def output(self) -> Path:
        """Where checkpoints go."""
        return Path(str(self.get("trainer.default_local_dir", "checkpoints"))).expanduser()
