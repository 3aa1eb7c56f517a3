"""Configs as verl's launchers compose them, in this process, and what verl itself says of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

import osvl_plugins.recipes

FOLDER = Path(osvl_plugins.recipes.__file__).parent
RECIPES = sorted(path.stem for path in FOLDER.glob("osvl_qwen3_vl_*.yaml") if not path.stem.endswith("_sft"))
GROUPS = {name: sorted(path.stem for path in (FOLDER / "osvl" / name).glob("*.yaml"))
          for name in ("engine", "rollout", "estimator", "fatal", "judge", "world")}  # fmt: skip
OPEN = (
    "osvl", "osvl_home", "sft_checkpoint", "parallel", "algorithm.fatal",
    "actor_rollout_ref.rollout.engine_kwargs.vllm",
    "actor_rollout_ref.actor.optim.override_optimizer_config",
    "actor_rollout_ref.actor.megatron.override_transformer_config",
    "ray_kwargs.ray_init", "transfer_queue.backend.SimpleStorage",
    "actor_rollout_ref.model.override_config",
)  # fmt: skip
"""Where keys may stand that verl's own config does not have: ours, and what verl hands on as it is."""
OF_DATACLASSES = {
    "actor_rollout_ref.actor.checkpoint.save_lora_only",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision",
}
"""Keys of verl's dataclasses that its yaml files do not list."""


def compose(name: str, *overrides: str) -> DictConfig:
    """The config ``name`` as ``python -m verl.trainer.main_ppo --config-name`` composes it."""
    return deepcopy(_composed(name, overrides))


def validate(config: DictConfig) -> None:
    """What ``main_ppo`` checks before it starts Ray, this package's part included, and the classes it makes.

    verl asks vLLM for the ranks it serves; where vLLM is not installed any up to its largest, 512, is taken.
    """
    name = "verl.workers.rollout.vllm_rollout"
    ranks = ModuleType(f"{name}.utils")
    ranks.get_vllm_max_lora_rank = lambda rank: min(512, rank)  # type: ignore[attr-defined]
    added = {module: sys.modules.setdefault(module, ranks) for module in (name, f"{name}.utils")}
    try:
        validate_config(config, need_reference_policy(config), need_critic(config))
    finally:
        for module, stood in added.items():
            if stood is ranks:
                del sys.modules[module]
    # Dataclasses: a key that they do not have is an error.
    omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    OmegaConf.to_container(config, resolve=True)


def unknown(config: DictConfig) -> set[str]:
    """Keys that neither verl nor this package knows."""
    stock = _stock("megatron" if config.actor_rollout_ref.actor.strategy == "megatron" else "dp")
    return {
        key
        for key in set(keys(config)) - stock - OF_DATACLASSES
        if not any(key == place or key.startswith(f"{place}.") for place in OPEN)
        and not any(key.startswith(f"{known}.") for known in OF_DATACLASSES)
    }


@cache
def _composed(name: str, overrides: tuple[str, ...]) -> DictConfig:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return hydra_compose(name, list(overrides))


@cache
def _stock(engine: str) -> set[str]:
    return set(keys(compose("ppo_trainer", f"model_engine={engine}")))


def keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """The full names of all settings below ``node`` that are no groups."""
    for name in node:
        at = f"{prefix}{name}"
        value: Any = None if OmegaConf.is_missing(node, name) else node._get_node(name)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation() and len(value):
            yield from keys(value, f"{at}.")
        else:
            yield at
