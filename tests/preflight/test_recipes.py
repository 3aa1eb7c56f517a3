from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("verl")

from omegaconf import OmegaConf

from osvl_plugins.errors import SettingError
from osvl_plugins.preflight.recipes import FOLDER, compose, differences, find, recipes


def test_every_recipe_has_a_kind_and_a_line_that_says_what_it_is() -> None:
    found = {recipe.name: recipe for recipe in recipes()}
    assert found["osvl_tiny_rl"].kind == "RL"
    assert found["osvl_tiny_sft"].kind == "SFT"
    assert all(recipe.summary for recipe in found.values())


@pytest.mark.parametrize("recipe", [recipe.name for recipe in recipes() if recipe.kind != "LLaMA-Factory"])
def test_every_recipe_composes_to_the_kind_that_it_is_listed_as(recipe: str) -> None:
    found = find(recipe)
    assert found is not None
    assert compose(recipe, []).kind == found.kind


@pytest.mark.parametrize(
    ("launcher", "name", "override"),
    [
        ("main_ppo", "osvl_tiny_rl", "actor_rollout_ref.rollout.n=4"),
        ("sft_trainer", "osvl_tiny_sft", "trainer.seed=7"),
        ("main_ppo", "ppo_trainer", "+osvl=agent"),
    ],
)
def test_the_result_is_that_of_verls_launcher(launcher: str, name: str, override: str) -> None:
    command = [sys.executable, "-m", f"verl.trainer.{launcher}", "--config-name", name, override, "--cfg", "job"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert OmegaConf.to_yaml(compose(name, [override]).config).strip() == done.stdout.strip()


def test_a_difference_is_what_a_recipe_sets_itself() -> None:
    changed = differences(compose("osvl_tiny_sft", ["optim.lr=0.5"]))
    assert changed["optim"]["lr"] == 0.5
    assert "profiler" not in changed


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("ppo_trainer", []), ("ppo_megatron_trainer", []), ("ppo_trainer", ["model_engine=megatron"])],
)
def test_verls_own_config_with_another_engine_differs_in_nothing(name: str, overrides: list[str]) -> None:
    assert differences(compose(name, overrides)) == {}


@pytest.mark.parametrize(("name", "override"), [("no_such_recipe", []), ("osvl_tiny_rl", ["data.no_such_setting=1"])])
def test_what_cannot_be_composed_says_why(name: str, override: list[str]) -> None:
    with pytest.raises(SettingError, match="cannot be composed"):
        compose(name, override)


def test_a_file_of_llama_factory_is_not_composed() -> None:
    files = sorted((FOLDER / "llamafactory").glob("*.yaml"))
    with pytest.raises(SettingError, match="LLaMA-Factory"):
        compose(f"llamafactory/{files[0].stem}", [])
