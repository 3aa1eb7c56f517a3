from __future__ import annotations

import pytest

pytest.importorskip("verl")

from osvl_plugins.architectures import KNOWN
from osvl_plugins.memory import GIB
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.fit import check_memory, check_work
from tests.preflight.plans import plan


def estimate(name: str, model: str, gib: float, *overrides: str) -> dict[str, Finding]:
    run = plan(name, *overrides)
    return {found.name: found for found in check_memory(run, KNOWN[model], run.training(), gib * GIB)}


@pytest.mark.parametrize(
    ("name", "model", "gib", "overrides"),
    [
        ("osvl_qwen3_vl_8b", "Qwen3-VL-8B", 96, ()),
        ("osvl_qwen3_vl_8b", "Qwen3-VL-8B", 80, ()),
        ("osvl_qwen3_vl_8b", "Qwen3-VL-8B", 80, ("osvl/engine=megatron",)),
        ("osvl_qwen3_vl_8b_1node", "Qwen3-VL-8B", 96, ()),
        ("osvl_qwen3_vl_30b_a3b", "Qwen3-VL-30B-A3B", 96, ("osvl/engine=megatron",)),
        ("osvl_qwen3_vl_32b", "Qwen3-VL-32B", 96, ()),
        ("osvl_qwen3_vl_8b_lora_8x24g", "Qwen3-VL-8B", 24, ()),
        ("osvl_qwen3_vl_2b_1x24g", "Qwen3-VL-2B", 24, ()),
        ("osvl_qwen3_vl_8b_sft", "Qwen3-VL-8B", 80, ()),
    ],
)
def test_a_recipe_fits_the_gpus_that_it_names(name: str, model: str, gib: float, overrides: tuple[str, ...]) -> None:
    found = estimate(name, model, gib, *overrides)
    assert [each for each in found.values() if each.level == "error"] == []


def test_a_model_that_is_far_too_large_says_what_does_not_fit() -> None:
    found = estimate("osvl_qwen3_vl_32b", "Qwen3-VL-32B", 24, "trainer.nnodes=1", "trainer.n_gpus_per_node=1")
    for phase in ("update", "optimizer step", "log-probabilities"):
        assert found[phase].level == "error"
        assert found[phase].remedy
    assert "parameters" in found["update"].detail


def test_whole_logits_of_the_published_budget_do_not_fit_and_the_setting_is_named() -> None:
    whole = (
        "actor_rollout_ref.model.use_fused_kernels=false",
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=74576",
    )
    found = estimate("osvl_qwen3_vl_8b", "Qwen3-VL-8B", 80, *whole)
    assert found["log-probabilities"].level == "error"
    assert "use_fused_kernels=true" in found["log-probabilities"].remedy


def test_a_cache_without_room_for_one_sequence_names_the_length() -> None:
    longest = "actor_rollout_ref.rollout.max_model_len=null"
    found = estimate("osvl_qwen3_vl_8b_lora_8x24g", "Qwen3-VL-8B", 24, longest)
    assert found["cache"].level == "error"
    assert "actor_rollout_ref.rollout.max_model_len=16384" in found["cache"].remedy


def test_weights_that_exceed_the_share_leave_no_cache() -> None:
    found = estimate("osvl_qwen3_vl_32b", "Qwen3-VL-32B", 16)
    assert found["cache"].level == "error"
    assert "tensor_model_parallel_size" in found["cache"].remedy


def test_a_step_is_as_large_as_the_settings_say() -> None:
    (work,) = check_work(plan("osvl_qwen3_vl_8b"))
    assert "256 prompts x 8 = 2,048 trajectories" in work.detail
    assert f"{2048 * 74_096:,} tokens" in work.detail
