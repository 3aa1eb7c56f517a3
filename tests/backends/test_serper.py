"""Serper: what is asked, and what is read from the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.backends.image_host import ImageHost, ImageHostSettings
from osvl_plugins.backends.search import Hit
from osvl_plugins.backends.serper import SerperLens, SerperSettings, SerperText
from osvl_plugins.errors import ToolError
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving

LIGHTHOUSE = {"title": "Kõpu", "link": "https://example.org/kopu", "snippet": "Built in 1531.", "position": 1}


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        doubles.results = [LIGHTHOUSE, {**LIGHTHOUSE, "link": "https://example.org/2", "snippet": None, "position": 2}]
        yield doubles


@pytest.fixture
async def text(doubles: Doubles, tmp_path: Path) -> AsyncIterator[SerperText]:
    async with client(tmp_path) as http:
        yield SerperText(SerperSettings(url=f"{doubles.url}/serper", key_env=KEY_ENV), http, recorder(tmp_path))


@pytest.fixture
async def lens(doubles: Doubles, tmp_path: Path) -> AsyncIterator[SerperLens]:
    store = f"{doubles.url}/store/{{name}}"
    async with client(tmp_path) as http:
        live = recorder(tmp_path)
        host = ImageHost(ImageHostSettings(put_url=store, public_url=store, key_env=KEY_ENV), http, live)
        yield SerperLens(SerperSettings(url=f"{doubles.url}/serper", key_env=KEY_ENV), http, live, host)


async def test_a_search_asks_for_the_query_its_language_and_the_number_of_results(
    text: SerperText, doubles: Doubles
) -> None:
    assert await text.search("Kõpu lighthouse", "zh-cn", 2) == [
        Hit("Kõpu", "https://example.org/kopu", "Built in 1531.", "https://example.org/kopu"),
        Hit("Kõpu", "https://example.org/2", "", "https://example.org/2"),
    ]
    assert doubles.seen[0].json == {"q": "Kõpu lighthouse", "hl": "zh-cn", "num": 2}
    assert doubles.seen[0].headers["X-API-KEY"] == KEY


async def test_what_google_answers_itself_comes_first_and_every_address_once(
    text: SerperText, doubles: Doubles
) -> None:
    doubles.extra = {
        "answerBox": {"title": "Built", "answer": "1531", "link": "https://example.org/box"},
        "knowledgeGraph": {
            "title": "Kõpu Lighthouse",
            "type": "Lighthouse in Estonia",
            "description": "An old lighthouse.",
            "descriptionLink": "https://example.org/2",
            "attributes": {"Height": "36 m", "Rating": 4.5},
        },
    }
    assert [(hit.url, hit.text) for hit in await text.search("Kõpu", "en", 5)] == [
        ("https://example.org/box", "1531"),
        ("https://example.org/2", "Lighthouse in Estonia. An old lighthouse. Height: 36 m"),
        ("https://example.org/kopu", "Built in 1531."),
    ]


async def test_no_more_results_than_asked_for_and_none_without_an_address(text: SerperText, doubles: Doubles) -> None:
    doubles.results = [{"title": "nowhere"}, LIGHTHOUSE, {**LIGHTHOUSE, "link": "https://example.org/2"}]
    assert [hit.url for hit in await text.search("Kõpu", "en", 1)] == ["https://example.org/kopu"]


async def test_finding_nothing_is_no_error(text: SerperText, doubles: Doubles) -> None:
    doubles.results = []
    assert await text.search("zzxxqqyy", "en", 5) == []


@pytest.mark.parametrize("language", ["", "english", "e", "en us", "en&num=100"])
async def test_what_is_no_language_is_a_wrong_argument(language: str, text: SerperText, doubles: Doubles) -> None:
    with pytest.raises(ToolError, match="no language code") as caught:
        await text.search("Kõpu", language, 5)
    assert (caught.value.kind, doubles.seen) == ("bad_arguments", [])


async def test_a_picture_is_searched_by_the_public_address_that_it_gets(lens: SerperLens, doubles: Doubles) -> None:
    hits = await lens.search(Image.new("RGB", (60, 40), "teal"), 1)
    put, post = doubles.seen
    assert (put.method, post.path) == ("PUT", "/serper/lens")
    assert post.json == {"url": doubles.url + put.path}
    assert [hit.url for hit in hits] == ["https://example.org/kopu"]


async def test_a_public_address_is_searched_as_it_is(lens: SerperLens, doubles: Doubles) -> None:
    await lens.search_url("https://example.org/a.png?b=%20c", 5)
    assert [seen.json for seen in doubles.seen] == [{"url": "https://example.org/a.png?b=%20c"}]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://127.0.0.1/a.png", "http://localhost/", "ftp://a.org/b"])
async def test_no_other_address_leaves_the_machine(url: str, lens: SerperLens, doubles: Doubles) -> None:
    with pytest.raises(ToolError) as caught:
        await lens.search_url(url, 5)
    assert (caught.value.kind, doubles.seen) == ("denied", [])
