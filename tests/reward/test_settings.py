"""What may stand under ``osvl.reward``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.agent import AgentSettings
from osvl_plugins.errors import SettingError
from osvl_plugins.reward.settings import RewardSettings
from osvl_plugins.settings import read

JUDGE = {"url": "http://localhost:8000/v1", "model": "judge"}


def test_the_defaults_need_no_model_and_no_service() -> None:
    settings = AgentSettings().reward
    assert (settings.accuracy, settings.query, settings.visual, settings.gate) == (
        "rules",
        "evidence",
        "none",
        "multiply",
    )
    assert (settings.weights.accuracy, settings.weights.query, settings.weights.visual) == (0.8, 0.2, 0.0)
    assert not settings.asks_model


@pytest.mark.parametrize(
    "values",
    [
        {"accuracy": "judge", "judge": JUDGE},
        {"accuracy": "rules_then_judge", "judge": JUDGE | {"n": 3}},
        {"query": "judge", "judge": JUDGE},
        {"accuracy": "router"},
        {"accuracy": "router", "judge": {"n": 3}, "query": "judge"},
        {"query": "none"},
        {"query": "none", "weights": {"accuracy": 1.0, "query": 0.0}},
        {"visual": "evidence"},
        {"visual": "evidence", "weights": {"accuracy": 0.7, "query": 0.2, "visual": 0.1}},
        {"gate": "none", "on_judge_failure": "zero", "unscored_limit": 1.0},
    ],
)
def test_sound_settings_pass(values: dict[str, Any]) -> None:
    settings = read(RewardSettings, values, "osvl.reward")
    assert settings.asks_model == bool({"judge", "router", "rules_then_judge"} & set(map(str, values.values())))


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        ({"accuracy": "llm"}, "osvl.reward.accuracy", "'rules_then_judge'"),
        ({"query": "rules"}, "osvl.reward.query", "'evidence'"),
        ({"visual": True}, "osvl.reward.visual", "'evidence'"),
        ({"gate": "off"}, "osvl.reward.gate", "'none'"),
        ({"weights": {"accuracy": 0.7}}, "osvl.reward.weights", "must sum to 1, not to 0.9"),
        ({"weights": {"accuracy": 1.2, "query": -0.2}}, "osvl.reward.weights.accuracy", "less than or equal to 1"),
        ({"weights": {"accuracy": 0.7, "visual": 0.1}}, "osvl.reward.weights", "visual weighs 0.1 and is none"),
        ({"weights": {"acuracy": 1}}, "osvl.reward.weights.acuracy", "the group has"),
        ({"accuracy": "judge"}, "osvl.reward.judge", "url and model must be set, since accuracy is judge"),
        ({"query": "judge", "judge": {"model": "m"}}, "osvl.reward.judge", "since query is judge"),
        ({"judge": JUDGE}, "osvl.reward.judge", "never asked"),
        ({"accuracy": "router", "judge": JUDGE}, "osvl.reward.judge", "verl's router"),
        ({"accuracy": "llm", "judge": JUDGE}, "osvl.reward.accuracy", "'rules_then_judge'"),
        ({"on_judge_failure": "skip"}, "osvl.reward.on_judge_failure", "'unscored' or 'zero'"),
        ({"unscored_limit": 1.5}, "osvl.reward.unscored_limit", "less than or equal to 1"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_full_name(values: dict[str, Any], name: str, message: str) -> None:
    with pytest.raises(SettingError) as refused:
        read(RewardSettings, values, "osvl.reward")
    assert refused.value.name == name
    assert message in str(refused.value)


def test_the_group_stands_in_the_agents() -> None:
    with pytest.raises(SettingError, match=r"^osvl\.reward\.gate: "):
        read(AgentSettings, {"reward": {"gate": "add"}}, "osvl")


@given(st.floats(0, 1), st.floats(0, 1))
def test_weights_that_sum_to_one_pass_whatever_their_rounding(first: float, second: float) -> None:
    low, high = sorted((first, second))
    weights = {"accuracy": low, "query": high - low, "visual": 1 - high}
    read(RewardSettings, {"visual": "evidence", "weights": weights}, "osvl.reward")


@pytest.mark.parametrize("values", [{}, {"query": "none"}, {"accuracy": "judge", "judge": JUDGE | {"n": 3}}])
def test_settings_survive_json(values: dict[str, Any]) -> None:
    settings = read(RewardSettings, values, "osvl.reward")
    assert RewardSettings.model_validate_json(settings.model_dump_json()) == settings
