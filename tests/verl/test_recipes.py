"""The recipes, composed by verl's own launchers from a directory that has nothing to do with the project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from osvl_plugins.errors import SettingError
from osvl_plugins.verl.agent_loop import fatal_settings
from osvl_plugins.verl.trainer import check


def compose(launcher: str, directory: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", launcher, *arguments, "--cfg", "job"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return OmegaConf.create(done.stdout)


def test_the_rl_recipe_is_found_by_name_and_passes_its_own_check(tmp_path):
    config = compose("verl.trainer.main_ppo", tmp_path, "--config-name", "osvl_tiny_rl")
    assert config.trainer.v1.trainer_mode == "osvl_sync"
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "osvl_agent"
    assert config.osvl.episode.faults.stay == 0.7
    check(config)


def test_the_sft_recipe_is_found_by_name(tmp_path):
    config = compose("verl.trainer.sft_trainer", tmp_path, "--config-name", "osvl_tiny_sft")
    assert config.data.custom_cls.name == "ConversationDataset"


def test_one_group_turns_a_stock_launch_into_a_fatal_aware_agent_run(tmp_path):
    config = compose("verl.trainer.main_ppo", tmp_path, "+osvl=agent", "actor_rollout_ref.rollout.n=8")
    assert config.algorithm.adv_estimator == "osvl_grpo"
    fatal = fatal_settings(config)
    assert (fatal.profile, fatal.k, fatal.at, fatal.mode, fatal.on_fatal) == (
        "paper",
        3,
        "first",
        "fatal_mask_clamp",
        "stop",
    )
    assert config.reward.reward_manager.name == "osvl_composite"
    check(config)


def test_a_launch_that_keeps_its_own_estimator_is_refused_at_the_start(tmp_path):
    config = compose(
        "verl.trainer.main_ppo",
        tmp_path,
        "+osvl=agent",
        "actor_rollout_ref.rollout.n=8",
        "algorithm.adv_estimator=grpo",
    )
    with pytest.raises(SettingError, match=r"algorithm\.adv_estimator: grpo .* osvl_grpo"):
        check(config)
