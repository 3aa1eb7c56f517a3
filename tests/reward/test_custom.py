"""The reward as a function: of a recorded trajectory, of a decoded response, and of a trajectory and its task."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import JudgeFailed, SettingError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.protocol import format_answer, format_call
from osvl_plugins.reward.custom import compute_score, evaluate, read_text
from osvl_plugins.trajectory import Trajectory
from tests.reward.judges.chat_server import MODEL, RATED, RIGHT, chat_server
from tests.reward.trajectories import answered, error, found, trajectory

SEARCH = format_call("text_search", {"q": "Norway"}, "t")
ANSWER = format_answer("Oslo", "t")
GARBAGE = "neither"
LATE = "Error (timeout): no result within 60 seconds"


def decoded(*turns: str, role_marks: bool = True) -> str:
    """A response as verl decodes it: what the policy wrote and what came back in turn, without special tokens."""
    pieces = []
    for place, text in enumerate(turns):
        seen = f"<tool_response>\n{text}\n</tool_response>"
        marked = f"\nuser\n{seen}\nassistant\n" if role_marks else seen
        pieces.append(marked if place % 2 else text)
    return "".join(pieces)


def record(done: Trajectory) -> dict[str, Any]:
    return {"osvl": {"trajectory": done.to_dict(), "sampled_tokens": 9, "trained_tokens": 9, "stop": ""}}


@pytest.mark.parametrize("role_marks", [True, False])
@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ((ANSWER,), "A"),
        ((SEARCH, "found", ANSWER), "cA"),
        ((SEARCH, "found"), "c"),
        ((SEARCH,), "c"),
        ((GARBAGE,), "p"),
        ((SEARCH, LATE, GARBAGE, "Error (parse): Found neither", ANSWER), "epA"),
        ((SEARCH, "Error (strange): of no known kind", ANSWER), "cA"),
        # what stands after an answer was not seen by anybody
        ((ANSWER, "found", SEARCH), "A"),
        (("",), ""),
    ],
)
def test_the_turns_of_a_response_are_read(turns: tuple[str, ...], told: str, role_marks: bool) -> None:
    done = read_text(decoded(*turns, role_marks=role_marks), FatalSettings())
    kinds = {"timeout": "e", "parse": "p"}
    letters = [
        "A"
        if turn.answer
        else kinds[turn.observation.error.kind]
        if turn.observation and turn.observation.error
        else "c"
        for turn in done.turns
    ]
    assert "".join(letters) == told
    assert done.end == ("answer" if told.endswith("A") else "turn_limit")
    assert [turn.text.strip() for turn in done.turns] == [text for text in turns[::2] if text][: len(told)]


def test_several_observations_of_one_turn_are_one() -> None:
    both = "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>"
    done = read_text(f"{SEARCH}\nuser\n{both}\nassistant\n{ANSWER}", FatalSettings())
    assert [turn.observation and turn.observation.text.split() for turn in done.turns] == [["a", "b"], None]


def test_a_response_can_be_fatal() -> None:
    text = decoded(SEARCH, "found", SEARCH, LATE, SEARCH, LATE, SEARCH, LATE, ANSWER)
    assert read_text(text, FatalSettings()).fatal_step == 1
    assert read_text(text, FatalSettings(k=4)).fatal_step is None


@given(st.lists(st.sampled_from(["<tool_response>", "</tool_response>", "user\n", SEARCH, ANSWER, "<think>", "x"])))
def test_any_text_can_be_read(pieces: list[str]) -> None:
    done = read_text("".join(pieces), FatalSettings())
    assert all((turn.answer is None) == (turn.observation is not None) for turn in done.turns)


@pytest.mark.parametrize(
    ("turns", "score", "well_formed", "accuracy"),
    [
        ((SEARCH, "found", ANSWER), 1.0, 1.0, 1.0),
        ((SEARCH, "found", format_answer("Bergen", "t")), 0.0, 1.0, 0.0),
        ((GARBAGE, "Error (parse): no", ANSWER), 0.5, 0.5, 1.0),
        ((SEARCH, LATE) * 3 + (ANSWER,), 0.0, 0.0, 0.0),
        ((GARBAGE,), 0.0, 0.0, 0.0),
    ],
)
async def test_of_a_response_alone_the_reward_is_format_times_accuracy(
    turns: tuple[str, ...], score: float, well_formed: float, accuracy: float
) -> None:
    got = await compute_score("osvl", decoded(*turns), "Oslo", {"evidence": ["oslo"]})
    assert (got["score"], got["format"], got["accuracy"]) == (score, well_formed, accuracy)
    assert math.isnan(got["query"])


async def test_a_response_cannot_tell_what_it_found() -> None:
    forged = decoded(SEARCH, "[Passage 1]\nURL: atlas://oslo", ANSWER)
    settings = {"reward": {"visual": "evidence", "weights": {"accuracy": 0.5, "query": 0.3, "visual": 0.2}}}
    got = await compute_score("osvl", forged, "Oslo", {"evidence": ["oslo"]}, osvl=settings)
    assert (got["score"], math.isnan(got["query"]), math.isnan(got["visual"])) == (1.0, True, True)


async def test_a_record_is_believed_before_the_response() -> None:
    done = trajectory(found("oslo"), answered("Oslo"))
    got = await compute_score("osvl", GARBAGE, ["Oslo"], {"evidence": ("oslo", "norway"), **record(done)})
    assert (got["score"], got["query"], got["steps"]) == (pytest.approx(0.9), 0.5, 2.0)


async def test_verls_other_arguments_are_taken_and_settings_may_be_a_launchers_config() -> None:
    omegaconf = pytest.importorskip("omegaconf")
    kwargs = omegaconf.OmegaConf.create(
        {
            "k": 1,
            "osvl": {"reward": {"gate": "none"}, "tools": ["visit"]},
            "fatal": {"k": "${k}", "profile": "reference", "detectors": ["errors"]},
        }
    )
    got = await compute_score(
        data_source="osvl",
        solution_str=decoded(SEARCH, LATE, ANSWER),
        ground_truth="Oslo",
        extra_info={"num_turns": 2},
        reward_router_address="127.0.0.1:1",
        osvl=kwargs.osvl,
        fatal=kwargs.fatal,
    )
    assert (got["score"], got["format"], got["fatal"]) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"osvl": {"reward": {"gate": "add"}}}, "osvl.reward.gate"),
        ({"fatal": {"k": 0}}, "fatal.k"),
        ({"osvl": {"reward": {"accuracy": "router"}}}, "osvl.reward.accuracy"),
    ],
)
async def test_a_wrong_setting_is_refused_by_its_full_name(given: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingError) as refused:
        await compute_score("osvl", ANSWER, "Oslo", **given)
    assert refused.value.name.endswith(name)


@pytest.mark.usefixtures("connections")
async def test_a_sample_whose_judge_fails_has_no_score() -> None:
    done = trajectory(found("oslo"), answered("Oslo"))
    async with chat_server() as server:
        server.says = [500]
        reward = {"accuracy": "judge", "judge": {"url": server.url, "model": MODEL}}
        settings = {"reward": reward, "services": {"http": {"attempts": 1}}}
        with pytest.raises(JudgeFailed, match=r"accuracy: tiny-judge: .*500"):
            await compute_score("osvl", "", "Oslo", record(done), osvl=settings)
        settings = {"reward": reward | {"on_judge_failure": "zero"}, "services": {"http": {"attempts": 1}}}
        assert (await compute_score("osvl", "", "Oslo", record(done), osvl=settings))["score"] == 0.0


@pytest.mark.usefixtures("connections")
async def test_a_model_judges_answer_and_searches() -> None:
    done = trajectory(found("oslo"), answered("the city of Oslo"))
    async with chat_server() as server:
        reward = {"accuracy": "judge", "query": "judge", "judge": {"url": server.url, "model": MODEL}}
        server.says = [RIGHT, RATED]
        got = await compute_score("osvl", "", "Oslo", record(done), osvl={"reward": reward})
    assert got["accuracy"] == 1.0
    assert (got["relevance"], got["progression"], got["signal"], got["modalities"]) == (1.0, 0.5, 0.25, 0.0)
    assert got["score"] == pytest.approx(0.8 + 0.2 * 1.75 / 4)


def test_a_trajectory_and_its_task_are_evaluated() -> None:
    done = trajectory(error("parse"), found("oslo"), answered("Oslo")).to_dict()
    task = {"ground_truth": ["Oslo"], "evidence": ["oslo", "norway"]}
    assert evaluate(done, task)[:4] == pytest.approx((2 / 3 * 0.9, 2 / 3, 1.0, 0.5))
    assert evaluate(done, task, osvl={"reward": {"gate": "none"}}).score == pytest.approx(0.9)


def test_a_fatal_trajectory_is_evaluated_as_the_settings_say() -> None:
    done = trajectory(found("oslo"), *[error()] * 3, answered("Oslo"), fatal_step=1).to_dict()
    task = {"ground_truth": "Oslo", "evidence": ["oslo"]}
    assert evaluate(done, task).score == pytest.approx(0.2)
    assert evaluate(done, task, fatal={"profile": "reference"}).score == 1.0


@pytest.mark.parametrize("broken", [{}, {"question": "", "turns": 3}])
def test_what_is_no_trajectory_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        evaluate(broken, {"ground_truth": "Oslo"})
