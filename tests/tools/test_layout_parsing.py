"""layout_parsing: what the model reads, through the tool set and in a real worker process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from osvl_plugins.backends.layout import Block, Box, Layout
from osvl_plugins.backends.ocr import EmbeddedReader
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.tools.base import ToolContext, schema
from osvl_plugins.tools.layout_parsing import LayoutParsing, render
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Observation, ToolCall
from tests.agents import context

pytest.importorskip("rapidocr")


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolSet]:
    workers = ProcessWorkers(WorkerSettings(processes=1))
    yield ToolSet([LayoutParsing(EmbeddedReader(workers))], CallSettings())
    workers.close()


def run(tools: ToolSet, where: ToolContext, **arguments: Any) -> Observation:
    return asyncio.run(tools.run(ToolCall("layout_parsing", arguments), where))


def sign() -> Image.Image:
    image = Image.new("RGB", (800, 300), "white")
    ImageDraw.Draw(image).text((60, 110), "Departures from quay seven", font=ImageFont.load_default(48), fill="black")
    return image


def test_a_sign_is_read_with_its_kind_and_its_place(tools: ToolSet) -> None:
    observation = run(tools, context(sign()), image="img_1")
    assert (observation.error, observation.backend) == (None, "rapidocr")
    match = re.fullmatch(r"\[(?:text|title) (\d+),(\d+) (\d+)x(\d+)\] Departures from quay seven", observation.text)
    assert match is not None, observation.text
    x, y, width, height = map(int, match.groups())
    assert 40 <= x <= 62
    assert 95 <= y <= 125
    assert 580 <= x + width <= 720
    assert 45 <= height <= 90


@pytest.mark.parametrize("name", ["image", "file_path"])
def test_file_path_names_a_picture_of_the_conversation(tools: ToolSet, name: str) -> None:
    assert "Departures" in run(tools, context(sign()), **{name: "img1"}).text


@pytest.mark.parametrize("path", ["/etc/hostname", "file:///etc/hostname", "https://example.org/a.png", "img_2"])
def test_nothing_but_a_picture_of_the_conversation_can_be_read(tools: ToolSet, path: str) -> None:
    observation = run(tools, context(sign()), file_path=path)
    assert observation.error is not None
    assert observation.error.kind == "bad_arguments"
    assert observation.error.message.startswith(f"there is no picture '{path}'; there are img_1 (800x300)")


def test_the_schema_offers_image_alone() -> None:
    function = schema(LayoutParsing)["function"]
    assert list(function["parameters"]["properties"]) == [
        "image",
        "use_chart_recognition",
        "use_doc_orientation_classify",
    ]
    assert function["parameters"]["required"] == ["image"]


@pytest.mark.parametrize("arguments", [{}, {"use_doc_orientation_classify": True}])
def test_a_picture_that_lies_turned_is_read_and_the_turn_told(tools: ToolSet, arguments: dict[str, bool]) -> None:
    observation = run(tools, context(sign().rotate(90, expand=True)), image="img_1", **arguments)
    assert observation.text.startswith(
        "(read after turning the picture 90 degrees clockwise; the boxes are of the original)\n"
    )
    assert observation.text.endswith("] Departures from quay seven")


def test_charts_that_cannot_be_read_are_said_and_the_text_is_read(tools: ToolSet) -> None:
    observation = run(tools, context(sign()), image="img_1", use_chart_recognition="true")
    assert observation.error is None
    assert observation.text.startswith("(charts cannot be read as data here; what is written in them is below)\n[")
    assert "Departures from quay seven" in observation.text


def test_no_text_is_said_plainly(tools: ToolSet) -> None:
    observation = run(tools, context(Image.new("RGB", (300, 200), "teal")), image="img_1")
    assert (observation.error, observation.text) == (None, "No text found.")


def test_blocks_are_a_line_each_but_for_the_rows_of_a_table() -> None:
    layout = Layout(
        (
            Block("title", Box(12, 30, 400, 40), "Annual\nreport", 0.9),
            Block("table", Box(12, 80, 400, 90), "year | ships\n1912 | 31", 0.9),
            Block("figure", Box(12, 180, 400, 200), "", 0.8),
        ),
        scale=0.5,
        omitted=4,
    )
    assert render(layout, charts=False).split("\n") == [
        "(read at 50% of its size; crop a part to read small print)",
        "[title 12,30 400x40] Annual report",
        "[table 12,80 400x90]",
        "year | ships",
        "1912 | 31",
        "[figure 12,180 400x200]",
        "(4 more parts are left out; crop a part to read it)",
    ]


def test_a_reader_that_reads_charts_gets_no_note() -> None:
    layout = Layout((Block("chart", Box(0, 0, 9, 9), "1912 | 31", 0.9),), charts=True)
    assert render(layout, charts=True) == "[chart 0,0 9x9] 1912 | 31"
