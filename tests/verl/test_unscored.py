"""Rows whose judge failed train nothing, enter no statistic, and end the run when they are too many."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")

import torch
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

from osvl_plugins.errors import OsvlError
from osvl_plugins.rollout_dump import Rollout, read_dump
from osvl_plugins.verl.trainer import OsvlSync, scored
from tests.verl.test_legacy import algorithm, column
from tests.verl.test_trainer import TRAINERS, Queue, trainer_of

WHY = "accuracy: judge: status 500"
PARTS = {"format": 1.0, "query": float("nan"), "reason": "", "stop": ""}


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(monkeypatch)


def add(queue: Queue, key: str, score: float | None, **row: Any) -> None:
    """A row with a reward, or one without."""
    queue.add(key, score or 0.0, **row)
    queue.rows[key]["loss_mask"] = queue.rows[key]["response_mask"].clone()
    queue.rows[key]["extra_fields"]["reward_extra_info"] = PARTS | {
        "score": float("nan") if score is None else score,
        "unscored": WHY if score is None else "",
    }


def of_four(queue: Queue, lost: int = 1) -> None:
    for place, score in enumerate([0.0, 1.0, 0.3, 0.8]):
        add(queue, f"a_{place}_0", score)
    for place in range(lost):
        add(queue, f"a_{4 + place}_0", None)


@pytest.mark.parametrize("estimator", ["osvl_grpo", "osvl_rloo", "osvl(reinforce_plus_plus)", "osvl(grpo_passk)"])
@pytest.mark.parametrize("kind", TRAINERS)
def test_the_other_rows_train_as_if_it_were_not_there(kind: Any, estimator: str, queue: Queue) -> None:
    of_four(queue, lost=0)
    trainer_of(kind, algorithm__adv_estimator=estimator)._compute_advantage(queue.batch(), {})
    expected = queue.advantages()
    of_four(queue)
    trainer_of(kind, algorithm__adv_estimator=estimator)._compute_advantage(queue.batch(), {})
    assert queue.advantages() == [*expected, [0.0] * 6]


def test_no_token_of_it_counts_in_a_loss_or_its_denominator(queue: Queue) -> None:
    of_four(queue)
    trainer_of(OsvlSync)._compute_advantage(queue.batch(), {})
    for mask in ("response_mask", "loss_mask"):
        assert [row[mask].sum().item() for row in queue.rows.values()] == [6, 6, 6, 6, 0]


def test_a_mini_batch_of_such_rows_alone_is_left_out(queue: Queue) -> None:
    of_four(queue)
    trainer = trainer_of(OsvlSync, osvl__reward={"unscored_limit": 0.5})
    trainer.config.actor_rollout_ref.rollout.n = 1
    trainer._update_actor(trainer._compute_advantage(queue.batch(), metrics := {}), metrics)
    assert trainer.actor_rollout_wg.updates == [[f"a_{place}_0" for place in range(4)]]


def test_it_is_counted_and_in_no_mean(queue: Queue) -> None:
    of_four(queue)
    trainer_of(OsvlSync)._compute_advantage(queue.batch(), metrics := {})
    assert metrics["osvl/unscored_rate/mean"] == 0.2
    assert metrics["osvl/untrained_rows"] == 1
    assert metrics["osvl/reward/score/mean"] == pytest.approx((0.0 + 1.0 + 0.3 + 0.8) / 4)
    assert not [name for name in metrics if "query" in name or "reason" in name or "reward/unscored" in name]


def test_verl_leaves_it_out_of_its_own_metrics_like_padding(queue: Queue) -> None:
    of_four(queue)
    result = trainer_of(OsvlSync)._compute_advantage(queue.batch(), {})
    assert [bool(tag.get("is_padding")) for tag in result.tags] == [False] * 4 + [True]


def test_padding_is_no_row_without_a_score(queue: Queue) -> None:
    of_four(queue)
    add(queue, "pad_0_0", None, padding=True)
    trainer_of(OsvlSync)._compute_advantage(queue.batch(), metrics := {})
    assert metrics["osvl/unscored_rate/mean"] == 0.2
    assert "unscored" not in queue.tags["pad_0_0"]


def test_too_many_of_them_end_the_run(queue: Queue) -> None:
    of_four(queue, lost=2)
    with pytest.raises(OsvlError, match=r"2 of 6 samples .*unscored_limit = 0.25; .*status 500"):
        trainer_of(OsvlSync)._compute_advantage(queue.batch(), {})


def test_a_step_of_nothing_else_trains_nothing_where_that_is_allowed(queue: Queue) -> None:
    add(queue, "a_0_0", None)
    add(queue, "a_1_0", None)
    trainer = trainer_of(OsvlSync, osvl__reward={"unscored_limit": 1.0}, actor_rollout_ref__rollout__n=2)
    result = trainer._compute_advantage(queue.batch(), metrics := {})
    assert trainer._update_actor(result, metrics) is result
    assert trainer.actor_rollout_wg.updates == []
    assert "osvl/reward/score/mean" not in metrics


def test_a_judge_that_could_not_be_replayed_ends_the_run(queue: Queue) -> None:
    of_four(queue, lost=0)
    queue.rows["a_2_0"]["extra_fields"]["reward_extra_info"]["stop"] = "judge: never recorded"
    with pytest.raises(OsvlError, match=r"^judge: never recorded"):
        trainer_of(OsvlSync)._compute_advantage(queue.batch(), {})


def test_its_trajectory_and_every_part_of_the_rewards_are_dumped(queue: Queue, tmp_path: Path) -> None:
    of_four(queue)
    add(queue, "pad_0_0", 0.0, padding=True)
    trainer = trainer_of(OsvlSync)
    batch = trainer._compute_advantage(queue.batch(), {})
    for row in queue.rows.values():
        row["prompts"] = row["responses"] = torch.tensor([1, 2])
        row["reward_model"] = {"ground_truth": "Oslo"}
    trainer.tokenizer = _Tokenizer()
    trainer._dump_executor, trainer._dump_futures = ThreadPoolExecutor(1), []
    trainer._log_rollout_data(batch, {}, str(tmp_path))
    trainer._dump_executor.shutdown()
    rows = [json.loads(line) for line in (tmp_path / "5.jsonl").read_text().splitlines()]
    assert rows[1]["reward"] == PARTS | {"score": 1.0, "query": None, "unscored": ""}
    assert (rows[4]["reward"]["score"], rows[4]["reward"]["unscored"]) == (None, WHY)
    read = list(read_dump([tmp_path / "5.jsonl"]))
    assert [rollout.score for rollout in read if isinstance(rollout, Rollout)] == [0.0, 1.0, 0.3, 0.8, None]


class _Tokenizer:
    pad_token_id = 0

    def decode(self, ids: Any, skip_special_tokens: bool) -> str:
        return ""


def test_a_validation_is_the_mean_over_what_was_scored(queue: Queue) -> None:
    infos = {
        "reward": [1.0, 0.0, 0.5, 0.0, 0.5],
        "query": [0.5, float("nan"), 1.0, 0.3, float("nan")],
        "unscored": ["", "", "", WHY, ""],
        "stop": [""] * 5,
    }
    uids = [f"u{row}" for row in range(5)]
    metrics = trainer_of(OsvlSync)._val_metrics_update(["osvl"] * 5, uids, infos, [])
    assert metrics["val-core/osvl/reward/mean@1"] == 0.5
    assert metrics["val-aux/osvl/query/mean@1"] == 0.75


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"unscored": [WHY, WHY, ""]}, "2 of 3 samples"), ({"stop": ["", "judge: never recorded", ""]}, "never recorded")],
)
def test_a_validation_can_end_the_run(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(OsvlError, match=message):
        scored({"reward": [0.0] * 3, "unscored": [""] * 3, "stop": [""] * 3} | changed, 0.25)


def test_the_rewards_of_another_manager_are_left_as_they_are() -> None:
    infos = {"reward": [0.0, float("nan")]}
    assert scored(infos, 0.25) is infos


@pytest.mark.parametrize("name", ["osvl_grpo", "osvl_rloo"])
def test_a_legacy_trainers_batch_leaves_it_out_as_well(name: str, queue: Queue) -> None:
    of_four(queue)
    fields = [row["extra_fields"] for row in queue.rows.values()]
    mask = torch.stack([row["response_mask"] for row in queue.rows.values()])
    scores = torch.stack([row["rm_scores"] for row in queue.rows.values()])
    estimate = ADV_ESTIMATOR_REGISTRY[name]

    def advantages(count: int, mask: torch.Tensor, metrics: dict[str, float] | None = None) -> torch.Tensor:
        columns = {
            "osvl": column([row["osvl"] for row in fields[:count]]),
            "reward_extra_info": column([row["reward_extra_info"] for row in fields[:count]]),
        }
        got: torch.Tensor = estimate(
            token_level_rewards=scores[:count],
            response_mask=mask,
            index=np.array(["a"] * count, dtype=object),
            config=algorithm(),
            non_tensor_batch=columns,
            metrics=metrics,
        )[0]
        return got

    expected = advantages(4, mask[:4].clone())
    got = advantages(5, mask, metrics := {})
    assert torch.equal(got, torch.cat([expected, torch.zeros(1, 6)]))
    assert mask.sum(1).tolist() == [6, 6, 6, 6, 0]
    assert metrics["osvl/unscored_rate/mean"] == 0.2
