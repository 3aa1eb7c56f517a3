"""The chat API over a model in this process: what it says is what the model samples."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from PIL import Image

from osvl_plugins.backends.http import HttpSettings
from osvl_plugins.conversation import ChatTokens
from osvl_plugins.errors import ContextLimit
from osvl_plugins.generation import BatchGenerator
from osvl_plugins.inference.chat import ChatPolicy
from osvl_plugins.inference.completions import ChatClient, ChatModel
from osvl_plugins.inference.local import Local, local_policy
from osvl_plugins.inference.server import ChatServer, serving
from tests.backends.asking import Unlimited
from tests.tiny import load_tiny

QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who?"}]}]
PICTURE = Image.new("RGB", (64, 64), "teal")


class Served(NamedTuple):
    url: str
    local: Local


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("tiny")
    model, processor = load_tiny(folder)
    generator = BatchGenerator(model, processor, gather_s=0.0, max_context=120)
    yield Local(generator, ChatTokens(processor))
    generator.close()


@pytest.fixture
async def served(local: Local) -> AsyncIterator[Served]:
    async with serving(ChatServer(local.generator, local.chat, "tiny")) as url:
        yield Served(url, local)


async def post(served: Served, **body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{served.url}/chat/completions", json=body) as response,
    ):
        return response.status, await response.json()


async def test_a_greedy_turn_by_the_api_is_the_models_own(served: Served) -> None:
    own = local_policy(served.local, 0.0, 20, 30.0)
    await own.start(QUESTION, [PICTURE], None)
    model = ChatModel(served.url, "tiny", max_turn=20)
    async with ChatClient(model, HttpSettings(), Unlimited()) as client:
        asked = ChatPolicy(client)
        await asked.start(QUESTION, [PICTURE], None)
        assert (await asked.act())[0] == (await own.act())[0] != ""


async def test_a_whole_answer_says_what_a_streamed_one_does(served: Served) -> None:
    messages = [{"role": "user", "content": "Who?"}]
    status, body = await post(served, messages=messages, temperature=0, max_tokens=12)
    async with ChatClient(ChatModel(served.url, "tiny", max_turn=12), HttpSettings(), Unlimited()) as client:
        streamed = await client.turn(messages, None, lambda piece: None)
    assert (status, body["choices"][0]["message"]["content"]) == (200, streamed)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 12


async def test_what_does_not_fit_the_context_is_a_context_limit(served: Served) -> None:
    async with ChatClient(ChatModel(served.url, "tiny"), HttpSettings(), Unlimited()) as client:
        with pytest.raises(ContextLimit):
            await client.turn([{"role": "user", "content": "Who? " * 200}], None, lambda piece: None)


async def test_a_full_context_ends_a_policy_in_this_process_by_the_same_error(local: Local) -> None:
    own = local_policy(local, 0.0, 20, 30.0)
    await own.start([{"role": "user", "content": [{"type": "text", "text": "Who? " * 200}]}], [], None)
    with pytest.raises(ContextLimit):
        await own.act()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}], "must be data URLs"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}], "cannot be read"),
        ([{"type": "image_url", "image_url": {"url": "data:image/png;base64,@@"}}], "cannot be read"),
        ([{"type": "input_audio"}], "input_audio"),
    ],
)
async def test_what_it_cannot_read_is_refused(content: Any, problem: str, served: Served) -> None:
    status, body = await post(served, messages=[{"role": "user", "content": content}])
    assert status == 400
    assert problem in body["error"]["message"]


async def test_it_lists_its_model(served: Served) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/models") as response:
        (model,) = (await response.json())["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny", 120)
