from __future__ import annotations

import pytest

pytest.importorskip("verl")

from osvl_plugins.architectures import KNOWN
from osvl_plugins.errors import SettingError
from osvl_plugins.preflight.arithmetic import check_arithmetic
from tests.preflight.plans import plan

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
MODEL = KNOWN["Qwen3-VL-8B"]


def errors(name: str, *overrides: str) -> set[str]:
    run = plan(name, *overrides)
    return {found.name for found in check_arithmetic(run, run.layout(), MODEL) if found.level == "error"}


@pytest.mark.parametrize(
    "recipe", ["osvl_qwen3_vl_8b", "osvl_qwen3_vl_8b_1node", "osvl_qwen3_vl_8b_lora_8x24g", "osvl_qwen3_vl_8b_sft"]
)
def test_recipes_divide(recipe: str) -> None:
    assert errors(recipe) == set()


def test_the_published_layout_of_megatron_divides() -> None:
    assert errors("osvl_qwen3_vl_8b", "osvl/engine=megatron") == set()


@pytest.mark.parametrize(
    ("override", "name"),
    [
        (f"{ROLLOUT}.tensor_model_parallel_size=3", f"{ROLLOUT}.tensor_model_parallel_size"),
        (f"{ROLLOUT}.max_model_len=4096", f"{ROLLOUT}.max_model_len"),
        (f"{ACTOR}.ppo_max_token_len_per_gpu=2048", f"{ACTOR}.ppo_max_token_len_per_gpu"),
        (f"{ROLLOUT}.log_prob_max_token_len_per_gpu=2048", f"{ROLLOUT}.log_prob_max_token_len_per_gpu"),
        (
            f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size=64",
            f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size",
        ),
        (f"{ACTOR}.ppo_mini_batch_size=4 {ROLLOUT}.n=1", f"{ACTOR}.ppo_mini_batch_size"),
    ],
)
def test_what_does_not_divide_is_named(override: str, name: str) -> None:
    assert name in errors("osvl_qwen3_vl_8b", *override.split())


def test_a_batch_of_no_whole_number_of_mini_batches_is_a_warning() -> None:
    run = plan("osvl_qwen3_vl_8b", f"{ACTOR}.ppo_mini_batch_size=100")
    assert [(found.level, found.name) for found in check_arithmetic(run, run.layout(), MODEL)] == [
        ("warning", "data.train_batch_size")
    ]


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("parallel.context=3", f"{ACTOR}.megatron"),
        ("parallel.tensor=64", f"{ACTOR}.megatron.tensor_model_parallel_size"),
        ("parallel.pipeline=8", f"{ACTOR}.megatron.pipeline_model_parallel_size"),
        ("parallel.expert=32", f"{ACTOR}.megatron.expert_model_parallel_size"),
    ],
)
def test_a_layout_of_megatron_that_does_not_divide_is_named(override: str, name: str) -> None:
    assert name in errors("osvl_qwen3_vl_8b", "osvl/engine=megatron", override)


def test_rows_of_a_micro_batch_must_divide_a_ranks_mini_batch() -> None:
    name = f"{ACTOR}.ppo_micro_batch_size_per_gpu"
    assert name in errors("osvl_qwen3_vl_8b", f"{ACTOR}.use_dynamic_bsz=false", f"{name}=7")


def test_sft_needs_a_batch_that_divides_by_the_ranks() -> None:
    assert errors("osvl_qwen3_vl_8b_sft", "data.train_batch_size=250") == {"data.train_batch_size"}
    assert errors("osvl_qwen3_vl_8b_sft", "data.max_token_len_per_gpu=1000") == {"data.max_token_len_per_gpu"}


@pytest.mark.parametrize(
    "name",
    ["trainer.nnodes", f"{ROLLOUT}.tensor_model_parallel_size", f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size"],
)
def test_a_size_below_one_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(SettingError, match=rf"^{name}: must be a whole number of at least 1, is 0"):
        errors("osvl_qwen3_vl_8b", f"{name}=0")
