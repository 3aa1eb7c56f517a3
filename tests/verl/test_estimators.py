"""The estimators through verl's own advantage computation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

pytest.importorskip("verl")

import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, FixedKLController, get_adv_estimator_fn
from verl.trainer.ppo.ray_trainer import apply_kl_penalty, compute_advantage
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_add_to_batch

from osvl_plugins.advantage import fatal_aware_advantage
from osvl_plugins.errors import SettingError
from osvl_plugins.fatal import MODES, FatalSettings, token_mask
from osvl_plugins.reliability import ReliabilitySettings
from osvl_plugins.rollout_record import RolloutRecord
from osvl_plugins.trajectory import Observation, Span, StepError, Trajectory, Turn
from osvl_plugins.verl.estimators import NAMES, FatalBatch, fatal_batch, register

OWN = sorted(NAMES)
GROUPED = [
    "grpo",
    "grpo_vectorized",
    "rloo",
    "rloo_vectorized",
    "opo",
    "gpg",
    "grpo_passk",
    "reinforce_plus_plus_baseline",
]
WRAPPED = [*GROUPED, "reinforce_plus_plus"]
WIDTH = 8
FAULT = StepError("timeout", "")


@dataclass
class Row:
    """A row of three turns with two tokens each: its fatal turn, if any, and the score on its last token."""

    score: float
    group: str
    fatal: int | None = None
    failed: bool = False
    padding: bool = False
    faults: int = 0

    def record(self, mode: Any) -> RolloutRecord:
        turns = [
            Turn("", span=Span(2 * n, 2 * n + 2), observation=Observation("", error=FAULT if n < self.faults else None))
            for n in range(3)
        ]
        trajectory = Trajectory("", turns, end="policy_error" if self.failed else "answer", fatal_step=self.fatal)
        return RolloutRecord(trajectory, sampled_tokens=6, trained_tokens=sum(self.mask(mode)))

    def mask(self, mode: Any) -> list[int]:
        if self.failed or self.padding:
            return [0] * WIDTH
        return token_mask(WIDTH, [Span(0, 2), Span(2, 4), Span(4, 6)], self.fatal, mode)


def data_of(rows: list[Row], mode: str, last: int = 5) -> DataProto:
    """A batch as verl's trainer has it before advantages."""
    rewards = torch.zeros(len(rows), WIDTH)
    rewards[:, last] = torch.tensor([row.score for row in rows])
    return DataProto.from_dict(
        {"token_level_rewards": rewards, "response_mask": torch.tensor([row.mask(mode) for row in rows])},
        non_tensors={"uid": np.array([row.group for row in rows], dtype=object)},
    )


def config_of(norm: bool = True, gamma: float = 1.0) -> Any:
    return OmegaConf.create({"norm_adv_by_std_in_grpo": norm, "gamma": gamma})


OFF = ReliabilitySettings()


def verl(name: str, data: DataProto, config: Any = None) -> torch.Tensor:
    """What verl computes by itself."""
    config = config if config is not None else config_of()
    norm = config.norm_adv_by_std_in_grpo
    done = compute_advantage(data, name, norm_adv_by_std_in_grpo=norm, config=config)
    return done.batch["advantages"]


def ours(
    name: str,
    rows: list[Row],
    mode: Any,
    config: Any = None,
    data: DataProto | None = None,
    reliability: ReliabilitySettings = OFF,
) -> tuple[torch.Tensor, FatalBatch]:
    """What verl computes when a trainer of the plugin calls it."""
    register(name)
    records, padding = [row.record(mode) for row in rows], [row.padding for row in rows]
    with fatal_batch(FatalBatch(records, padding, FatalSettings(mode=mode), reliability)) as known:
        return verl(name, data if data is not None else data_of(rows, mode), config), known


ROWS = [
    Row(0.0, "a", fatal=1),
    Row(0.2, "a"),
    Row(1.0, "a", fatal=2),
    Row(0.0, "b", fatal=0),
    Row(0.5, "b"),
    Row(0.9, "b"),
    Row(0.1, "b", fatal=0),
]
OTHERS = [Row(0.7, "a", failed=True), Row(5.0, "pad", padding=True), Row(float("nan"), "b", fatal=1, failed=True)]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OWN)
def test_verl_computes_the_fatal_aware_advantage(name: str, mode: Any, norm: bool) -> None:
    got, _ = ours(name, ROWS + OTHERS, mode, config_of(norm))
    expected = fatal_aware_advantage(
        torch.tensor([row.score for row in ROWS]),
        torch.tensor([row.mask(mode) for row in ROWS]),
        np.array([row.group for row in ROWS], dtype=object),
        torch.tensor([row.fatal is not None for row in ROWS]),
        estimator=NAMES[name],
        mode=mode,
        norm_by_std=norm,
    )
    torch.testing.assert_close(got[: len(ROWS)], expected.tokens)
    assert (got[len(ROWS) :] == 0).all()


