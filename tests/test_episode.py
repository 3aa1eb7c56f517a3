"""Whole episodes: a scripted policy, the real tools, the real corpus."""

from __future__ import annotations

import pytest
from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.errors import PolicyError, ToolError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import ImageRecord, Trajectory
from tests.agents import Scripted, answer, call, toolset

SEARCH = call("text_search", q="Mexico")
WRONG = call("visit", url="atlas://nowhere")
GARBLED = "I wonder."


@pytest.fixture(scope="module")
def tools(atlas: Corpus) -> ToolSet:
    return toolset(atlas)


def task() -> Task:
    messages = [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
    ]
    return Task(messages=messages, images=[Image.new("RGB", (1000, 500))], question="What is it?")


async def run(policy: Scripted, tools: ToolSet, fatal: dict | None = None, **settings: object) -> Trajectory:
    return await run_episode(task(), policy, tools, EpisodeSettings(**settings), FatalSettings(**(fatal or {})))


async def test_an_answer_ends_it(tools: ToolSet) -> None:
    policy = Scripted([SEARCH, answer("Mexico City"), SEARCH])
    trajectory = await run(policy, tools)
    assert (trajectory.end, trajectory.answer, len(trajectory.turns)) == ("answer", "Mexico City", 2)
    assert trajectory.turns[1].observation is None
    assert trajectory.fatal_step is None


async def test_the_policy_reads_each_observation(tools: ToolSet) -> None:
    policy = Scripted([SEARCH, call("crop", image="img_1", x=0, y=0, width=112, height=112), WRONG, answer("x")])
    trajectory = await run(policy, tools)
    texts = [text for text, _ in policy.observed]
    assert texts == [turn.observation.text for turn in trajectory.turns[:3] if turn.observation]
    assert [sizes for _, sizes in policy.observed] == [[], [(112, 112)], []]
    assert texts[1] == "img_2 (112x112)"
    assert texts[2].startswith("Error (not_found): ")


async def test_the_prompt_names_the_picture_with_its_original_size(tools: ToolSet) -> None:
    policy = Scripted([answer("x")])
    trajectory = await run(policy, tools, images={"max_pixels": 10_000})
    assert {"type": "text", "text": "img_1 (1000x500)\n"} in policy.messages[1]["content"]
    assert trajectory.images == [ImageRecord("img_1", 1000, 500)]


async def test_turns_run_out(tools: ToolSet) -> None:
    policy = Scripted([SEARCH] * 9)
    trajectory = await run(policy, tools, max_turns=3)
    assert (trajectory.end, len(trajectory.turns), trajectory.answer) == ("turn_limit", 3, None)
    assert len(policy.observed) == 2


async def test_it_stops_at_the_kth_error_in_a_row(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH, WRONG, GARBLED, call("zoom"), answer("late")]), tools)
    assert (trajectory.end, trajectory.fatal_step, len(trajectory.turns)) == ("fatal", 1, 4)
    kinds = [
        turn.observation.error.kind for turn in trajectory.turns[1:] if turn.observation and turn.observation.error
    ]
    assert kinds == ["not_found", "parse", "unknown_tool"]


async def test_the_fatal_step_may_be_the_last_of_the_run(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH, WRONG, WRONG]), tools, {"k": 2, "at": "last"})
    assert (trajectory.end, trajectory.fatal_step) == ("fatal", 2)


async def test_it_may_go_on_after_the_fatal_step_to_an_answer(tools: ToolSet) -> None:
    policy = Scripted([WRONG] * 3 + [SEARCH, answer("Mexico City")])
    trajectory = await run(policy, tools, {"on_fatal": "continue"})
    assert (trajectory.end, trajectory.answer, trajectory.fatal_step) == ("answer", "Mexico City", 0)
    assert trajectory.errors == [True, True, True, False, False]


async def test_a_clean_step_between_errors_saves_it(tools: ToolSet) -> None:
    trajectory = await run(Scripted([WRONG, WRONG, SEARCH, WRONG, WRONG, answer("x")]), tools)
    assert (trajectory.end, trajectory.fatal_step) == ("answer", None)


async def test_a_failing_server_ends_it_as_a_failure_of_the_policy(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH, PolicyError("the server is gone")]), tools)
    assert (trajectory.end, trajectory.failure, len(trajectory.turns)) == ("policy_error", "the server is gone", 1)


async def test_a_server_that_hangs_is_given_up(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH]), tools, turn_deadline_s=0.05)
    assert (trajectory.end, trajectory.failure) == ("policy_error", "no turn within 0.05 seconds")


async def test_no_room_for_an_observation_ends_it(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH] * 9, room=1), tools)
    assert (trajectory.end, len(trajectory.turns)) == ("context_limit", 2)


async def test_injected_failures_are_errors_like_others(tools: ToolSet) -> None:
    trajectory = await run(Scripted([SEARCH] * 9), tools, faults={"start": 1.0, "stay": 1.0})
    assert (trajectory.end, trajectory.fatal_step) == ("fatal", 0)
    assert all(turn.well_formed for turn in trajectory.turns)


async def test_a_task_with_other_than_its_pictures_is_refused(tools: ToolSet) -> None:
    broken = Task(messages=[{"role": "user", "content": "no picture"}], images=[Image.new("RGB", (9, 9))])
    with pytest.raises(ValueError, match="pictures"):
        await run_episode(broken, Scripted([]), tools, EpisodeSettings(), FatalSettings())


async def test_a_task_with_more_pictures_than_allowed_is_refused(tools: ToolSet) -> None:
    with pytest.raises(ToolError, match="pictures"):
        await run_episode(
            Task([], [Image.new("RGB", (9, 9))] * 2),
            Scripted([]),
            tools,
            EpisodeSettings(images={"max_images": 1}),
            FatalSettings(),
        )
