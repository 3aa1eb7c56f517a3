"""SearXNG: what is asked, and what is read from the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osvl_plugins.backends.search import Hit
from osvl_plugins.backends.searxng import SearxngSettings, SearxngText
from osvl_plugins.errors import ToolError
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving


@pytest.fixture
async def doubles() -> AsyncIterator[Doubles]:
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def text(doubles: Doubles, tmp_path: Path) -> AsyncIterator[SearxngText]:
    async with client(tmp_path) as http:
        yield SearxngText(SearxngSettings(url=f"{doubles.url}/searxng/"), http, recorder(tmp_path))


async def test_a_search_asks_for_json_in_a_language(text: SearxngText, doubles: Doubles) -> None:
    doubles.results = [{"title": f"{n}", "url": f"https://e.org/{n}", "content": None, "engine": "a"} for n in range(3)]
    assert await text.search("a & b", "de", 2) == [
        Hit("0", "https://e.org/0", "", "https://e.org/0"),
        Hit("1", "https://e.org/1", "", "https://e.org/1"),
    ]
    assert doubles.seen[0].query == {"q": "a & b", "format": "json", "language": "de"}
    assert "Authorization" not in doubles.seen[0].headers


async def test_a_token_goes_out_where_one_is_named(
    doubles: Doubles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    settings = SearxngSettings(url=f"{doubles.url}/searxng", key_env=KEY_ENV)
    async with client(tmp_path) as http:
        await SearxngText(settings, http, recorder(tmp_path)).search("a", "en", 2)
    assert doubles.seen[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_finding_nothing_is_no_error(text: SearxngText) -> None:
    assert await text.search("zzxxqqyy", "en", 5) == []


async def test_finding_nothing_while_engines_fail_is_no_result(text: SearxngText, doubles: Doubles) -> None:
    doubles.extra = {"unresponsive_engines": [["google", "timeout"], ["brave", "too many requests"]]}
    with pytest.raises(ToolError, match="2 engines did not answer") as caught:
        await text.search("a", "en", 5)
    assert caught.value.kind == "unavailable"


async def test_what_some_engines_found_is_a_result(text: SearxngText, doubles: Doubles) -> None:
    doubles.extra = {"unresponsive_engines": [["google", "timeout"]]}
    doubles.results = [{"title": "a", "url": "https://e.org/", "content": "b"}]
    assert len(await text.search("a", "en", 5)) == 1
