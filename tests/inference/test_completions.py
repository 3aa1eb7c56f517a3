"""Turns from a server: what is asked, what is tried again, and what each failure is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from osvl_plugins.backends.http import HttpSettings
from osvl_plugins.errors import ContextLimit, PolicyError
from osvl_plugins.inference import completions
from osvl_plugins.inference.completions import ChatClient, ChatModel
from tests.backends.asking import Unlimited
from tests.inference.replies import Replies, delta, replying

ASKED = [{"role": "user", "content": "Who?"}]
TOO_LONG = (400, "This model's maximum context length is 64 tokens. However, you requested 4100 tokens.")
Make = Callable[..., ChatClient]


@pytest.fixture
async def server() -> AsyncIterator[Replies]:
    async with replying() as server:
        yield server


@pytest.fixture
async def make(server: Replies, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(completions, "FIRST_PAUSE_S", 0.01)
    made: list[ChatClient] = []

    def client(budgets: Unlimited | None = None, **settings: Any) -> ChatClient:
        model = ChatModel(server.url, "m", **{"deadline_s": 20.0, **settings})
        made.append(ChatClient(model, HttpSettings(attempts=3, max_bytes=100_000), budgets or Unlimited()))
        return made[-1]

    yield client
    for each in made:
        await each.aclose()


async def turn(client: ChatClient, heard: Callable[[str | None], None] = lambda piece: None) -> str:
    return await client.turn(ASKED, None, heard)


async def test_a_turn_is_the_stream_put_together_wherever_the_network_cut_it(server: Replies, make: Make) -> None:
    server.says = [[delta(role="assistant", content=""), delta(content="Kõpu "), delta(content="灯台"), delta("stop")]]
    heard: list[str | None] = []
    assert await turn(make(), heard.append) == "Kõpu 灯台"
    assert heard == ["Kõpu ", "灯台"]


async def test_the_request_names_the_sampling_and_leaves_the_servers_tool_calls_alone(
    server: Replies, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSVL_TEST_KEY", "secret")
    await turn(make(temperature=0.5, top_p=0.9, max_turn=77, key_env="OSVL_TEST_KEY"))
    (asked,) = server.asked
    assert asked == {
        "model": "m", "messages": ASKED, "temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "stream": True,
    }  # fmt: skip
    assert server.keys == ["Bearer secret"]


@pytest.mark.parametrize("failure", [429, 503, b'data: {"choices": [{"delta": {"content": "Half a'])
async def test_what_may_pass_is_tried_again_each_attempt_in_its_turn(
    failure: int | bytes, server: Replies, make: Make
) -> None:
    server.says = [failure, failure, "whole"]
    budgets, heard = Unlimited(), []
    assert await turn(make(budgets), heard.append) == "whole"
    assert (budgets.entered, budgets.held, heard) == (3, 0, [None, None, "whole"])


async def test_a_stream_that_ends_without_a_reason_is_no_turn(server: Replies, make: Make) -> None:
    server.says = [[delta(content="Half")]]
    with pytest.raises(PolicyError, match="broke within the turn"):
        await turn(make())
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (500, r"broken \(status 500\)"),
        (401, "credentials"),
        ((404, "The model m does not exist."), "does not exist"),
        ([delta(refusal="I cannot help")], "refuses: I cannot help"),
        ([delta("content_filter")], "refuses"),
        ([delta(tool_calls=[{"function": {"name": "crop"}}])], "without a tool call parser"),
        ([{"error": {"message": "out of memory"}}], "out of memory"),
        ([delta(content="x" * 200_000), delta("stop")], "over 100000 bytes"),
    ],
)
async def test_no_turn_is_a_policy_error_that_says_why(reply: Any, reason: str, server: Replies, make: Make) -> None:
    server.says = [reply]
    with pytest.raises(PolicyError, match=reason) as raised:
        await turn(make())
    assert not isinstance(raised.value, ContextLimit)


async def test_a_server_that_is_not_there_is_a_policy_error(make: Make) -> None:
    client = ChatClient(ChatModel("http://127.0.0.1:9/v1", "m"), HttpSettings(attempts=1), Unlimited())
    with pytest.raises(PolicyError, match="no connection"):
        await turn(client)
    await client.aclose()


async def test_a_slow_server_meets_the_deadline(server: Replies, make: Make) -> None:
    server.delay_s = 30.0
    with pytest.raises(PolicyError, match=r"within 0\.2 s"):
        await turn(make(deadline_s=0.2))


@pytest.mark.parametrize(
    "said",
    [
        TOO_LONG[1],
        "The input (70 tokens) is longer than the model's context length (64 tokens).",
        "The decoder prompt (length 70) is longer than the maximum model length of 64.",
        "context_length_exceeded",
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_that_does_not_fit_is_a_context_limit(
    said: str, streamed: bool, server: Replies, make: Make
) -> None:
    server.says = [[{"error": {"message": said}}] if streamed else (400, said)]
    with pytest.raises(ContextLimit):
        await turn(make())
    assert ["max_tokens" in asked for asked in server.asked] == [True, False]


async def test_a_prompt_that_fits_gets_the_room_that_is_left(server: Replies, make: Make) -> None:
    server.says = [TOO_LONG, [delta(content="short"), delta("length")]]
    assert await turn(make()) == "short"


async def test_thoughts_that_a_reasoning_parser_took_out_are_put_back(server: Replies, make: Make) -> None:
    server.says = [
        [delta(reasoning_content="so "), delta(reasoning_content="it is"), delta(content="x"), delta("stop")]
    ]
    heard: list[str | None] = []
    assert await turn(make(), heard.append) == "<think>so it is</think>x"
    assert "".join(piece or "" for piece in heard) == "<think>so it is</think>x"


@pytest.mark.parametrize("finish", ["stop", "length"])
async def test_a_turn_that_the_model_left_empty_or_unfinished_is_its_turn(
    finish: str, server: Replies, make: Make
) -> None:
    server.says = [[delta(finish)]]
    assert await turn(make()) == ""


async def test_an_answer_that_is_no_stream_is_refused(server: Replies, make: Make) -> None:
    server.says = [200]
    with pytest.raises(PolicyError, match="no event stream but application/json"):
        await turn(make())
    assert json.dumps(server.asked)
