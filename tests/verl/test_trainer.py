"""What the trainers refuse before they start."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("verl")

from omegaconf import DictConfig, OmegaConf

from osvl_plugins.errors import SettingError
from osvl_plugins.verl.trainer import OsvlColocateAsync, OsvlSeparateAsync, OsvlSync, check


def config(**changed: Any) -> DictConfig:
    """The parts of verl's config that are checked; a changed setting's dots are written as two underscores."""
    made = OmegaConf.create(
        {
            "osvl": {"corpus": "~/atlas"},
            "algorithm": {"adv_estimator": "osvl_grpo"},
            "actor_rollout_ref": {"rollout": {"n": 4}},
            "trainer": {"v1": {"trainer_mode": "osvl_sync"}},
        }
    )
    for name, value in changed.items():
        OmegaConf.update(made, name.replace("__", "."), value, force_add=True)
    return made


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"algorithm__adv_estimator": "osvl_rloo"},
        {"algorithm__fatal": {"k": 1, "at": "last", "mode": "hard_mask", "on_fatal": "continue"}},
        {"osvl__tools": ["visit"], "osvl__episode": {"max_turns": 4}},
        {"actor_rollout_ref__rollout__n": 2},
    ],
)
def test_a_sound_config_passes(changed: dict[str, Any]) -> None:
    check(config(**changed))


@pytest.mark.parametrize(
    ("changed", "name", "message"),
    [
        ({"algorithm__adv_estimator": "grpo"}, "algorithm.adv_estimator", "osvl_grpo, osvl_rloo"),
        ({"actor_rollout_ref__rollout__n": 1}, "actor_rollout_ref.rollout.n", "at least 2"),
        ({"algorithm__fatal": {"k": 0}}, "algorithm.fatal.k", "greater than or equal to 1"),
        ({"algorithm__fatal": {"k": 2.5}}, "algorithm.fatal.k", "valid integer"),
        ({"algorithm__fatal": {"k": True}}, "algorithm.fatal.k", "valid integer"),
        ({"algorithm__fatal": {"mode": "soft"}}, "algorithm.fatal.mode", "'vanilla'"),
        ({"algorithm__fatal": {"at": "middle"}}, "algorithm.fatal.at", "'first' or 'last'"),
        ({"algorithm__fatal": {"kk": 3}}, "algorithm.fatal.kk", "the group has at, k, mode, on_fatal"),
        ({"algorithm__fatal": 3}, "algorithm.fatal", "group of settings"),
        ({"osvl__tols": ["visit"]}, "osvl.tols", "no such setting"),
        ({"osvl__tools": ["google"]}, "osvl.tools.0", "'visit'"),
        ({"osvl__tools": []}, "osvl.tools", "at least 1"),
        ({"osvl__episode": {"max_turns": 0}}, "osvl.episode.max_turns", "greater than or equal to 1"),
        ({"osvl__episode": {"faults": {"start": 2}}}, "osvl.episode.faults.start", "less than or equal to 1"),
        ({"osvl": None}, "osvl.corpus", "required"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_full_name(changed: dict[str, Any], name: str, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        check(config(**changed))
    assert refused.value.name == name
    assert str(refused.value).startswith(f"{name}: ")
    assert message in str(refused.value)


def test_interpolations_are_resolved() -> None:
    made = config(osvl__corpus="${data_dir}/atlas", algorithm__fatal={"k": "${times}"}, data_dir="/data", times=0)
    with pytest.raises(SettingError, match=r"^algorithm.fatal.k"):
        check(made)


@pytest.mark.parametrize("trainer", [OsvlSync, OsvlColocateAsync, OsvlSeparateAsync])
def test_a_trainer_checks_its_config_before_anything_else(trainer: Any) -> None:
    with pytest.raises(SettingError, match=r"^actor_rollout_ref.rollout.n"):
        trainer(config(actor_rollout_ref__rollout__n=1))
