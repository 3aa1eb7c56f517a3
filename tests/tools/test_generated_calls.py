"""Turns as a model at its worst may write them: whatever they hold, the tool set answers in time and by its rules."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.agent import build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ERROR_KINDS, ToolError
from osvl_plugins.protocol import parse_turn
from osvl_plugins.tools.base import schema
from osvl_plugins.tools.build import TOOLS
from osvl_plugins.tools.crop import Crop
from osvl_plugins.tools.image_search import ImageSearch
from osvl_plugins.tools.layout_parsing import LayoutParsing
from osvl_plugins.tools.perspective_correct import PerspectiveCorrect
from osvl_plugins.tools.python_interpreter import PythonInterpreter
from osvl_plugins.tools.sharpen import Sharpen
from osvl_plugins.tools.super_resolution import SuperResolution
from osvl_plugins.tools.text_search import TextSearch
from osvl_plugins.tools.toolset import ALIASES, ToolSet
from osvl_plugins.tools.visit import Visit
from osvl_plugins.tools.web_search import WebSearch
from osvl_plugins.trajectory import ToolCall
from tests.agents import agent, context

DEADLINE_S = 20.0
SLACK_S = 5.0

TRICKS = (
    "img_1", "IMG1", "img_999999", "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/",
    "http://169.254.169.254/latest", "atlas://mexico", "mexico", "\u202egnp.exe", "\x00", "\ud800", "💥" * 50, 
    "a" * 5000, "Oslo AND (", '"', "*", "a:b~2^9", "-", "'; DROP TABLE pages; --",
    "{{7*7}}", "%s%n", "\r\nHost: x", "NaN", "1e999",
    "9" * 400, "0x10", "١٢", "print(1)", "while True: pass", "1/0", "import os; os._exit(0)", "[0] * 10**12", "def f(:",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2, 4, 7, 28, 10**6, -(10**9), 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"))
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "image": ("img_1", "img1"),
    "file_path": ("img_1",),
    "x": (0, 1, "10", 50),
    "y": (0, 1, "10", 50),
    "width": (1, 20, "100", 200),
    "height": (1, 20, "50", 100),
    "amount": (0.5, 1.5, "3"),
    "scale": (2, 4, "2"),
    "q": ("Oslo", "capital of Mexico", "zzz"),
    "hl": ("en", "zh-cn"),
    "top_k": (1, 5, "3"),
    "url": ("img_1", "atlas://mexico", "mexico"),
    "goal": ("", "its capital"),
    "code": ("1 + 1", "print('x' * 10**6)", "import numpy; numpy.zeros(3)", "open('a', 'w')"),
    "use_chart_recognition": (True, "false"),
    "use_doc_orientation_classify": (True, "false"),
}

CLASSES = (
    Crop, ImageSearch, LayoutParsing, PerspectiveCorrect, PythonInterpreter, Sharpen, SuperResolution, TextSearch,
    Visit, WebSearch,
)  # fmt: skip
SCHEMAS = {each.name: schema(each)["function"]["parameters"] for each in CLASSES}

leaves = (
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.sampled_from(TRICKS)
    | st.integers(-300, 300)
    | st.text(st.characters(), max_size=20)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def arguments(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of one tool: mostly the right ones with plausible values, so that many calls get past validation."""
    known = SCHEMAS.get(ALIASES.get(name, name), {"properties": {}, "required": []})
    one = {each: mostly(each) for each in known["properties"]}
    required = {each: one.pop(each) for each in known["required"]}
    right = st.fixed_dictionaries(required, optional=one)
    return right | right | st.dictionaries(st.sampled_from(sorted(PLAUSIBLE)) | st.text(max_size=8), values, max_size=6)


def mostly(name: str) -> st.SearchStrategy[Any]:
    plausible = st.sampled_from(PLAUSIBLE[name])
    return st.one_of(plausible, plausible, plausible, plausible, values)


tool_names = st.sampled_from([*TOOLS, "PythonInterpreter"]) | st.text(max_size=10)
calls = tool_names.flatmap(lambda name: st.tuples(st.just(name), arguments(name)))
picture_sizes = st.sampled_from([(1, 1), (28, 28), (200, 100), (3000, 2), (2, 3000), (640, 480)])


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    own = asyncio.new_event_loop()
    yield own
    own.close()


@pytest.fixture(scope="module")
def tools(atlas: Corpus, loop: asyncio.AbstractEventLoop) -> Iterator[ToolSet]:
    # Short limits, so that code that spins costs the suite little.
    built = build_tools(agent(tools=list(TOOLS), calls={"deadline_s": DEADLINE_S}, sandbox={"timeout_s": 0.5}), atlas)
    yield built
    loop.run_until_complete(built.aclose())


def answer(loop: asyncio.AbstractEventLoop, tools: ToolSet, call: ToolCall, size: tuple[int, int]) -> None:
    """Run ``call`` and check what every call must keep."""
    where = context(Image.new("RGB", size, "grey"))
    began = time.monotonic()
    observation = loop.run_until_complete(tools.run(call, where))
    assert time.monotonic() - began < DEADLINE_S + SLACK_S
    if observation.error is not None:
        assert observation.error.kind in set(ERROR_KINDS)
        assert "the tool broke" not in observation.error.message
        assert observation.image_ids == ()
    assert len(observation.text) <= tools.settings.max_chars + 1000
    json.dumps(observation.text, ensure_ascii=False)


def check_call(
    loop: asyncio.AbstractEventLoop, tools: ToolSet, call: tuple[str, dict[str, Any]], size: tuple[int, int]
) -> None:
    answer(loop, tools, ToolCall(*call), size)


def check_text(loop: asyncio.AbstractEventLoop, tools: ToolSet, text: str, size: tuple[int, int]) -> None:
    try:
        parsed = parse_turn(text)
    except ToolError:
        return
    if parsed.call is not None:
        answer(loop, tools, parsed.call, size)


def mangled(call: tuple[str, dict[str, Any]], cut: float, noise: str, position: float) -> str:
    """A turn with the call, cut short and with something written into it."""
    body = json.dumps({"name": call[0], "arguments": call[1]})
    body = body[: int(cut * len(body)) + 1]
    at = int(position * len(body))
    return f"<think>…</think><tool_call>{body[:at]}{noise}{body[at:]}</tool_call>"


shares = st.floats(0, 1)
noises = st.sampled_from(["", "", "", ",", "}", "\\", "</tool_call>", "<tool_call>", "NaN", "'", "\n"]) | st.text(
    max_size=3
)
texts = st.builds(mangled, calls, shares | st.just(1.0), noises, shares)
everything = settings(suppress_health_check=list(HealthCheck))


@given(calls, picture_sizes)
@settings(everything, max_examples=150)
def test_a_generated_call_is_answered(loop, tools, call, size):
    check_call(loop, tools, call, size)


@given(texts, picture_sizes)
@settings(everything, max_examples=150)
def test_a_mangled_turn_is_answered(loop, tools, text, size):
    check_text(loop, tools, text, size)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@given(calls, picture_sizes)
@settings(everything, max_examples=7000)
def test_seven_thousand_generated_calls_are_answered(loop, tools, call, size):
    check_call(loop, tools, call, size)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@given(texts, picture_sizes)
@settings(everything, max_examples=3000)
def test_three_thousand_mangled_turns_are_answered(loop, tools, text, size):
    check_text(loop, tools, text, size)
