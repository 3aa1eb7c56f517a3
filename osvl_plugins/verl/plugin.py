"""What verl loads: the entry point ``verl.plugins`` names this module, and importing it is all that verl does.

verl loads it in every process of a run, so it imports nothing of verl. Each registration waits for the moment verl
itself imports the registry it belongs to. verl hides a plugin's errors at DEBUG; here each is logged with its
traceback and kept for ``registrations``, and training then stops at verl's own "unknown name".
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, NamedTuple

import wrapt

from osvl_plugins import recipes
from osvl_plugins.verl import cpu, mrope_guard, start

logger = logging.getLogger(__name__)

Status = Literal["waiting", "done", "failed"]


@dataclass
class Registration:
    """One hook: what it registers, the module of verl it waits for, and how it went in this process."""

    name: str
    module: str
    status: Status = "waiting"
    detail: str = ""


class Hook(NamedTuple):
    """``register`` is given the module once verl has imported it."""

    name: str
    module: str
    register: Callable[[ModuleType], None]


# These three modules register their classes with verl's decorators, so importing them is enough. It is also right when
# a Ray worker, unpickling one of the classes, imports such a module first and verl within it: the module is then only
# half there while the hook runs, and registers once the import goes on.


def _estimators(core_algos: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.estimators")


def _trainers(v1: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.trainer")


def _reward_manager(package: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.reward_manager")


def _agent_loop(agent_loop: ModuleType) -> None:
    registry = agent_loop._agent_loop_registry
    registry["osvl_agent"] = {"_target_": "osvl_plugins.verl.agent_loop.OsvlAgentLoop"}
    registry["osvl_tool_agent"] = {"_target_": "osvl_plugins.verl.fatal_loop.FatalAwareToolAgentLoop"}


def _rollout_server(replica: ModuleType) -> None:
    def load() -> type:
        server: type = importlib.import_module("osvl_plugins.verl.cpu.rollout").TransformersReplica
        return server

    replica.RolloutReplicaRegistry.register("transformers", load)


def _rollout_adapter(base: ModuleType) -> None:
    base._ROLLOUT_REGISTRY["transformers", "async"] = "osvl_plugins.verl.cpu.rollout.ServerAdapter"


HOOKS = (
    Hook("estimators osvl_grpo, osvl_rloo", "verl.trainer.ppo.core_algos", _estimators),
    # The package, not one of its modules: it is complete only when all three trainers are there to be subclassed.
    Hook("trainers osvl_*", "verl.trainer.ppo.v1", _trainers),
    Hook("agent loops osvl_agent, osvl_tool_agent", "verl.experimental.agent_loop.agent_loop", _agent_loop),
    Hook("reward manager osvl_composite", "verl.experimental.reward_loop.reward_manager", _reward_manager),
    Hook("rollout server transformers", "verl.workers.rollout.replica", _rollout_server),
    Hook("rollout adapter transformers", "verl.workers.rollout.base", _rollout_adapter),
    Hook("guard for mRoPE positions", mrope_guard.MODULE, mrope_guard.install),
    Hook("check of the config", start.MODULE, start.install),
    Hook("resolver osvl_recipe", "omegaconf", recipes.register_resolver),
)

_registrations: list[Registration] = []


def registrations() -> list[Registration]:
    """Every hook of this process and how it went."""
    return list(_registrations)


def _install(hook: Hook) -> None:
    record = Registration(hook.name, hook.module)
    _registrations.append(record)

    def run(module: ModuleType) -> None:
        try:
            hook.register(module)
        except Exception as error:
            record.status, record.detail = "failed", f"{type(error).__name__}: {error}"
            logger.exception("osvl-plugins: %s could not be registered when %s was imported", hook.name, hook.module)
        else:
            record.status = "done"

    wrapt.when_imported(hook.module)(run)


def _cpu_hooks() -> list[Hook]:
    try:
        if not cpu.wanted():
            return []
        cpu.set_environment()
    except Exception as error:
        _registrations.append(Registration("CPU", "", "failed", str(error)))
        logger.exception("osvl-plugins: the CPU parts are not installed")
        return []
    return [Hook(name, module, register) for name, module, register in cpu.HOOKS]


for _hook in (*HOOKS, *_cpu_hooks()):
    _install(_hook)
