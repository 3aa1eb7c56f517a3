"""Search that reads its pages, over real services: what is found, read and summarised, and what failures leave."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osvl_plugins.backends.http import Http
from osvl_plugins.backends.jina import JinaPages, JinaSettings
from osvl_plugins.backends.reading_search import GoalPages, ReadingSearch
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.search import Hit, Reading
from osvl_plugins.backends.searxng import SearxngSettings, SearxngText
from osvl_plugins.backends.summary import Summariser, SummarySettings
from osvl_plugins.errors import ErrorKind, ReplayMiss, ToolError
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving


class Shelf:
    """Pages by address; an address that names a kind of error fails with it."""

    name = "shelf"

    async def read(self, url: str, goal: str) -> Reading:
        kinds: dict[str, ErrorKind] = {"https://e.org/slow": "timeout", "https://e.org/gone": "not_found"}
        if url in kinds:
            raise ToolError(kinds[url], "no page")
        return Reading("", url, f"text of {url}", url)


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        doubles.results = [
            {"title": name, "url": f"https://e.org/{name}", "content": f"snippet of {name}"}
            for name in ("first", "slow", "gone", "last")
        ]
        yield doubles


def services(doubles: Doubles, http: Http, recordings: Recorder) -> tuple[SearxngText, JinaPages, Summariser]:
    url = doubles.url
    summary = SummarySettings(url=f"{url}/v1", model="tiny", key_env=KEY_ENV)
    return (
        SearxngText(SearxngSettings(url=f"{url}/searxng"), http, recordings),
        JinaPages(JinaSettings(url=f"{url}/jina", key_env=KEY_ENV), http, recordings),
        Summariser(summary, http, recordings),
    )


async def test_a_page_that_cannot_be_read_is_its_snippet_and_says_so(doubles: Doubles, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        searcher, _, _ = services(doubles, http, recorder(tmp_path))
        assert await ReadingSearch(searcher, Shelf(), None).search("q", "en", 4) == [
            Hit("first", "https://e.org/first", "text of https://e.org/first", "https://e.org/first"),
            Hit("slow", "https://e.org/slow", "(the page was not read: timeout) snippet of slow", "https://e.org/slow"),
            Hit(
                "gone", "https://e.org/gone", "(the page was not read: not_found) snippet of gone", "https://e.org/gone"
            ),
            Hit("last", "https://e.org/last", "text of https://e.org/last", "https://e.org/last"),
        ]


async def test_every_page_is_summarised_with_regard_to_the_query(doubles: Doubles, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        search = ReadingSearch(*services(doubles, http, recorder(tmp_path)))
        hits = await search.search("Since when?", "en", 2)
    assert search.name == "searxng + jina + tiny"
    assert [(hit.title, hit.text) for hit in hits] == [("Kõpu", "It dates from 1531.")] * 2
    prompts = [seen.json["messages"][1]["content"] for seen in doubles.seen if seen.path.endswith("/completions")]
    assert len(prompts) == 2
    assert all("Query: Since when?" in prompt and "Built in 1531." in prompt for prompt in prompts)


async def test_a_search_that_fails_is_the_error(doubles: Doubles, tmp_path: Path) -> None:
    doubles.status = 429
    async with client(tmp_path) as http:
        searcher, _, _ = services(doubles, http, recorder(tmp_path))
        with pytest.raises(ToolError) as caught:
            await ReadingSearch(searcher, Shelf(), None).search("q", "en", 4)
    assert caught.value.kind == "rate_limited"


async def test_a_slow_page_is_a_failure_that_replays(doubles: Doubles, tmp_path: Path) -> None:
    doubles.delay_s = 0.2
    async with client(tmp_path) as http:

        async def search(mode: str, deadline_s: float) -> list[Hit]:
            searcher, _, _ = services(doubles, http, recorder(tmp_path, mode))
            settings = JinaSettings(url=f"{doubles.url}/jina", key_env=KEY_ENV, deadline_s=deadline_s)
            return await ReadingSearch(searcher, JinaPages(settings, http, recorder(tmp_path, mode)), None).search(
                "q", "en", 2
            )

        recorded = await search("record", 0.05)
        assert [hit.text.split(")")[0] for hit in recorded] == ["(the page was not read: timeout"] * 2
        assert await search("replay", 0.05) == recorded


async def test_a_replay_that_lacks_a_page_ends_the_run(doubles: Doubles, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        searcher, _, _ = services(doubles, http, recorder(tmp_path, "record"))
        await searcher.search("q", "en", 4)
        with pytest.raises(ReplayMiss):
            await ReadingSearch(*services(doubles, http, recorder(tmp_path, "replay"))).search("q", "en", 4)


async def test_a_visit_with_a_goal_gives_what_serves_the_goal(doubles: Doubles, tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        _, pages, summariser = services(doubles, http, recorder(tmp_path))
        visits = GoalPages(pages, summariser)
        assert (await visits.read("https://example.org", "Since when?")).text == "It dates from 1531."
        assert (await visits.read("https://example.org", " ")).text == "Built in 1531."


async def test_a_page_that_cannot_be_summarised_is_given_as_it_is(doubles: Doubles, tmp_path: Path) -> None:
    doubles.extra = {"content": ""}
    async with client(tmp_path) as http:
        _, _, summariser = services(doubles, http, recorder(tmp_path))
        reading = await GoalPages(Shelf(), summariser).read("https://e.org/first", "Since when?")
    assert reading.text == "(the page was not summarised: failed)\ntext of https://e.org/first"
