"""A check of the config before anything starts, beside verl's own.

verl's launchers call ``validate_config`` first of all. Before it, a run with this package's agent or trainers is
refused where ``trainer.check`` would refuse it minutes later, or where a launch script's own settings leave it to a
trainer that trains fatal trajectories like any other.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from osvl_plugins.errors import OsvlError, SettingError

MODULE = "verl.utils.config"
LOOPS = ("osvl_agent", "osvl_tool_agent")


def install(config_module: ModuleType) -> None:
    """Wrap the function in verl's module; does nothing the second time. Raises ``OsvlError`` when it is not there."""
    original = getattr(config_module, "validate_config", None)
    if original is None:
        raise OsvlError("this verl has no validate_config; a wrong config is refused later, by the trainer")
    if getattr(original, "checked_by_osvl", False):
        return

    @functools.wraps(original)
    def validate_config(config: Any, *args: Any, **kwargs: Any) -> Any:
        check_start(config)
        return original(config, *args, **kwargs)

    validate_config.checked_by_osvl = True  # type: ignore[attr-defined]
    config_module.validate_config = validate_config  # type: ignore[attr-defined]


def check_start(config: Any) -> None:
    """Check verl's whole config where it concerns this package. Raises ``SettingError`` with the override to add."""
    from omegaconf import OmegaConf

    mode = str(OmegaConf.select(config, "trainer.v1.trainer_mode"))
    loop = OmegaConf.select(config, "actor_rollout_ref.rollout.agent.default_agent_loop")
    if not (loop in LOOPS or mode.startswith("osvl_") or config.get("osvl") is not None):
        return
    from osvl_plugins.verl.agent_loop import refuse_blind_estimator
    from osvl_plugins.verl.trainer import check

    if OmegaConf.select(config, "trainer.use_v1"):
        if not mode.startswith("osvl_"):
            raise SettingError(
                "trainer.v1.trainer_mode",
                f"{mode} trains fatal trajectories like any other; add trainer.v1.trainer_mode=osvl_{mode}",
            )
        check(config)
    else:
        refuse_blind_estimator(config)
        check(config, empty_micro_batches=True)
