"""A model behind an OpenAI-compatible server as a solver: what it is shown, and when it fails."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.model_solver import ModelSolver, SolverSettings, build_solver
from osvl_plugins.curation.solver import IMAGE_SEARCH, NO_TOOLS, TEXT_SEARCH, Budget
from osvl_plugins.errors import SettingError, ToolError
from tests.backends.doubles import client, recorder
from tests.reward.judges.chat_server import MODEL, ChatServer, chat_server, completion

ASKED = "What is the capital of the country whose flag the picture shows?"
Make = Callable[..., ModelSolver]


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        server.says = ["Oslo"]
        yield server


@pytest.fixture
async def make(server: ChatServer, atlas: Corpus, tmp_path: Path) -> AsyncIterator[Make]:
    async with client(tmp_path, attempts=1) as http:

        def made(corpus: Corpus | None = atlas, **settings: Any) -> ModelSolver:
            values = SolverSettings(**{"engine": "server", "url": server.url, "model": MODEL, **settings})
            return ModelSolver(values, http, recorder(tmp_path), corpus)

        yield made


@pytest.fixture(scope="module")
def flag(atlas: Corpus) -> bytes:
    buffer = io.BytesIO()
    atlas.picture("brazil").save(buffer, "PNG")
    return buffer.getvalue()


def shown(server: ChatServer) -> tuple[list[str], str]:
    """(kinds of the parts, the text) of the last request."""
    parts = server.asked[-1]["messages"][1]["content"]
    return [part["type"] for part in parts], "".join(part.get("text", "") for part in parts)


async def test_without_tools_it_sees_question_and_picture_alone(make: Make, server: ChatServer, flag: bytes) -> None:
    assert await make().solve(ASKED, flag, NO_TOOLS) == "Oslo"
    kinds, text = shown(server)
    assert kinds == ["image_url", "text"]
    assert text == f"<question>{ASKED}</question>"
    assert server.asked[-1]["messages"][1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


async def test_an_image_search_shows_the_page_it_finds(make: Make, server: ChatServer, flag: bytes) -> None:
    await make().solve(ASKED, flag, IMAGE_SEARCH)
    text = shown(server)[1]
    assert "<result>Brazil." in text
    assert text.count("<result>") == 1


async def test_a_text_search_shows_several_pages(make: Make, server: ChatServer) -> None:
    await make().solve("Which country has the capital Oslo?", b"", TEXT_SEARCH)
    assert shown(server)[1].count("<result>") == 5


async def test_reasoning_is_no_answer(make: Make, server: ChatServer) -> None:
    server.says = ["<think>Norway, so Oslo? Or Bergen?</think>\nOslo"]
    assert await make().solve(ASKED, b"", NO_TOOLS) == "Oslo"


@pytest.mark.parametrize(
    ("says", "kind"), [(500, "unavailable"), (b"<html>", "failed"), ({**completion(""), "choices": []}, "failed")]
)
async def test_what_is_no_answer_is_an_error(says: Any, kind: str, make: Make, server: ChatServer) -> None:
    server.says = [says]
    with pytest.raises(ToolError) as caught:
        await make().solve(ASKED, b"", NO_TOOLS)
    assert caught.value.kind == kind


async def test_a_silent_server_is_left_at_the_deadline(make: Make, server: ChatServer) -> None:
    server.delay_s = 5
    with pytest.raises(ToolError) as caught:
        await make(deadline_s=0.2).solve(ASKED, b"", NO_TOOLS)
    assert caught.value.kind == "timeout"


async def test_what_it_cannot_do_is_a_setting_that_is_wrong(make: Make, tmp_path: Path) -> None:
    for budget, corpus in ((Budget(hops=1), ...), (IMAGE_SEARCH, None)):
        solver = make() if corpus is ... else make(None)
        with pytest.raises(SettingError, match=r"^curate\.filter\."):
            await solver.solve(ASKED, b"", budget)
    for wrong in ({"url": ""}, {"model": ""}):
        with pytest.raises(SettingError, match="must be set"):
            make(**wrong)
    async with client(tmp_path) as http:
        with pytest.raises(SettingError, match="needs the embedded corpus"):
            build_solver(SolverSettings(), http, recorder(tmp_path), None)
