"""The estimators through verl's own advantage computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
from verl.trainer.ppo.ray_trainer import compute_advantage

from osvl_plugins.advantage import fatal_aware_advantage
from osvl_plugins.errors import SettingError
from osvl_plugins.fatal import MODES, FatalSettings
from osvl_plugins.verl.estimators import NAMES, FatalBatch, fatal_batch

ESTIMATORS = sorted(NAMES)


def rows(scores: list[float], mask: list[list[int]], group: list[str]) -> DataProto:
    """A batch as verl's trainer has it before advantages: the score on the last token."""
    response_mask = torch.tensor(mask)
    rewards = torch.zeros(response_mask.shape)
    rewards[:, -1] = torch.tensor(scores)
    return DataProto.from_dict(
        {"token_level_rewards": rewards, "response_mask": response_mask},
        non_tensors={"uid": np.array(group, dtype=object)},
    )


def advantages(
    data: DataProto, name: str, fatal: list[bool] | None = None, norm: bool = True, **fatal_settings: Any
) -> Any:
    """What verl computes; with ``fatal``, as the trainers of the plugin call it."""
    config = OmegaConf.create({"norm_adv_by_std_in_grpo": norm})

    def compute() -> Any:
        done = compute_advantage(data, name, norm_adv_by_std_in_grpo=norm, config=config)
        assert torch.equal(done.batch["advantages"], done.batch["returns"])
        return done.batch["advantages"]

    if fatal is None:
        return compute()
    with fatal_batch(FatalBatch(fatal, FatalSettings(**fatal_settings))):
        return compute()


SCORES = [0.0, 0.2, 1.0, 0.0, 0.5, 0.9]
MASK = [[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0]]
GROUP = ["a", "a", "a", "b", "b", "b"]
FATAL = [True, False, True, True, False, False]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_verl_computes_the_fatal_aware_advantage(name: str, mode: str, norm: bool) -> None:
    got = advantages(rows(SCORES, MASK, GROUP), name, FATAL, norm, mode=mode)
    expected = fatal_aware_advantage(
        torch.tensor(SCORES),
        torch.tensor(MASK),
        np.array(GROUP, dtype=object),
        torch.tensor(FATAL),
        estimator=NAMES[name],
        mode=mode,  # type: ignore[arg-type]
        norm_by_std=norm,
    )
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_they_are_registered_with_verl(name: str) -> None:
    assert callable(get_adv_estimator_fn(name))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_without_the_plugins_trainer_they_refuse(name: str) -> None:
    with pytest.raises(SettingError, match=r"^algorithm.adv_estimator: .*trainer\.v1\.trainer_mode"):
        advantages(rows(SCORES, MASK, GROUP), name)


def test_what_the_trainer_knows_ends_with_its_block() -> None:
    data = rows(SCORES, MASK, GROUP)
    advantages(data, "osvl_grpo", FATAL)
    with pytest.raises(SettingError):
        advantages(data, "osvl_grpo")


@st.composite
def groups(draw: st.DrawFn) -> tuple[list[float], list[list[int]], list[str], list[bool]]:
    """Groups of at least 2, in which every row has a token to train."""
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    count, tokens = sum(sizes), draw(st.integers(1, 4))
    mask = st.lists(st.integers(0, 1), min_size=tokens, max_size=tokens).filter(any)
    return (
        # Of scores that are equal verl's single precision leaves an ulp, which it divides by 1e-6.
        draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=count, max_size=count)),
        draw(st.lists(mask, min_size=count, max_size=count)),
        draw(st.permutations([str(place) for place, size in enumerate(sizes) for _ in range(size)])),
        draw(st.lists(st.booleans(), min_size=count, max_size=count)),
    )


@given(groups(), st.sampled_from(["grpo", "rloo"]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_in_vanilla_mode_they_are_verls_own(
    batch: tuple[list[float], list[list[int]], list[str], list[bool]], name: str, norm: bool
) -> None:
    scores, mask, group, fatal = batch
    got = advantages(rows(scores, mask, group), f"osvl_{name}", fatal, norm, mode="vanilla")
    torch.testing.assert_close(got, advantages(rows(scores, mask, group), name, norm=norm), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_rows_that_the_clamp_raised_are_counted(name: str) -> None:
    config = OmegaConf.create({"norm_adv_by_std_in_grpo": True})
    with fatal_batch(FatalBatch([True, True, False, True], FatalSettings())) as known:
        # Below the mean with a token; above the mean; below and not fatal; below without a token.
        data = rows([0.0, 1.0, 0.0, 0.0], [[1], [1], [1], [0]], ["a"] * 4)
        compute_advantage(data, name, config=config)
    assert known.clamped_rows == 1
