"""What verl, and this package's trainers, say of a config before a run starts."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
from collections.abc import Callable

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from osvl_plugins.errors import SettingError
from osvl_plugins.preflight.finding import Finding, refused
from osvl_plugins.preflight.recipes import Composed
from osvl_plugins.verl.start import check_start

REFUSALS = (
    AssertionError, ValueError, TypeError, KeyError, NotImplementedError, HydraException, OmegaConfBaseException,
)  # fmt: skip
"""What verl's configs raise for values that they do not take."""


def own_checks(composed: Composed) -> list[Finding]:
    """The validation of verl for RL, or of its engine and optimizer for SFT; then that of this package's trainers."""
    config: DictConfig = copy.deepcopy(composed.config)  # verl writes into it
    if composed.kind == "SFT":
        return [_said("verl's engine and optimizer", lambda: _sft(config))]
    mode = str(OmegaConf.select(config, "trainer.v1.trainer_mode"))
    return [
        _said("verl's validate_config", lambda: _rl(config)),
        _said(f"trainer {mode}", lambda: check_start(config)),
    ]


def _rl(config: DictConfig) -> None:
    # The plugin has wrapped it with check_start, which gets a line of its own.
    inspect.unwrap(validate_config)(
        config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config)
    )


def _sft(config: DictConfig) -> None:
    for group in (config.engine, config.optim, config.checkpoint):
        omega_conf_to_dataclass(group)


def _said(name: str, check: Callable[[], None]) -> Finding:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check()
    except SettingError as error:
        return refused(error)
    except REFUSALS as error:
        reason = error.__cause__ or error
        return Finding("error", name, f"{type(reason).__name__}: {reason}")
    return Finding("ok", name, "accepts the config")
