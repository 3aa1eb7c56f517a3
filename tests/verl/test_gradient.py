"""What reaches the weights: gradients of a small model through verl's own losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")

import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from transformers import Qwen2Config, Qwen2ForCausalLM
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, agg_loss, compute_policy_loss_vanilla, kl_penalty
from verl.utils.tensordict_utils import assign_non_tensor
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from osvl_plugins.advantage import ESTIMATORS, fatal_aware_advantage
from osvl_plugins.fatal import MODES, token_mask
from osvl_plugins.trajectory import Span

AGGREGATIONS = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-sum-norm", "seq-mean-token-mean"]
PROMPT, WIDTH, VOCABULARY = 3, 6, 23
SPANS = [Span(0, 2), Span(2, 3), Span(4, 6)]
FATAL = [None, 1, 0, 1, None]
SCORES = [1.0, 0.0, 0.1, 0.9, 0.2]
"""In turn: clean; fatal and below the mean; fatal at once; fatal and above the mean; clean and below."""
OLD = -3.0


class Batch:
    """The rows as the learner has them, and ``pads`` rows of padding."""

    def __init__(self, mode: Any, estimator: Any = "grpo", pads: int = 0) -> None:
        masks = [token_mask(WIDTH, SPANS, step, mode) for step in FATAL] + [[0] * WIDTH] * pads
        self.mask = torch.tensor(masks)
        rows = len(masks)
        draw = torch.Generator().manual_seed(1)
        self.ids = torch.randint(0, VOCABULARY, (5, PROMPT + WIDTH), generator=draw)
        self.ids = torch.cat([self.ids, torch.zeros(pads, PROMPT + WIDTH, dtype=torch.long)])
        self.advantages, self.clamped = fatal_aware_advantage(
            torch.tensor(SCORES + [0.0] * pads),
            self.mask,
            np.array(["q"] * 5 + ["pad"] * pads, dtype=object),
            torch.tensor([step is not None for step in FATAL] + [False] * pads),
            estimator=estimator,
            mode=mode,
        )
        noise = torch.rand((5, WIDTH), generator=draw)
        self.old = torch.cat([OLD + 0.2 * noise, torch.full((rows - 5, WIDTH), OLD)])


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            attn_implementation="eager",
        )
    ).double()


def log_probs(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Log-probability of every response token, (batch, WIDTH)."""
    logits = model(input_ids=ids).logits[:, PROMPT - 1 : -1].log_softmax(-1)
    return logits.gather(2, ids[:, PROMPT:].unsqueeze(2)).squeeze(2)


def gradient(model: Any, loss: torch.Tensor) -> torch.Tensor:
    """All of the model's gradients in one vector."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    return torch.cat([weight.grad.flatten().clone() for weight in model.parameters() if weight.grad is not None])


def actor(**changed: Any) -> FSDPActorConfig:
    """The actor's settings; batch figures as verl's worker sets them are left to the caller."""
    return FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio=0.2,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        clip_ratio_c=3.0,
        **changed,
    )


def loss_of(batch: Batch, log_prob: torch.Tensor, aggregation: str, rows: int | None = None) -> torch.Tensor:
    """verl's clipped loss; ``rows`` is the size of the mini-batch, None for that of the batch."""
    config = actor()
    config.global_batch_info["global_batch_size"] = rows
    loss, _ = compute_policy_loss_vanilla(
        batch.old.double(),
        log_prob,
        batch.advantages.double(),
        batch.mask.bool(),
        loss_agg_mode=aggregation,
        config=config,
    )
    return loss


