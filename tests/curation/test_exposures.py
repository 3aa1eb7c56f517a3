"""Exposures of the atlas's pictures, proven again through the tools that the agent has."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.exposures import Anchor, Exposure, expose
from osvl_plugins.curation.questions import anchors_of
from osvl_plugins.curation.views import QUADRANTS, inside
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Observation, ToolCall
from tests.agents import context, toolset


@pytest.fixture(scope="module")
def anchors(atlas: Corpus) -> list[Anchor]:
    return anchors_of(atlas.pages, set(atlas.pages), atlas.ambiguous_pictures)


@pytest.fixture(scope="module")
def exposures(atlas: Corpus, anchors: list[Anchor]) -> list[Exposure]:
    return [shown for anchor in random.Random(0).sample(anchors, 6) for shown in expose(atlas, anchor, anchors, 0)]


@pytest.fixture(scope="module")
def tools(atlas: Corpus) -> ToolSet:
    return toolset(atlas)


def run(tools: ToolSet, where: ToolContext, name: str, **arguments: Any) -> Observation:
    return asyncio.run(tools.run(ToolCall(name, arguments), where))


def of(exposures: Sequence[Exposure], view: str) -> list[Exposure]:
    found = [exposure for exposure in exposures if exposure.view == view]
    assert found
    return found


def test_image_search_finds_a_plain_picture(tools: ToolSet, exposures: list[Exposure]) -> None:
    for exposure in of(exposures, "plain"):
        assert run(tools, context(exposure.image), "image_search", url="img_1").pages[0] == exposure.anchor[0]


def test_image_search_finds_what_is_cut_out_of_the_frame(tools: ToolSet, exposures: list[Exposure]) -> None:
    for exposure in of(exposures, "framed"):
        where = context(exposure.image)
        assert exposure.quadrant is not None
        run(tools, where, "crop", image="img_1", **inside(QUADRANTS[exposure.quadrant])._asdict())
        assert run(tools, where, "image_search", url="img_2").pages[0] == exposure.anchor[0]


def test_image_search_finds_a_blurred_picture_only_when_it_is_sharpened(
    tools: ToolSet, exposures: list[Exposure]
) -> None:
    for exposure in of(exposures, "blurred"):
        where = context(exposure.image)
        assert run(tools, where, "image_search", url="img_1").text == "No picture matches."
        run(tools, where, "sharpen", image="img_1", amount=exposure.amount)
        assert run(tools, where, "image_search", url="img_2").pages[0] == exposure.anchor[0]


def test_the_same_seed_gives_the_same_exposures(atlas: Corpus, anchors: list[Anchor]) -> None:
    assert expose(atlas, anchors[0], anchors, 3) == expose(atlas, anchors[0], anchors, 3)


def test_a_picture_with_a_twin_is_exposed_only_if_search_finds_its_own_page(
    atlas: Corpus, anchors: list[Anchor], tools: ToolSet
) -> None:
    for anchor in sorted(atlas.ambiguous_pictures)[:6]:
        for exposure in expose(atlas, anchor, anchors, 0)[:1]:
            assert run(tools, context(exposure.image), "image_search", url="img_1").pages[0] == anchor[0]
