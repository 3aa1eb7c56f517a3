"""Rows of the released SFT data."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from osvl_plugins.data.report import Rejected
from osvl_plugins.data.sharegpt import factory_row, read_conversation, verl_row
from tests.data import released

ROW = released.sft_row(["a.jpg", "b.jpg"])


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    row = copy.deepcopy(ROW)
    change(row)
    return row


def test_a_row_becomes_alternating_messages_with_its_own_system_text() -> None:
    row = verl_row(read_conversation(ROW, 32), [b"1", b"2"], "fvqa", "fvqa:7")
    assert [message["role"] for message in row["messages"]] == [
        "system", "user", "assistant", "tool", "assistant", "tool", "assistant", "tool", "assistant",
    ]  # fmt: skip
    assert [message["content"] for message in row["messages"]] == [
        ROW["system"], *(turn["value"] for turn in ROW["conversations"])
    ]  # fmt: skip
    assert row["images"] == [{"bytes": b"1"}, {"bytes": b"2"}]
    assert (row["subset"], row["id"]) == ("fvqa", "fvqa:7")


def test_a_row_for_llama_factory_is_the_released_one_but_for_names() -> None:
    expected = {**ROW, "images": ["x/1.jpg", "x/2.jpg"]}
    expected["tools"] = ROW["tools"].replace("PythonInterpreter", "python_interpreter", 1)
    row = factory_row(read_conversation(ROW, 32), ["x/1.jpg", "x/2.jpg"])
    assert {**row, "tools": json.loads(row["tools"])} == {**expected, "tools": json.loads(expected["tools"])}


def test_the_interpreter_gets_this_packages_name_and_nothing_else_changes() -> None:
    text = '<think>"name": "PythonInterpreter"</think>'
    text += '<tool_call>{"name":  "%s", "arguments": {"name": "PythonInterpreter"}}</tool_call>'
    row = changed(lambda row: row["conversations"][1].update(value=text % "PythonInterpreter"))
    conversation = read_conversation(row, 32)
    assert conversation.turns[1].text == text % "python_interpreter"
    assert [tool["function"]["name"] for tool in json.loads(conversation.tools)][-1] == "python_interpreter"
    other = text % "text_search"
    row["conversations"][1]["value"] = other
    assert read_conversation(row, 32).turns[1].text == other


@pytest.mark.parametrize("tools", [None, "", "[]", []])
def test_a_row_may_have_no_tools(tools: Any) -> None:
    assert read_conversation(changed(lambda row: row.update(tools=tools)), 32).tools == ""


def test_a_bare_schema_is_wrapped_as_chat_templates_want_it() -> None:
    bare = [{"name": "crop", "parameters": {}}]
    conversation = read_conversation(changed(lambda row: row.update(tools=bare)), 32)
    assert json.loads(conversation.tools) == [{"type": "function", "function": bare[0]}]


def test_pictures_of_an_observation_come_first() -> None:
    text = "<observation>seen: <image></observation>"
    row = changed(lambda row: row["conversations"][4].update(value=text))
    assert read_conversation(row, 32).turns[4].text == "<image><observation>seen: </observation>"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("<tool_call>{no json}</tool_call>", "a turn without one readable call or answer"),
        ("It is 1988.", "a turn without one readable call or answer"),
        (released.call("crop"), "a call in the last turn"),
    ],
)
def test_what_the_release_trains_on_is_kept_with_a_warning(text: str, warning: str) -> None:
    row = changed(lambda row: row["conversations"][-1].update(value=text))
    conversation = read_conversation(row, 32)
    assert conversation.warnings == (warning,)
    assert conversation.turns[-1].text == text
    assert read_conversation(ROW, 32).warnings == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda row: row.pop("conversations"), "wrong_fields"),
        (lambda row: row.update(conversations={}), "wrong_fields"),
        (lambda row: row["conversations"].append("text"), "wrong_fields"),
        (lambda row: row["conversations"][0].update(value=None), "wrong_fields"),
        (lambda row: row.update(system=[1]), "wrong_fields"),
        (lambda row: row.update(images=[1]), "wrong_fields"),
        (lambda row: row.update(conversations=[]), "roles"),
        (lambda row: row["conversations"].pop(), "roles"),
        (lambda row: row["conversations"].pop(2), "roles"),
        (lambda row: row["conversations"][0].update({"from": "user"}), "roles"),
        (lambda row: row["conversations"][2].update({"from": "human"}), "roles"),
        (lambda row: row["images"].pop(), "image_count"),
        (lambda row: row["conversations"][1].update(value="<image>"), "image_count"),
        (lambda row: row.update(system="<image>"), "image_count"),
        (lambda row: row.update(images=["a.jpg"] * 33), "too_many_images"),
        (lambda row: row.update(tools="[{"), "tools"),
        (lambda row: row.update(tools={"name": "crop"}), "tools"),
        (lambda row: row.update(tools=[{"parameters": {}}]), "tools"),
        (lambda row: row["conversations"][0].update(value="<image>\ud800"), "not_unicode"),
        (lambda row: row.update(system="\udcff"), "not_unicode"),
    ],
)
def test_a_row_that_no_trainer_could_take_is_rejected(change: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        read_conversation(changed(change), 32)
    assert rejected.value.reason == reason


@pytest.mark.parametrize("row", [None, 1, "text", [], {}])
def test_what_is_no_object_is_rejected(row: Any) -> None:
    with pytest.raises(Rejected, match="wrong_fields"):
        read_conversation(row, 32)
