"""The RL recipes: with every value of every group they compose, and verl and this package accept them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from osvl_plugins.errors import SettingError
from osvl_plugins.fatal import MODES
from osvl_plugins.recipes import path as recipe_path
from osvl_plugins.verl.agent_loop import agent_settings, fatal_settings
from tests.verl.configs import FOLDER, GROUPS, RECIPES, compose, keys, unknown, validate

CHOICES = [f"osvl/{group}={value}" for group, values in GROUPS.items() for value in values]
COVERING = [
    [f"osvl/{group}={values[place % len(values)]}" for group, values in GROUPS.items()]
    for place in range(max(map(len, GROUPS.values())))
]
"""Choices of one value of every group, such that every value is in one."""
PAPER = {
    "osvl_qwen3_vl_8b": (64, 8, 64, (4, 2, 8, 1), 0.85, 74576),
    "osvl_qwen3_vl_8b_1node": (8, 8, 64, (2, 1, 1, 1), 0.85, 74576),
    "osvl_qwen3_vl_30b_a3b": (64, 16, 128, (4, 2, 4, 8), 0.65, 70000),
    "osvl_qwen3_vl_32b": (128, 16, 64, (4, 2, 8, 1), 0.85, 74576),
}
"""Of arXiv 2605.05185 and its released scripts: GPUs, trajectories of a prompt, prompts of a mini-batch, TP/PP/CP/EP,
memory share of the rollout, token budget."""

SMALL = ["osvl_qwen3_vl_2b_1x24g", "osvl_qwen3_vl_8b_lora_8x24g"]


def of(recipe: str, *overrides: str) -> Any:
    """``recipe`` with a judge's address, where one has to be named."""
    config = compose(recipe, *overrides)
    if config.osvl.reward.accuracy == "judge":
        config.osvl.reward.judge.url, config.osvl.reward.judge.model = "http://judge:8000/v1", "judge"
    return config


@pytest.mark.parametrize("choice", COVERING, ids=" ".join)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_with_each_value_of_a_group_is_one_that_verl_accepts(recipe: str, choice: list[str]) -> None:
    config = of(recipe, *(value for value in choice if recipe in PAPER or value != "osvl/engine=megatron"))
    validate(config)
    assert unknown(config) == set()


def test_the_groups_hold_what_is_documented() -> None:
    assert {
        "engine": ["fsdp2", "megatron"],
        "rollout": ["sglang", "vllm"],
        "estimator": ["grpo", "rloo"],
        "fatal": sorted(MODES),
        "judge": ["openai", "router", "rules"],
        "world": ["atlas", "cache", "live", "replay"],
    } == GROUPS
    text = (Path(__file__).parents[2] / "docs/recipes.md").read_text()
    assert [name for name in (*RECIPES, *CHOICES) if f"`{name.split('=')[-1]}`" not in text] == []


@pytest.mark.parametrize("recipe", PAPER)
def test_a_published_recipe_has_the_published_values(recipe: str) -> None:
    config = of(recipe, "osvl/engine=megatron")
    gpus, n, mini_batch, parallel, memory, tokens = PAPER[recipe]
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    layout = actor.megatron
    sizes = ("tensor_model", "pipeline_model", "context", "expert_model")
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node == gpus
    assert (rollout.n, actor.ppo_mini_batch_size) == (n, mini_batch)
    assert tuple(layout[f"{size}_parallel_size"] for size in sizes) == parallel
    assert (rollout.gpu_memory_utilization, actor.ppo_max_token_len_per_gpu) == (memory, tokens)
    assert (rollout.temperature, rollout.top_p, rollout.val_kwargs.top_p) == (0.7, 1, 0.95)
    assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.clip_ratio_c) == (0.2, 0.28, 3)
    assert (config.data.max_prompt_length, config.data.max_response_length, config.data.seed) == (4096, 70000, 3407)
    assert (actor.optim.lr, actor.entropy_coeff, actor.ppo_epochs, config.data.train_batch_size) == (1e-6, 0, 1, 256)
    assert gpus % (parallel[0] * parallel[1] * parallel[2]) == 0


def test_the_mixture_alone_balances_its_experts() -> None:
    names = ("moe_router_dtype", "moe_aux_loss_coeff", "moe_z_loss_coeff", "moe_permute_fusion")
    values = {
        recipe: tuple(of(recipe, "osvl/engine=megatron").actor_rollout_ref.actor.megatron.override_transformer_config[n]
                      for n in names)
        for recipe in ("osvl_qwen3_vl_30b_a3b", "osvl_qwen3_vl_8b")
    }  # fmt: skip
    assert values == {
        "osvl_qwen3_vl_30b_a3b": ("fp32", 0.01, 0.001, True),
        "osvl_qwen3_vl_8b": (None, 0.0, None, False),
    }