def by_hand(batch: Batch, log_prob: torch.Tensor, aggregation: str) -> torch.Tensor:
    """d loss / d log-probability of every token, written out: -A ratio, 0 where the clip is active, over the mean."""
    weight = torch.zeros_like(log_prob)
    lengths = batch.mask.sum(1)
    used = int((lengths > 0).sum())
    for row in range(len(lengths)):
        for token in range(WIDTH):
            if not batch.mask[row, token]:
                continue
            value = float(batch.advantages[row, token])
            ratio = float((log_prob[row, token] - batch.old[row, token].double()).exp())
            active = ratio <= 1.28 if value > 0 else 0.8 <= ratio <= 3.0
            if value == 0 or not active:
                continue
            share = {
                "token-sum": 1.0,
                "token-mean": 1 / float(lengths.sum()),
                "seq-mean-token-sum": 1 / used,
                "seq-mean-token-sum-norm": 1 / (used * WIDTH),
                "seq-mean-token-mean": 1 / (used * float(lengths[row])),
            }[aggregation]
            weight[row, token] = -value * ratio * share
    return weight


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_the_gradient_is_the_one_worked_by_hand(model: Any, aggregation: str, mode: Any, estimator: Any) -> None:
    batch = Batch(mode, estimator)
    log_prob = log_probs(model, batch.ids)
    got = gradient(model, loss_of(batch, log_prob, aggregation))
    expected = gradient(model, (by_hand(batch, log_prob.detach(), aggregation) * log_prob).sum())
    assert got.abs().max() > 0
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_masked_tokens_and_clamped_rows_have_no_gradient_at_all(model: Any, aggregation: str, mode: Any) -> None:
    batch = Batch(mode)
    log_prob = log_probs(model, batch.ids)
    (of_tokens,) = torch.autograd.grad(loss_of(batch, log_prob, aggregation), log_prob)
    assert (of_tokens[batch.mask == 0] == 0).all()
    assert batch.clamped.tolist() == [mode == "fatal_mask_clamp" and place in (1, 2) for place in range(5)]
    assert (of_tokens[batch.clamped] == 0).all()
    assert (of_tokens[3, :2] != 0).all() == (mode != "hard_mask")


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_batch_of_clamped_rows_leaves_the_weights_alone(model: Any, aggregation: str) -> None:
    batch = Batch("fatal_mask_clamp")
    batch.mask = batch.mask[1:2]
    batch.advantages, batch.old = batch.advantages[1:2], batch.old[1:2]
    assert batch.mask.sum() == 2
    assert (gradient(model, loss_of(batch, log_probs(model, batch.ids[1:2]), aggregation)) == 0).all()


@pytest.mark.parametrize("ratio", [1e-6, 1.0, 50.0])
def test_the_dual_clip_never_meets_a_fatal_row(ratio: float) -> None:
    """It acts on negative advantages, whatever the ratio; a clamped row loses exactly 0."""
    batch = Batch("fatal_mask_clamp")
    log_prob = (batch.old.double() + np.log(ratio)).requires_grad_()
    (of_tokens,) = torch.autograd.grad(loss_of(batch, log_prob, "token-sum"), log_prob)
    assert (of_tokens[batch.clamped] == 0).all()
    assert of_tokens.isfinite().all()