@pytest.mark.parametrize("name", OWN)
def test_they_are_registered_with_verl(name: str) -> None:
    assert callable(get_adv_estimator_fn(name))


@pytest.mark.parametrize("name", [*OWN, "osvl(gpg)"])
def test_without_the_plugins_trainer_they_refuse(name: str) -> None:
    register(name)
    with pytest.raises(SettingError, match=r"^algorithm.adv_estimator: .*trainer\.v1\.trainer_mode"):
        verl(name, data_of(ROWS, "vanilla"))


def test_what_the_trainer_knows_ends_with_its_block() -> None:
    ours("osvl_grpo", ROWS, "vanilla")
    with pytest.raises(SettingError):
        verl("osvl_grpo", data_of(ROWS, "vanilla"))


@st.composite
def groups(draw: st.DrawFn) -> list[Row]:
    """Groups of at least 2; the scores do not round, since verl divides what rounding leaves by 1e-6."""
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    labels = draw(st.permutations([str(place) for place, size in enumerate(sizes) for _ in range(size)]))
    score, fatal = st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([None, None, 0, 1, 2])
    return [Row(draw(score), label, draw(fatal)) for label in labels]


close = {"atol": 1e-4, "rtol": 1e-4}


@given(groups(), st.sampled_from([f"osvl_{name}" for name in ("grpo", "rloo")]), st.booleans())
@settings(max_examples=200)
def test_in_vanilla_mode_they_are_verls_own(rows: list[Row], name: str, norm: bool) -> None:
    got, _ = ours(name, rows, "vanilla", config_of(norm))
    torch.testing.assert_close(got, verl(name[5:], data_of(rows, "vanilla"), config_of(norm)), **close)


@given(groups(), st.sampled_from(WRAPPED), st.sampled_from(MODES), st.sampled_from([1.0, 0.9]))
@settings(max_examples=250)
def test_any_estimator_is_verls_own_then_masked_and_clamped(
    rows: list[Row], name: str, mode: str, gamma: float
) -> None:
    got, known = ours(f"osvl({name})", rows, mode, config_of(gamma=gamma))
    free = verl(name, data_of(rows, "vanilla"), config_of(gamma=gamma))
    expected, clamped = [], 0
    for row, values in zip(rows, free.tolist(), strict=True):
        one_sided = mode == "fatal_mask_clamp" and row.fatal is not None
        trained = [value for value, trains in zip(values, row.mask(mode), strict=True) if trains]
        clamped += one_sided and any(value < 0 for value in trained)
        kept = [value * trains for value, trains in zip(values, row.mask(mode), strict=True)]
        expected.append([max(value, 0.0) for value in kept] if one_sided else kept)
    torch.testing.assert_close(got, torch.tensor(expected), atol=1e-6, rtol=1e-6)
    assert known.clamped_rows == clamped


@given(groups(), st.sampled_from(WRAPPED), st.sampled_from(MODES), st.integers(0, 3))
@settings(max_examples=100)
def test_rows_that_do_not_count_change_no_other(rows: list[Row], name: str, mode: str, place: int) -> None:
    alone, _ = ours(f"osvl({name})", rows, mode)
    others = [Row(0.7, rows[0].group, failed=True), Row(5.0, "pad", padding=True), Row(9.0, "new", failed=True)]
    got, _ = ours(f"osvl({name})", rows[:place] + others + rows[place:], mode)
    start = min(place, len(rows))
    assert torch.equal(torch.cat([got[:start], got[start + 3 :]]), alone)
    assert (got[start : start + 3] == 0).all()


@pytest.mark.parametrize("name", GROUPED)
def test_a_row_that_is_alone_in_its_group_has_no_baseline(name: str) -> None:
    rows = [Row(1.0, "a"), Row(0.0, "a", failed=True), Row(0.0, "b"), Row(1.0, "b")]
    got, _ = ours(f"osvl({name})", rows, "fatal_mask_clamp")
    assert (got[:2] == 0).all()
    assert got[3, 0] > 0


@pytest.mark.parametrize("name", WRAPPED)
def test_a_batch_in_which_nothing_counts_has_advantage_0(name: str) -> None:
    got, _ = ours(f"osvl({name})", [Row(1.0, "a", failed=True), Row(0.0, "a", padding=True)], "fatal_mask_clamp")
    assert (got == 0).all()


