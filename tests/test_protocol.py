"""Reading turns."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import ToolError
from osvl_plugins.protocol import format_answer, format_call, parse_turn, question_messages
from osvl_plugins.trajectory import ImageRecord, ToolCall

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
# What stands inside a block cannot contain the block's own end.
inner_text = st.text(max_size=40).filter(lambda text: "<" not in text)


@given(inner_text, st.text(max_size=20), st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_a_written_call_is_read_back(thought, name, arguments):
    text = format_call(name, arguments, thought)
    if any(tag in json.dumps([name, arguments], ensure_ascii=False) for tag in ("</tool_call>", "<think>")):
        return
    assert parse_turn(text).call == ToolCall(name, arguments)


@given(inner_text, inner_text.filter(str.strip))
def test_a_written_answer_is_read_back(thought, answer):
    assert parse_turn(format_answer(answer, thought)).answer == answer.strip()


@given(st.text(max_size=200))
def test_any_text_is_a_call_an_answer_or_a_parse_error(text):
    try:
        parsed = parse_turn(text)
    except ToolError as error:
        found = [error.kind]
    else:
        found = [name for name in ("call", "answer") if getattr(parsed, name) is not None]
    assert found in (["parse"], ["call"], ["answer"])


def test_a_call_wins_over_an_answer_in_the_same_turn():
    text = '<response>Paris</response><tool_call>{"name": "crop", "arguments": {}}</tool_call>'
    assert parse_turn(text).call == ToolCall("crop", {})


def test_nothing_inside_the_think_block_counts():
    text = '<think><response>no</response><tool_call>{"name": "x"}</tool_call></think><response>yes</response>'
    assert parse_turn(text).answer == "yes"


def test_arguments_given_as_a_json_text_are_read():
    text = '<tool_call>{"name": "visit", "arguments": "{\\"url\\": \\"a\\"}"}</tool_call>'
    assert parse_turn(text).call == ToolCall("visit", {"url": "a"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "neither"),
        ("just text", "neither"),
        ("<response>  </response>", "neither"),
        ("<think>never closed <response>x</response>", "<think> block is not closed"),
        ('<tool_call>{"name": "crop"}', "<tool_call> block is not closed"),
        ("<tool_call>{crop}</tool_call>", "not valid JSON"),
        ("<tool_call>[1]</tool_call>", "must be a JSON object"),
        ('<tool_call>{"arguments": {}}</tool_call>', "must be a JSON object"),
        ('<tool_call>{"name": "crop", "arguments": [1]}</tool_call>', "not a JSON object"),
        ('<tool_call>{"name": "crop", "arguments": "x"}</tool_call>', "not a JSON object"),
        ('<tool_call>{"name":"a"}</tool_call><tool_call>{"name":"b"}</tool_call>', "2 tool calls"),
        ("<response>a</response><response>b</response>", "2 responses"),
        ("<tool_call>" + "[" * 50_000 + "</tool_call>", "not valid JSON"),
        ("x" * 100_001, "longer than"),
    ],
)
def test_an_unreadable_turn_is_told_what_is_wrong(text, message):
    with pytest.raises(ToolError, match=message) as error:
        parse_turn(text)
    assert error.value.kind == "parse"


def test_each_picture_of_the_prompt_is_followed_by_its_name_and_size():
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
    parts = question_messages(messages, [ImageRecord("img_1", 640, 480)])[0]["content"]
    assert [part.get("text", "<image>") for part in parts] == ["<image>", "img_1 (640x480)\n", "Who?"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_prompt_with_other_than_its_pictures_is_refused(count):
    with pytest.raises(ValueError, match="pictures"):
        question_messages([{"role": "user", "content": [{"type": "image"}]}], [ImageRecord("img_1", 1, 1)] * count)
