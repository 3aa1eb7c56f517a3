"""Jina reader: what is asked, and what is read from the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osvl_plugins.backends.jina import JinaPages, JinaSettings
from osvl_plugins.backends.search import Reading
from osvl_plugins.errors import ToolError
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def pages(doubles: Doubles, tmp_path: Path) -> AsyncIterator[JinaPages]:
    settings = JinaSettings(url=f"{doubles.url}/jina/", key_env=KEY_ENV, max_chars=1000)
    async with client(tmp_path) as http:
        yield JinaPages(settings, http, recorder(tmp_path))


async def test_the_address_is_appended_to_that_of_the_service(pages: JinaPages, doubles: Doubles) -> None:
    url = "https://example.org/a%20b/Kõpu?x=1&y=a%26b"
    reading = await pages.read(f" {url}#part ", "")
    assert doubles.seen[0].path == "/jina/https://example.org/a%20b/K%C3%B5pu?x=1&y=a%26b"
    assert (reading.title, reading.text) == ("Kõpu", "Built in 1531.")
    assert reading.page == "https://example.org/a%20b/K%C3%B5pu?x=1&y=a%26b"


async def test_a_long_page_is_cut(pages: JinaPages, doubles: Doubles) -> None:
    doubles.extra = {"content": "x" * 5000}
    assert len((await pages.read("https://example.org", "")).text) == 1000


@pytest.mark.parametrize(
    ("status", "kind"), [(404, "not_found"), (410, "not_found"), (403, "denied"), (451, "denied"), (500, "unavailable")]
)
async def test_the_error_page_of_a_site_is_an_error_and_no_page(
    status: int, kind: str, pages: JinaPages, doubles: Doubles
) -> None:
    doubles.extra = {"warning": f"Target URL returned error {status}: Sorry", "content": "Sorry!"}
    with pytest.raises(ToolError, match=f"status {status}") as caught:
        await pages.read("https://example.org", "")
    assert caught.value.kind == kind


async def test_a_page_without_text_has_failed(pages: JinaPages, doubles: Doubles) -> None:
    doubles.extra = {"content": " \n"}
    with pytest.raises(ToolError, match="no readable text"):
        await pages.read("https://example.org", "")


async def test_other_warnings_do_not_spoil_a_page(pages: JinaPages, doubles: Doubles) -> None:
    doubles.extra = {"warning": "This is a cached snapshot of the original page"}
    assert await pages.read("https://example.org", "") == Reading(
        "Kõpu", "https://example.org/", "Built in 1531.", "https://example.org/"
    )


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://localhost:8000/", "file:///etc/passwd", "http://wiki.corp/"]
)
async def test_no_address_of_a_private_network_is_told_to_the_service(
    url: str, pages: JinaPages, doubles: Doubles
) -> None:
    with pytest.raises(ToolError) as caught:
        await pages.read(url, "")
    assert (caught.value.kind, doubles.seen) == ("denied", [])