@pytest.mark.parametrize("last", [1, 5, 7])
def test_a_score_on_a_token_that_does_not_train_is_not_lost(last: int) -> None:
    """verl puts the score on the last token, which is masked in a fatal trajectory and may be an observation."""
    rows = [Row(1.0, "a", fatal=1), Row(0.0, "a"), Row(0.0, "a")]
    got, _ = ours(
        "osvl(reinforce_plus_plus)", rows, "fatal_mask_clamp", data=data_of(rows, "fatal_mask_clamp", last=last)
    )
    assert (got[0, :2] > 0).all()
    assert (got[0, 2:] == 0).all()


def test_the_users_own_estimator_works() -> None:
    def plain(token_level_rewards: Any, response_mask: Any, config: Any, **unused: Any) -> Any:
        result = (token_level_rewards.sum(1, keepdim=True) - config.gamma) * response_mask
        return result, result

    ADV_ESTIMATOR_REGISTRY["my_own"] = plain
    try:
        assert register("osvl(my_own)") is False
        got, _ = ours("osvl(my_own)", ROWS, "fatal_mask_clamp", config_of(gamma=0.5))
    finally:
        del ADV_ESTIMATOR_REGISTRY["my_own"], ADV_ESTIMATOR_REGISTRY["osvl(my_own)"]
    assert got[0].tolist() == [0.0] * 8
    assert got[2].tolist() == [0.5] * 4 + [0.0] * 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grpo", "knows nothing of fatal trajectories; set it to one of osvl_grpo, osvl_rloo, or to osvl(grpo)"),
        ("osvl(gae)", "gae needs values, gamma, lam, which verl's V1 trainers do not hand to osvl(gae)"),
        ("osvl(remax)", "remax needs reward_baselines"),
        ("osvl(optimal_token_baseline)", "needs old_log_probs, sum_pi_squared"),
        ("osvl(tir_optimal_token_baseline)", "needs old_log_probs, sum_pi_squared"),
        ("osvl(gdpo)", "gdpo needs the parts of the reward"),
        ("osvl(osvl_grpo)", "osvl_grpo is fatal-aware by itself"),
        ("osvl(nothing)", "verl has no estimator nothing; it has gae, "),
        ("osvl()", "knows nothing"),
    ],
)
def test_what_cannot_be_made_fatal_aware_is_refused(name: str, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        register(name)
    assert refused.value.name == "algorithm.adv_estimator"
    assert message in str(refused.value)


def test_every_estimator_of_verl_is_either_wrapped_or_refused() -> None:
    refused = {"gae", "remax", "optimal_token_baseline", "tir_optimal_token_baseline", "gdpo"}
    stock = {name for name in ADV_ESTIMATOR_REGISTRY if not name.startswith("osvl")}
    assert stock == refused | set(WRAPPED)


def test_hydra_reads_the_name_when_it_is_quoted() -> None:
    given_name = OverridesParser.create().parse_override('algorithm.adv_estimator="osvl(gpg)"').value()
    assert str(given_name) == "osvl(gpg)"


@pytest.mark.parametrize("name", ["osvl_grpo", "osvl(grpo)"])
def test_the_rows_that_the_clamp_raised_are_counted(name: str) -> None:
    # Below the mean with a token; above the mean; below and not fatal; below without a token.
    rows = [Row(0.0, "a", fatal=1), Row(1.0, "a", fatal=1), Row(0.0, "a"), Row(0.0, "a", fatal=0)]
    assert ours(name, rows, "fatal_mask_clamp")[1].clamped_rows == 1
    assert ours(name, rows, "fatal_mask")[1].clamped_rows == 0


@pytest.mark.parametrize("mode", ["weight", "drop"])
@pytest.mark.parametrize("name", ["osvl_grpo", "osvl_rloo", "osvl(grpo)", "osvl(reinforce_plus_plus)"])
def test_reliability_takes_away_what_faults_explain(name: str, mode: Any) -> None:
    # Faults explain all that differs in group a and nothing in group b; in group c none was met.
    rows = [Row(1.0, "a"), Row(0.5, "a", faults=1), Row(0.0, "a", faults=2)]
    rows += [Row(0.0, "b"), Row(0.5, "b", faults=1), Row(1.0, "b", faults=2)]
    rows += [Row(0.0, "c"), Row(0.5, "c"), Row(1.0, "c")]
    free, off = ours(name, rows, "fatal_mask_clamp")
    got, on = ours(name, rows, "fatal_mask_clamp", reliability=ReliabilitySettings(mode=mode))
    assert got[:3].abs().max() < 1e-6
    torch.testing.assert_close(got[3:], free[3:])
    assert (on.reliability_mean, off.reliability_mean) == (pytest.approx(2 / 3), 1.0)
    assert off.dropped_groups == 0


def test_dropped_groups_are_counted() -> None:
    rows = [Row(1.0, "a"), Row(0.9, "a", faults=1), Row(0.0, "a", faults=2), Row(0.0, "b"), Row(1.0, "b")]
    assert ours("osvl_grpo", rows, "vanilla", reliability=ReliabilitySettings(mode="drop"))[1].dropped_groups == 1
    assert ours("osvl_grpo", rows, "vanilla", reliability=ReliabilitySettings(mode="weight"))[1].dropped_groups == 0


@pytest.mark.parametrize("name", ["osvl_grpo", "osvl(grpo)"])
def test_the_kl_penalty_in_the_reward_is_that_of_the_tokens_that_train(name: str) -> None:
    rows = [Row(0.0, "a", fatal=1), Row(1.0, "a"), Row(0.4, "a", fatal=0), Row(9.0, "pad", padding=True)]
    data = data_of(rows, "fatal_mask_clamp")
    data.batch["token_level_scores"] = data.batch.pop("token_level_rewards")
    old = torch.rand(4, WIDTH)
    data.batch["old_log_probs"], data.batch["ref_log_prob"] = old, old - 1
    data, _ = apply_kl_penalty(data, FixedKLController(0.1), "kl")
    penalised = [row.score - 0.1 * sum(row.mask("fatal_mask_clamp")) for row in rows]
    assert data.batch["token_level_rewards"].sum(1).tolist() == pytest.approx(penalised)
    got, _ = ours(name, rows, "fatal_mask_clamp", data=data)
    plain = [Row(score, row.group, row.fatal, padding=row.padding) for score, row in zip(penalised, rows, strict=True)]
    torch.testing.assert_close(got, ours(name, plain, "fatal_mask_clamp")[0])


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_rollout_correction_weighs_by_the_tokens_that_train(level: str) -> None:
    rows = [Row(0.0, "a", fatal=1), Row(1.0, "a"), Row(0.4, "a", fatal=0)]
    data = data_of(rows, "fatal_mask_clamp")
    old = torch.full((3, WIDTH), -1.0)
    rollout = old - 0.1
    masked = data.batch["response_mask"] == 0
    data.batch["old_log_probs"], data.batch["rollout_log_probs"] = old, rollout.masked_fill(masked, 5.0)
    corrected, _ = compute_rollout_correction_and_add_to_batch(data, OmegaConf.create({"rollout_is": level}))
    weights = corrected.batch["rollout_is_weights"]
    assert (weights[masked] == 0).all()
    of_two_tokens = 0.2 if level == "sequence" else 0.1
    assert weights[0, 0].item() == pytest.approx(np.exp(of_two_tokens), rel=1e-5)


def rejected(rows: list[Row], first: int) -> DataProto:
    """A batch of whose rows verl's rollout correction rejects the ``first``."""
    data = data_of(rows, "fatal_mask_clamp")
    data.batch["old_log_probs"] = torch.zeros(len(rows), WIDTH)
    data.batch["rollout_log_probs"] = torch.zeros(len(rows), WIDTH)
    data.batch["rollout_log_probs"][:first] = 9.0
    how = OmegaConf.create({"rollout_rs": "seq_mean_k1", "rollout_rs_threshold": "0.5_2.0"})
    return compute_rollout_correction_and_add_to_batch(data, how)[0]


REJECTED = [Row(0.0, "a"), Row(1.0, "a", fatal=1), Row(0.4, "a"), Row(0.6, "a")]


@pytest.mark.parametrize("name", ["osvl_grpo", "osvl_rloo", "osvl(grpo)", "osvl(rloo)", "osvl(gpg)"])
def test_a_row_that_rollout_correction_rejects_stays_in_its_groups_statistics(name: str) -> None:
    data = rejected(REJECTED, 1)
    assert data.batch["response_mask"].sum(1).tolist() == [0, 2, 6, 6]
    got, _ = ours(name, REJECTED, "fatal_mask_clamp", data=data)
    assert (got[0] == 0).all()
    torch.testing.assert_close(got[1:], ours(name, REJECTED, "fatal_mask_clamp")[0][1:])


@pytest.mark.parametrize("name", WRAPPED)
def test_a_group_that_rollout_correction_rejects_leaves_numbers(name: str) -> None:
    rows = [Row(0.0, "a"), Row(1.0, "a"), Row(0.5, "b"), Row(0.6, "b")]
    assert ours(f"osvl({name})", rows, "fatal_mask_clamp", data=rejected(rows, 2))[0].isfinite().all()
