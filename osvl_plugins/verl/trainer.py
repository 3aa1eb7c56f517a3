"""verl's V1 trainers with fatal flags: ``osvl_sync``, ``osvl_colocate_async``, ``osvl_separate_async``.

Each is verl's own trainer of that mode. The difference is one step: before advantages are computed, what the agent
loop recorded of each row is fetched from TransferQueue, given to the estimator and logged.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.workers.utils.padding import response_to_nested

from osvl_plugins.errors import SettingError
from osvl_plugins.verl.agent_loop import agent_settings, fatal_settings
from osvl_plugins.verl.estimators import NAMES, FatalBatch, fatal_batch
from osvl_plugins.verl.metrics import rollout_metrics
from osvl_plugins.verl.rollout import RolloutRecord

logger = logging.getLogger(__name__)


class FatalAware:
    """Mixin for verl's V1 trainers; ``base_mode`` is the trainer's own name in verl."""

    base_mode: ClassVar[str]
    _trains = True

    def __init__(self, config: DictConfig) -> None:
        check(config)
        self.fatal = fatal_settings(config)
        # verl chooses the replay buffer and reads a mode's settings by this name.
        with open_dict(config):
            config.trainer.v1.trainer_mode = self.base_mode
        super().__init__(config)  # type: ignore[call-arg]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        fetched = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        fields = fetched.pop("extra_fields").tolist()
        padding = [bool(tag.get("is_padding")) for tag in batch.tags]
        records = [RolloutRecord.from_fields(row) for row in fields]
        flags = [
            record.trajectory.fatal_step is not None and not padded
            for record, padded in zip(records, padding, strict=True)
        ]
        real = [index for index, padded in enumerate(padding) if not padded]
        self._trains = any(records[index].trained_tokens for index in real)
        with fatal_batch(FatalBatch(flags, self.fatal)) as known:
            compute = super()._compute_advantage  # type: ignore[misc]
            result = compute(batch, metrics) if self._trains else _no_advantage(batch)
        rewards = [fields[index].get("reward_extra_info") or {} for index in real]
        metrics.update(rollout_metrics([records[index] for index in real], rewards, known.clamped_rows))
        return result

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if self._trains:
            return super()._update_actor(batch, metrics)  # type: ignore[misc]
        # verl would divide by the number of tokens.
        logger.warning("no token of this batch is left to train; the policy stays as it is")
        return batch


def _no_advantage(batch: Any) -> Any:
    # verl's rollout correction raises on a batch without a token to train.
    fetched = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"])
    mask = fetched["response_mask"]
    zeros = response_to_nested(torch.zeros(mask.to_padded_tensor(0).shape), mask)
    fields = TensorDict({"advantages": zeros, "returns": zeros.clone()}, batch_size=len(batch))
    return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)


def check(config: DictConfig) -> None:
    """Refuse a config that would train something else than it says.

    Raises ``SettingError`` with the name of the setting to change.
    """
    agent_settings(config)
    fatal_settings(config)
    estimator = str(config.algorithm.adv_estimator)
    if estimator not in NAMES:
        raise SettingError(
            "algorithm.adv_estimator",
            f"{estimator} knows nothing of fatal trajectories; set it to one of {', '.join(NAMES)}",
        )
    if int(config.actor_rollout_ref.rollout.n) < 2:
        raise SettingError(
            "actor_rollout_ref.rollout.n", f"{estimator} compares samples of one prompt and needs at least 2 of them"
        )


@register_trainer("osvl_sync")
class OsvlSync(FatalAware, PPOTrainerSync):
    base_mode = "sync"


@register_trainer("osvl_colocate_async")
class OsvlColocateAsync(FatalAware, PPOTrainerColocateAsync):
    base_mode = "colocate_async"


@register_trainer("osvl_separate_async")
class OsvlSeparateAsync(FatalAware, PPOTrainerSeparateAsync):
    base_mode = "separate_async"