@pytest.mark.parametrize("recipe", SMALL)
def test_the_small_recipes_are_for_fsdp2_alone(recipe: str) -> None:
    with pytest.raises(InstantiationException, match="fsdp_config"):
        validate(of(recipe, "osvl/engine=megatron"))


@pytest.mark.parametrize(
    ("recipe", "engine"), [*((name, "megatron") for name in PAPER), *((name, "fsdp2") for name in RECIPES)]
)
def test_the_longest_trajectory_fits_the_engine_and_a_micro_batch(recipe: str, engine: str) -> None:
    config = of(recipe, f"osvl/engine={engine}")
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    longest = config.data.max_prompt_length + config.data.max_response_length
    group = actor.megatron.context_parallel_size if engine == "megatron" else None
    group = group or actor.fsdp_config.ulysses_sequence_parallel_size
    assert rollout.max_model_len == longest
    assert actor.ppo_max_token_len_per_gpu * group >= longest
    assert rollout.log_prob_max_token_len_per_gpu * group >= longest
    assert config.trainer.nnodes * config.trainer.n_gpus_per_node % group == 0
    # A picture of 32 by 32 pixels is a token (Qwen3-VL), and tool calls stand beside them.
    images = agent_settings(config).episode.images
    assert images.max_images * images.max_pixels / 1024 < config.data.max_response_length / 2


@pytest.mark.parametrize("recipe", ["osvl_qwen3_vl_8b", "osvl_qwen3_vl_2b_1x24g"])
def test_the_ablation_is_one_switch(recipe: str) -> None:
    runs = {mode: of(recipe, f"osvl/fatal={mode}") for mode in MODES}
    assert [fatal_settings(config).mode for config in runs.values()] == list(MODES)
    for config in runs.values():
        config.algorithm.fatal.mode = "any"
    assert all(config == runs["vanilla"] for config in runs.values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_tiny_scale_leaves_the_algorithm(recipe: str) -> None:
    places = ("algorithm", "actor_rollout_ref.actor.loss_agg_mode", "actor_rollout_ref.actor.clip_ratio_high",
              "actor_rollout_ref.rollout.temperature", "trainer.v1", "reward.reward_manager",
              "actor_rollout_ref.model.lora_rank", "osvl.episode.faults.k")  # fmt: skip
    whole, small = of(recipe), of(recipe, "+osvl/scale=tiny")
    validate(small)
    assert unknown(small) == set()
    assert [OmegaConf.select(small, place) for place in places] == [OmegaConf.select(whole, place) for place in places]
    assert small.osvl.reward.accuracy == "rules"
    assert agent_settings(small).backends == agent_settings(compose("ppo_trainer", "+osvl=agent")).backends


def test_the_policy_is_the_sft_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSVL_SFT_CHECKPOINT", raising=False)
    monkeypatch.setenv("OSVL_HOME", "/home")
    found = {recipe: compose(recipe).actor_rollout_ref.model.path for recipe in RECIPES}
    assert found["osvl_qwen3_vl_32b"] == "/home/sft/osvl_qwen3_vl_32b_sft/model"
    assert found["osvl_qwen3_vl_8b_lora_8x24g"] == found["osvl_qwen3_vl_8b"] == "/home/sft/osvl_qwen3_vl_8b_sft/model"
    monkeypatch.setenv("OSVL_SFT_CHECKPOINT", "/mine")
    assert compose("osvl_qwen3_vl_8b").actor_rollout_ref.model.path == "/mine"


def test_a_judge_that_is_not_named_is_asked_for_at_the_start() -> None:
    with pytest.raises(SettingError, match=r"^osvl\.reward\.judge: .*url and model must be set"):
        validate(compose("osvl_qwen3_vl_8b"))


@pytest.mark.parametrize(
    ("launcher", "recipe", "setting"),
    [
        ("verl.trainer.main_ppo", "osvl_qwen3_vl_8b", "trainer_mode: osvl_sync"),
        ("verl.trainer.main_ppo", "osvl_tiny_rl", "trainer_mode: osvl_sync"),
        ("verl.trainer.sft_trainer", "osvl_tiny_sft", "name: ConversationDataset"),
    ],
)
def test_verls_launchers_find_a_recipe_by_name(tmp_path: Path, launcher: str, recipe: str, setting: str) -> None:
    command = [sys.executable, "-m", launcher, "--config-name", recipe, "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert setting in done.stdout


def test_the_first_line_of_a_recipe_says_what_it_is() -> None:
    for recipe in FOLDER.glob("*.yaml"):
        assert recipe.read_text().startswith("# "), recipe
    assert Path(recipe_path("osvl/tools.yaml")).is_file()
    assert {key for key in keys(compose("osvl_tiny_rl")) if key.startswith("parallel")} == set()