@pytest.mark.parametrize("rows", [None, 5])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_padding_rows_change_nothing(model: Any, aggregation: str, rows: int | None) -> None:
    """With a size of the mini-batch, as verl's trainers give it, or without."""
    plain, padded = Batch("fatal_mask_clamp"), Batch("fatal_mask_clamp", pads=3)
    without = gradient(model, loss_of(plain, log_probs(model, plain.ids), aggregation, rows))
    with_them = gradient(model, loss_of(padded, log_probs(model, padded.ids), aggregation, rows))
    torch.testing.assert_close(with_them, without, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("aggregation", [name for name in AGGREGATIONS if name.startswith("seq")])
def test_with_verls_size_of_the_mini_batch_a_row_without_a_token_stays_in_the_mean(aggregation: str) -> None:
    batch = Batch("fatal_mask_clamp")
    log_prob = batch.old.double().requires_grad_()
    own, fixed = (loss_of(batch, log_prob, aggregation, rows).item() for rows in (None, 5))
    assert fixed == pytest.approx(own * 4 / 5)  # one of the five is fatal at once


def penalised(loss: str) -> bool:
    """Losses with a term of their own beside the advantage's."""
    return loss in ("dro", "kl_cov")


@pytest.mark.parametrize("loss", sorted(set(POLICY_LOSS_REGISTRY) - {"bypass_mode"}))
def test_no_policy_loss_of_verl_trains_a_masked_token_or_a_clamped_row(loss: str) -> None:
    batch = Batch("fatal_mask_clamp", pads=2)
    log_prob = (batch.old.double() + 0.1).requires_grad_()
    config = actor(policy_loss=PolicyLossConfig(loss_mode=loss, dro_beta=0.1))
    value, _ = POLICY_LOSS_REGISTRY[loss](
        old_log_prob=batch.old.double(),
        log_prob=log_prob,
        advantages=batch.advantages.double(),
        response_mask=batch.mask.bool(),
        loss_agg_mode="token-mean",
        config=config,
    )
    (of_tokens,) = torch.autograd.grad(value, log_prob)
    assert of_tokens.isfinite().all()
    assert (of_tokens[batch.mask == 0] == 0).all()
    assert penalised(loss) or (of_tokens[batch.clamped] == 0).all()
    assert (of_tokens[0, :2] != 0).all()


def test_the_bypass_loss_raises_on_a_row_without_a_token() -> None:
    """Why the trainers refuse it."""
    config = actor(
        policy_loss=PolicyLossConfig(loss_mode="bypass_mode", rollout_correction=OmegaConf.create({"rollout_is": None}))
    )
    zeros = torch.zeros(1, WIDTH)
    with pytest.raises(ValueError, match="at least one valid token"):
        POLICY_LOSS_REGISTRY["bypass_mode"](zeros, zeros, zeros, zeros.bool(), config=config)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_kl_loss_and_entropy_act_on_the_tokens_that_train_alone(aggregation: str) -> None:
    batch = Batch("fatal_mask_clamp", pads=1)
    log_prob = batch.old.double().requires_grad_()
    divergence = kl_penalty(log_prob, batch.old.double() - 1, "low_var_kl")
    (of_tokens,) = torch.autograd.grad(agg_loss(divergence, batch.mask.bool(), aggregation), log_prob)
    assert torch.equal(of_tokens != 0, batch.mask != 0)


def jagged(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def worker_gradient(model: Any, batch: Batch, aggregation: str, parts: list[list[int]]) -> torch.Tensor:
    """Of verl's ``ppo_loss`` over micro-batches of these rows, with the figures that verl's worker gives them."""
    config = actor(loss_agg_mode=aggregation)
    model.zero_grad()
    for rows in parts:
        log_prob = log_probs(model, batch.ids[rows])
        # The worker's model output runs over prompt and response, shifted by one.
        whole = torch.cat([torch.zeros(len(rows), PROMPT - 1).double(), log_prob, torch.zeros(len(rows), 1)], dim=1)
        data = TensorDict(
            {
                "prompts": jagged([batch.ids[row, :PROMPT] for row in rows]),
                "responses": jagged([batch.ids[row, PROMPT:] for row in rows]),
                "response_mask": jagged([batch.mask[row] for row in rows]),
                "old_log_probs": jagged([batch.old[row].double() for row in rows]),
                "advantages": jagged([batch.advantages[row].double() for row in rows]),
            },
            batch_size=len(rows),
        )
        figures = {"dp_size": 1, "global_batch_size": len(batch.mask), "batch_num_tokens": int(batch.mask.sum())}
        assign_non_tensor(data, **figures)
        loss, _ = ppo_loss(config, {"log_probs": jagged(list(whole))}, data)
        loss.backward()
    return torch.cat([weight.grad.flatten().clone() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("aggregation", [name for name in AGGREGATIONS if "norm" not in name])
def test_micro_batches_without_a_token_add_nothing_in_verls_worker(model: Any, aggregation: str) -> None:
    batch = Batch("fatal_mask_clamp", pads=1)
    together = worker_gradient(model, batch, aggregation, [[0, 1, 2, 3, 4, 5]])
    apart = worker_gradient(model, batch, aggregation, [[0], [2], [1, 4], [5], [3]])
    assert together.isfinite().all()
    torch.testing.assert_close(apart, together, rtol=1e-9, atol=1e-12)
