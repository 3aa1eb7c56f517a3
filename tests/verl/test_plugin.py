from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

from tests.fresh import after

pytest.importorskip("verl")
if not any(point.name == "osvl" for point in entry_points(group="verl.plugins")):
    pytest.skip("osvl-plugins is not installed, so verl cannot find it", allow_module_level=True)


@pytest.fixture(scope="module")
def imported() -> dict[str, Any]:
    return after("import verl", OSVL_CPU="0")


def test_verl_finds_the_plugin(imported: dict[str, Any]) -> None:
    assert imported["status"]


def test_importing_verl_registers_only_what_verl_has_imported(imported: dict[str, Any]) -> None:
    done = {name for name, status in imported["status"].items() if status == "done"}
    assert done == {"guard for mRoPE positions", "check of the config", "resolver osvl_recipe"}


def test_importing_verl_imports_no_part_of_the_plugin_that_is_not_used_yet(imported: dict[str, Any]) -> None:
    ours = {name for name in imported["modules"] if name.startswith("osvl_plugins")}
    assert ours <= {
        "osvl_plugins",
        "osvl_plugins.errors",
        "osvl_plugins.recipes",
        "osvl_plugins.torchvision_ops",
        "osvl_plugins.verl",
        "osvl_plugins.verl.cpu",
        "osvl_plugins.verl.mrope_guard",
        "osvl_plugins.verl.plugin",
        "osvl_plugins.verl.start",
    }


def test_without_the_cpu_no_variable_is_set(imported: dict[str, Any]) -> None:
    assert not {"VERL_PLATFORM", "VERL_ENGINE_DEVICE", "OMP_WAIT_POLICY"} & imported["environment"].keys()


def test_every_name_is_there_once_verl_has_imported_its_registries() -> None:
    report = after(
        """
import verl
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
from verl.workers.rollout.replica import RolloutReplicaRegistry
from verl.workers.rollout.base import get_rollout_class
value = [
    *(get_trainer_cls(f"osvl_{mode}").__name__ for mode in ("sync", "colocate_async", "separate_async")),
    *(callable(get_adv_estimator_fn(f"osvl_{name}")) for name in ("grpo", "rloo")),
    _agent_loop_registry["osvl_agent"]["_target_"],
    get_reward_manager_cls("osvl_composite").__name__,
    RolloutReplicaRegistry.get("transformers").__name__,
    get_rollout_class("transformers").__name__,
]
""",
        OSVL_CPU="1",
    )
    assert report["value"] == [
        "OsvlSync",
        "OsvlColocateAsync",
        "OsvlSeparateAsync",
        True,
        True,
        "osvl_plugins.verl.agent_loop.OsvlAgentLoop",
        "OsvlRewardManager",
        "TransformersReplica",
        "ServerAdapter",
    ]
    assert not [name for name, status in report["status"].items() if status == "failed"]


@pytest.mark.parametrize("module", ["trainer", "estimators", "reward_manager", "agent_loop"])
def test_a_worker_may_import_the_plugins_classes_before_verl(module: str) -> None:
    report = after(f"import osvl_plugins.verl.{module}\nimport verl.trainer.ppo.v1", OSVL_CPU="1")
    assert not [name for name, status in report["status"].items() if status == "failed"]


def test_a_failing_registration_is_logged_and_kept() -> None:
    report = after(
        """
import sys
sys.modules["osvl_plugins.verl.estimators"] = None
import verl.trainer.ppo.core_algos
""",
        OSVL_CPU="1",
    )
    name = "estimators osvl_grpo, osvl_rloo"
    assert report["status"][name] == "failed"
    assert "ModuleNotFoundError" in report["detail"][name]
    assert "Traceback" in report["stderr"]
    assert name in report["stderr"]


def test_a_wrong_value_of_osvl_cpu_is_logged_and_the_rest_works() -> None:
    report = after("import verl", OSVL_CPU="maybe")
    assert report["status"]["CPU"] == "failed"
    assert report["status"]["guard for mRoPE positions"] == "done"
    assert "OSVL_CPU: must be 0, 1 or auto" in report["stderr"]
