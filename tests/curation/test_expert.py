"""The expert in the real tools, over a counterfactual world."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.expert import Expert
from osvl_plugins.curation.exposures import Exposure, expose
from osvl_plugins.curation.questions import Chain, anchors_of, sample_chain
from osvl_plugins.curation.rows import make_task
from osvl_plugins.curation.worlds import counterfactual
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory
from tests.agents import toolset

VIEWS = ("plain", "framed", "blurred")


@pytest.fixture(scope="module")
def world(atlas: Corpus) -> Corpus:
    return atlas.derive(counterfactual(atlas.pages, random.Random(1)))


@pytest.fixture(scope="module")
def tools(world: Corpus) -> ToolSet:
    return toolset(world)


@pytest.fixture(scope="module")
def asked(world: Corpus) -> list[tuple[Chain, Exposure]]:
    """Some chains, each with every view of its picture."""
    rng = random.Random(2)
    anchors = anchors_of(world.pages, set(world.pages), world.ambiguous_pictures)
    pairs = []
    for _ in range(6):
        chain = sample_chain(world.pages, anchors, rng)
        assert chain is not None
        pairs += [(chain, shown) for shown in expose(world, (chain.pages[0], chain.picture), anchors, 0)]
    assert {exposure.view for _, exposure in pairs} == set(VIEWS)
    return pairs


async def run(
    world: Corpus,
    tools: ToolSet,
    chain: Chain,
    exposure: Exposure,
    seed: int = 0,
    visit_share: float = 0.3,
    **faults: float,
) -> tuple[Task, Trajectory]:
    expert = Expert(
        chain,
        world.pages,
        exposure.view,
        random.Random(seed),
        quadrant=exposure.quadrant,
        sharpen_amount=exposure.amount,
        visit_share=visit_share,
    )
    task = make_task(chain, exposure, "Tools:", seed)
    settings = EpisodeSettings(faults=faults)
    return task, await run_episode(task, expert, tools, settings, FatalSettings(on_fatal="continue"))


@pytest.mark.parametrize("visit_share", [0.0, 1.0])
async def test_it_reaches_the_answer_without_an_error(
    world: Corpus, tools: ToolSet, asked: list[tuple[Chain, Exposure]], visit_share: float
) -> None:
    for chain, exposure in asked:
        _, trajectory = await run(world, tools, chain, exposure, visit_share=visit_share)
        assert (trajectory.end, trajectory.answer) == ("answer", chain.answer), trajectory.failure
        assert not any(trajectory.errors)
        seen = {page for turn in trajectory.turns if turn.observation for page in turn.observation.pages}
        assert set(chain.pages) <= seen


async def test_it_reaches_the_answer_through_failures_by_calling_again(
    world: Corpus, tools: ToolSet, asked: list[tuple[Chain, Exposure]]
) -> None:
    failures = 0
    for seed, (chain, exposure) in enumerate(asked):
        _, trajectory = await run(world, tools, chain, exposure, seed, start=0.2, stay=0.4)
        assert trajectory.answer == chain.answer, trajectory.failure
        failures += sum(trajectory.errors)
        for turn, later in pairwise(trajectory.turns):
            assert later.call == turn.call or not turn.is_error
    assert failures > 0


async def test_the_view_decides_the_first_steps(
    world: Corpus, tools: ToolSet, asked: list[tuple[Chain, Exposure]]
) -> None:
    first = {
        "plain": ["image_search"],
        "framed": ["crop", "image_search"],
        "blurred": ["image_search", "sharpen", "image_search"],
    }
    for chain, exposure in asked:
        _, trajectory = await run(world, tools, chain, exposure)
        expected = first[exposure.view]
        assert [turn.call.name for turn in trajectory.turns[: len(expected)] if turn.call] == expected


async def test_it_gives_up_when_the_picture_shows_another_page(
    world: Corpus, tools: ToolSet, asked: list[tuple[Chain, Exposure]]
) -> None:
    chain, exposure = asked[0]
    other = next(page_id for page_id in world.pages if page_id not in chain.pages)
    moved = replace(chain, pages=(other, *chain.pages[1:]))
    _, trajectory = await run(world, tools, moved, exposure)
    assert trajectory.end == "policy_error"
    assert trajectory.failure is not None
    assert trajectory.failure.startswith("image search found ")
