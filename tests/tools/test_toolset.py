"""The ten real tools over the real corpus, called rightly and wrongly."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.build import TOOLS
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Observation, StepError, ToolCall
from tests.agents import context, toolset


@pytest.fixture(scope="module")
def tools(atlas: Corpus) -> ToolSet:
    return toolset(atlas)


def run(tools: ToolSet, name: str, arguments: dict[str, Any], where: ToolContext | None = None) -> Observation:
    return asyncio.run(tools.run(ToolCall(name, arguments), where or context()))


def box(**changed: Any) -> dict[str, Any]:
    return {"image": "img_1", "x": 0, "y": 0, "width": 20, "height": 10, **changed}


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "message"),
    [
        ("zoom", {}, "unknown_tool", "there is no tool 'zoom'; there are crop, layout_parsing, text_search"),
        ("x" * 1000, {}, "unknown_tool", "there is no tool 'xxx"),
        ("crop", {}, "bad_arguments", "image: Field required; x: Field required"),
        ("crop", box(x="left"), "bad_arguments", "x: Input should be a valid integer"),
        ("crop", box(x=float("nan")), "bad_arguments", "x: Input should be a finite number"),
        ("crop", box(x=1.5), "bad_arguments", "x: Input should be a valid integer"),
        ("crop", box(x=None), "bad_arguments", "x: Input should be a valid integer"),
        ("crop", box(x=[1]), "bad_arguments", "x: Input should be a valid integer"),
        ("crop", box(zoom=2), "bad_arguments", "zoom: Extra inputs are not permitted"),
        ("crop", box(width=0), "bad_arguments", "width and height must be at least 1, got 0 and 10"),
        ("crop", box(height=-3), "bad_arguments", "width and height must be at least 1, got 20 and -3"),
        ("crop", box(x=-1), "bad_arguments", "is not inside img_1, which is 200x100"),
        ("crop", box(y=91), "bad_arguments", "the box 0,91 20x10 is not inside img_1, which is 200x100"),
        ("crop", box(width=201), "bad_arguments", "is not inside img_1, which is 200x100"),
        ("crop", box(width=10**30), "bad_arguments", "is not inside img_1, which is 200x100"),
        ("crop", box(image="img_2"), "bad_arguments", r"there is no picture 'img_2'; there are img_1 (200x100)"),
        ("crop", box(image=""), "bad_arguments", "there is no picture ''"),
        ("sharpen", {"image": "img_0"}, "bad_arguments", "there is no picture 'img_0'"),
        ("sharpen", {"image": "img_1", "amount": 0}, "bad_arguments", "amount: Input should be greater than 0"),
        ("sharpen", {"image": "img_1", "amount": 10.5}, "bad_arguments", "amount: Input should be less than or equal"),
        ("sharpen", {"image": "img_1", "amount": float("nan")}, "bad_arguments", "amount: Input should be a finite"),
        ("image_search", {"url": "https://example.org/a.png"}, "not_found", "there is no picture 'https://"),
        ("image_search", {"url": "i" * 2001}, "bad_arguments", "url: String should have at most 2000 characters"),
        ("text_search", {"q": ""}, "bad_arguments", "q is empty: write what to look for"),
        ("text_search", {"q": " \n"}, "bad_arguments", "q is empty: write what to look for"),
        ("text_search", {"q": "q" * 1001}, "bad_arguments", "q: String should have at most 1000 characters"),
        ("text_search", {"q": "Oslo", "top_k": 0}, "bad_arguments", "top_k: Input should be greater than or equal"),
        ("text_search", {"query": "Oslo"}, "bad_arguments", "q: Field required; query: Extra inputs"),
        ("text_search", {"q": 7}, "bad_arguments", "q: Input should be a valid string"),
        ("text_search", {"q": "\ud800"}, "bad_arguments", "q: Input should be a valid string"),
        ("visit", {"url": "atlas://mexicoo"}, "not_found", "no page 'atlas://mexicoo'"),
        ("visit", {"url": "capital Mexico"}, "not_found", "did you mean"),
        ("visit", {"url": ""}, "not_found", "no page ''; give an address, an id or a title"),
    ],
)
def test_a_wrong_call_is_a_typed_error_that_says_what_to_change(
    tools: ToolSet, tool: str, arguments: dict[str, Any], kind: str, message: str
) -> None:
    observation = run(tools, tool, arguments)
    assert observation.error is not None
    assert observation.error.kind == kind
    assert message in observation.error.message
    assert observation.text == f"Error ({kind}): {observation.error.message}"
    assert len(observation.text) < 1000
    assert observation.image_ids == ()


def test_a_number_written_as_text_is_a_number(tools: ToolSet) -> None:
    assert run(tools, "crop", box(width="112", height="60")).text == "img_2 (112x60)"


@pytest.mark.parametrize("name", ["img_1", "img1", "IMG_1", " img_01 "])
def test_a_picture_may_be_named_loosely(tools: ToolSet, name: str) -> None:
    observation = run(tools, "sharpen", {"image": name})
    assert observation.error is None


def test_a_new_picture_is_told_by_name_and_size_and_kept_with_its_origin(tools: ToolSet) -> None:
    where = context()
    first = run(tools, "crop", box(width=112, height=100), where)
    second = run(tools, "sharpen", {"image": "img_2", "amount": "2"}, where)
    assert (first.text, first.image_ids) == ("img_2 (112x100)", ("img_2",))
    assert (second.text, second.image_ids) == ("img_3 (112x100)", ("img_3",))
    assert [(record.tool, record.source) for record in where.images.records] == [
        (None, None),
        ("crop", "img_1"),
        ("sharpen", "img_2"),
    ]


def test_a_crop_is_cut_from_the_original_and_not_from_what_the_model_sees(tools: ToolSet) -> None:
    image = Image.new("RGB", (3000, 2000), "white")
    image.paste("red", (2900, 1900, 3000, 2000))
    where = context(image)
    run(tools, "crop", box(x=2900, y=1900, width=100, height=100), where)
    assert where.images.original("img_2").getcolors() == [(10_000, (255, 0, 0))]


def test_a_picture_over_the_limit_is_refused(tools: ToolSet) -> None:
    where = context(max_images=2)
    assert run(tools, "crop", box(), where).error is None
    observation = run(tools, "crop", box(), where)
    assert observation.error == StepError("limit", "this conversation already has 2 pictures")
    assert len(where.images.records) == 2


def test_text_search_names_the_pages_that_it_showed(tools: ToolSet, atlas: Corpus) -> None:
    observation = run(tools, "text_search", {"q": "Mexico", "top_k": 2})
    assert observation.text.startswith("[Passage 1]\nTitle: Mexico\nURL: atlas://mexico\nSummary: ")
    assert len(observation.pages) == 2
    assert set(observation.pages) <= set(atlas.pages)
    assert observation.backend == "corpus"


def test_what_nothing_matches_is_no_error(tools: ToolSet) -> None:
    observation = run(tools, "text_search", {"q": "zzxxqqyy"})
    assert observation.error is None
    assert observation.text == "Nothing found for 'zzxxqqyy'."


def test_the_setting_bounds_how_many_passages_the_model_may_ask_for(atlas: Corpus) -> None:
    observation = run(toolset(atlas, search={"top_k": 1}), "text_search", {"q": "Mexico", "top_k": 20})
    assert len(observation.pages) == 1


def test_image_search_finds_the_page_of_a_picture(tools: ToolSet, atlas: Corpus) -> None:
    page_id = next(
        page.id for page in atlas.pages.values() if page.pictures and (page.id, 0) not in atlas.ambiguous_pictures
    )
    observation = run(tools, "image_search", {"url": "img1"}, context(atlas.picture(page_id)))
    assert observation.pages[0] == page_id
    assert f"Title: {atlas.pages[page_id].title}\nURL: atlas://{page_id}" in observation.text


def test_image_search_of_an_unknown_picture_finds_nothing(tools: ToolSet) -> None:
    observation = run(
        tools, "image_search", {"url": "img_1"}, context(Image.effect_noise((128, 128), 90).convert("RGB"))
    )
    assert (observation.text, observation.pages) == ("No picture matches.", ())


@pytest.mark.parametrize("url", ["atlas://mexico", "mexico", "MEXICO", " Mexico "])
def test_visit_reads_a_page_by_address_id_or_title(tools: ToolSet, atlas: Corpus, url: str) -> None:
    observation = run(tools, "visit", {"url": url, "goal": "capital"})
    assert observation.pages == ("mexico",)
    assert atlas.pages["mexico"].fact_box in observation.text


def test_a_long_observation_is_clipped(atlas: Corpus) -> None:
    observation = run(toolset(atlas, calls={"max_chars": 100}), "visit", {"url": "mexico"})
    assert len(observation.text) == 100


@pytest.mark.parametrize("x", [10**4000, -(10**4000)], ids=["right", "left"])
def test_an_error_is_clipped_too(tools: ToolSet, x: int) -> None:
    assert len(run(tools, "crop", box(x=x)).text) < 1100


class Odd:
    """A tool that hangs, breaks, or talks too much."""

    name: ClassVar[str] = "odd"
    description: ClassVar[str] = "Odd."
    arguments: ClassVar[type[Arguments]] = Arguments
    backend = "none"

    def __init__(self, breaks: Exception | None) -> None:
        self._breaks = breaks

    async def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        if self._breaks is not None:
            raise self._breaks
        await asyncio.Event().wait()
        return ToolResult()


def test_a_tool_over_its_deadline_is_a_timeout() -> None:
    observation = run(ToolSet([Odd(None)], CallSettings(deadline_s=0.01)), "odd", {})
    assert observation.error == StepError("timeout", "no result within 0.01 seconds")


def test_a_broken_tool_has_failed_and_the_log_says_how(caplog: pytest.LogCaptureFixture) -> None:
    observation = run(ToolSet([Odd(KeyError("secret"))], CallSettings()), "odd", {})
    assert observation.error == StepError("failed", "the tool broke (KeyError)")
    assert "secret" in caplog.text


def test_a_tools_own_error_keeps_its_kind() -> None:
    observation = run(ToolSet([Odd(ToolError("denied", "not here"))], CallSettings()), "odd", {})
    assert observation.error == StepError("denied", "not here")


@given(st.sampled_from(["visit", "text_search"]), st.text(st.characters(), max_size=60))
@settings(max_examples=300)
def test_no_text_breaks_a_search_or_a_visit(tools: ToolSet, name: str, text: str) -> None:
    observation = run(tools, name, {"q" if name == "text_search" else "url": text})
    assert observation.error is None or observation.error.kind in ("bad_arguments", "not_found")


@pytest.mark.parametrize("name", TOOLS)
def test_every_schema_is_plain_json_in_openais_format(tools: ToolSet, name: str) -> None:
    schema = next(schema for schema in tools.schemas if schema["function"]["name"] == name)
    assert json.loads(json.dumps(schema)) == schema
    parameters = schema["function"]["parameters"]
    assert set(parameters["required"]) <= set(parameters["properties"])
    assert all("description" in field for field in parameters["properties"].values())
