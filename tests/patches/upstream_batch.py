"""One advantage step of verl's own V1 trainer on a batch in a real TransferQueue, and one of its legacy trainers.

Prints a line of JSON. The rows are those of ``legacy_batch``, and a padding row that carries a fatal row's record.
"""

from __future__ import annotations

import json
from typing import Any

import ray
import torch
import transfer_queue as tq
import verl
from legacy_batch import GROUPS, SCENARIOS, attempt, config, rollout
from omegaconf import OmegaConf
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

ROWS = [(f"{uid}_{n}_0", uid, sample) for uid, samples in GROUPS.items() for n, sample in enumerate(samples)]
PADDING = ("pad_0_0", "pad", (9.0, 0))


def jagged(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def put() -> Any:
    """As the agent loop workers leave rows, whose lengths differ."""
    made = [(key, uid, rollout(*sample), sample[0]) for key, uid, sample in [*ROWS, PADDING]]
    masks = [output.response_mask[0, : 6 + n % 3] for n, (_, _, output, _) in enumerate(made)]
    masks[-1] = torch.zeros(1, dtype=torch.long)
    scores = [torch.zeros(len(mask)) for mask in masks]
    for row, (_, _, _, score) in zip(scores, made, strict=True):
        row[-1] = score
    fields = TensorDict(
        {
            "uid": NonTensorStack(*[uid for _, uid, _, _ in made]),
            "response_mask": jagged(masks),
            "rm_scores": jagged(scores),
            "extra_fields": NonTensorStack(*[output.extra_fields for _, _, output, _ in made]),
        },
        batch_size=len(made),
    )
    tags = [{"is_padding": True} if key == PADDING[0] else {} for key, _, _, _ in made]
    return tq.kv_batch_put(keys=[key for key, _, _, _ in made], partition_id="train", fields=fields, tags=tags)


def advantages() -> dict[str, Any]:
    """One advantage step of ``PPOTrainerSync``, read back from the queue."""
    whole = config(use_kl_in_reward=False)
    whole.actor_rollout_ref.actor.policy_loss.loss_mode = "vanilla"
    trainer = object.__new__(PPOTrainerSync)
    trainer.config = whole
    metrics: dict[str, float] = {}
    batch = trainer._compute_advantage(put(), metrics)
    back = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages"])
    return {"advantages": [row.tolist() for row in back["advantages"].unbind()], "metrics": metrics}


if __name__ == "__main__":
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=80_000_000, log_to_driver=False)
    tq.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1, "total_storage_size": 100}}}))
    try:
        reports = {"v1": attempt(advantages), "legacy": attempt(SCENARIOS["osvl_grpo"])}
    finally:
        tq.close()
        ray.shutdown()
    print(json.dumps({"verl": verl.__file__, **reports}))
