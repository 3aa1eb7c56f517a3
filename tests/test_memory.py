from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers")

import torch

from benchmarks.memory_estimate import (
    MIXTURE,
    SMALL,
    cached_per_token,
    estimated_peak,
    peak,
    saved_per_patch,
    saved_per_token,
)
from osvl_plugins import activations
from osvl_plugins.architectures import KNOWN, parameters
from osvl_plugins.memory import Layout, Training, held, host, resting, scoring, step, update
from osvl_plugins.serving import Rollout, cache, cache_bytes_per_token, hand_over, staying, weights

BIG = KNOWN["Qwen3-VL-8B"]
ALONE = Training(Layout("fsdp2", 1), tokens=32_768, score_tokens=32_768)
GIB = 1024**3


@pytest.mark.parametrize("model", [SMALL, MIXTURE], ids=["dense", "mixture"])
@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_what_a_layer_saves_is_within_two_percent_of_what_autograd_saves(
    model: activations.Architecture, dtype: torch.dtype, width: int
) -> None:
    assert activations.layer(model, width) == pytest.approx(saved_per_token(model, dtype, 256), rel=0.02)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_what_a_block_of_the_tower_saves_is_within_two_percent(dtype: torch.dtype, width: int) -> None:
    assert activations.vision_block(SMALL.vision, width) == pytest.approx(saved_per_patch(SMALL, dtype, 16), rel=0.02)


def test_a_pass_with_checkpointing_peaks_below_the_estimate_and_not_far_below() -> None:
    model = KNOWN["Qwen3-VL-2B"]
    assert 1.0 <= estimated_peak(model, 4096) / peak(model, 4096) <= 1.35


def test_the_cache_takes_what_transformers_keeps() -> None:
    assert cache_bytes_per_token(SMALL) == cached_per_token(SMALL)


def test_a_cache_is_shared_out_by_heads_down_to_one() -> None:
    whole = cache_bytes_per_token(BIG)
    assert [cache_bytes_per_token(BIG, size) for size in (2, 8, 16)] == [whole // 2, whole // 8, whole // 8]


@given(st.sampled_from(sorted(KNOWN)), st.sampled_from([1, 2, 8, 64]), st.sampled_from([2, 4]))
def test_shards_add_up_to_the_whole_model(name: str, shards: int, stored: int) -> None:
    model = KNOWN[name]
    state = held(model, Training(Layout("fsdp2", shards, shards), tokens=1, stored=stored))
    assert shards * state.weights == pytest.approx(stored * parameters(model).total)
    assert (state.gradients, state.moments) == (pytest.approx(state.weights), pytest.approx(2 * state.weights))


def test_megatrons_parts_add_up_to_the_model_but_for_the_tower_that_each_repeats() -> None:
    model = KNOWN["Qwen3-VL-30B-A3B"]
    layout = Layout("megatron", 8, tensor=4, expert=8)
    count = parameters(model)
    state = held(model, Training(layout, tokens=1))
    experts = count.layers * count.experts / 8
    dense = (count.total - count.layers * count.experts - count.vision) / 4 + count.vision
    assert state.weights == pytest.approx(2 * (experts + dense))
    assert state.moments == pytest.approx(12 * (experts + dense / 2))


def test_adapters_have_gradients_and_moments_and_the_model_has_none() -> None:
    full, adapted = held(BIG, ALONE), held(BIG, replace(ALONE, lora_rank=32))
    assert adapted.weights > full.weights
    assert adapted.gradients + adapted.moments < 0.05 * full.gradients


def test_what_is_off_loaded_is_on_the_host_and_not_beside_the_rollout() -> None:
    offloaded = replace(ALONE, param_offload=True, optimizer_offload=True)
    assert resting(BIG, offloaded) == []
    moved = host(BIG, offloaded, 8).total - host(BIG, ALONE, 8).total
    assert moved == pytest.approx(8 * sum(term.bytes for term in resting(BIG, ALONE)))


def test_a_policy_that_keeps_the_state_on_the_host_leaves_none_on_the_gpu() -> None:
    kept = replace(ALONE, host_state=True)
    names = {term.name for phase in (update(BIG, kept), step(BIG, kept), scoring(BIG, kept)) for term in phase.terms}
    assert not names & {"parameters", "gradients", "optimizer"}


@pytest.mark.parametrize(
    "smaller",
    [
        {"tokens": 4096},
        {"checkpointing": True},
        {"fused_head": True},
        {"activation_offload": True},
        {"layout": Layout("fsdp2", 8, 8)},
        {"lora_rank": 16},
    ],
    ids=str,
)
def test_what_saves_memory_in_an_update_lowers_the_estimate(smaller: dict[str, object]) -> None:
    plain = replace(ALONE, checkpointing="checkpointing" not in smaller)
    assert update(BIG, replace(plain, **smaller)).total < update(BIG, plain).total  # type: ignore[arg-type]


def test_chunks_of_the_entropy_lower_the_scoring() -> None:
    assert scoring(BIG, replace(ALONE, entropy_chunk=2048)).total < scoring(BIG, ALONE).total


def test_a_cache_holds_what_the_weights_leave_of_the_share() -> None:
    rollout = Rollout("sglang", 4, 0.85, 74_096, 128, 8192)
    room = cache(BIG, rollout, 80 * GIB)
    used = room.tokens * cache_bytes_per_token(BIG, 4) + weights(BIG, rollout)
    assert used == pytest.approx(0.85 * 80 * GIB, rel=1e-6)
    assert cache(KNOWN["Qwen3-VL-32B"], replace(rollout, tensor=1), 24 * GIB).tokens == 0


def test_an_engine_that_does_not_sleep_stays_beside_the_trainer() -> None:
    rollout = Rollout("vllm", 1, 0.5, 4096, 8, 8192)
    assert staying(BIG, ALONE, rollout, 80.0) == []
    assert sum(term.bytes for term in staying(BIG, ALONE, replace(rollout, sleeps=False), 80.0)) == 40.0


def test_weights_that_are_streamed_need_no_second_copy_of_the_shards() -> None:
    rollout = Rollout("sglang", 1, 0.5, 4096, 8, 8192)
    offloaded = replace(ALONE, param_offload=True, optimizer_offload=True)
    streamed = hand_over(BIG, offloaded, rollout)
    assert held(BIG, ALONE).weights not in [term.bytes for term in streamed.terms]
    assert hand_over(BIG, replace(offloaded, lora_rank=8), rollout).total > streamed.total
