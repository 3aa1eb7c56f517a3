"""verl's advantage estimators ``osvl_grpo`` and ``osvl_rloo``.

verl gives an estimator scores, mask and groups, but nothing of a trajectory. The trainers in
``osvl_plugins.verl.trainer`` put the fatal flags of the rows beside the call; without them the estimators refuse,
since training would go on without the clamp and nobody would see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from verl.trainer.ppo.core_algos import register_adv_est

from osvl_plugins.advantage import ESTIMATORS, Estimator, fatal_aware_advantage
from osvl_plugins.errors import SettingError
from osvl_plugins.fatal import FatalSettings

NAMES: dict[str, Estimator] = {f"osvl_{name}": name for name in ESTIMATORS}


@dataclass
class FatalBatch:
    """What the trainer knows of the rows of one batch, in their order."""

    fatal: Sequence[bool]
    settings: FatalSettings
    clamped_rows: int = 0
    """Filled by the estimator: fatal rows with tokens to train whose advantage the clamp raised to 0."""


_batch: ContextVar[FatalBatch | None] = ContextVar("osvl_fatal_batch", default=None)


@contextmanager
def fatal_batch(batch: FatalBatch) -> Iterator[FatalBatch]:
    """While the block runs, the estimators use ``batch``."""
    token = _batch.set(batch)
    try:
        yield batch
    finally:
        _batch.reset(token)


def _estimate(
    token_level_rewards: torch.Tensor,
    response_mask: torch.Tensor,
    index: Any,
    config: Any = None,
    *,
    estimator: Estimator,
    **unused: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    batch = _batch.get()
    if batch is None:
        raise SettingError(
            "algorithm.adv_estimator",
            f"osvl_{estimator} needs to know which trajectories are fatal, and only its own trainers can tell it: "
            "set trainer.v1.trainer_mode to osvl_sync, osvl_colocate_async or osvl_separate_async "
            "(and trainer.use_v1=True)",
        )
    fatal = torch.as_tensor(batch.fatal, dtype=torch.bool)
    scores = token_level_rewards.sum(dim=-1)
    norm = True if config is None else bool(config.get("norm_adv_by_std_in_grpo", True))

    result = fatal_aware_advantage(
        scores, response_mask, index, fatal, estimator=estimator, mode=batch.settings.mode, norm_by_std=norm
    )
    if batch.settings.mode == "fatal_mask_clamp":
        any_token = response_mask.any(dim=1, keepdim=True).float()
        free = fatal_aware_advantage(
            scores, any_token, index, fatal, estimator=estimator, mode="fatal_mask", norm_by_std=norm
        )
        batch.clamped_rows = int(((free.squeeze(1) < 0) & fatal.to(free.device)).sum())
    return result, result


for _name, _estimator in NAMES.items():
    register_adv_est(_name)(partial(_estimate, estimator=_estimator))
