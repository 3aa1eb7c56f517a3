"""Pages read directly, from a real server and a real folder, by a real worker process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.pages import Extractor, LocalPages, WebPages, WebSettings, decode, extract
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import ToolError
from tests.backends.doubles import PAGE, Doubles, client, recorder, serving


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessWorkers]:
    workers = ProcessWorkers(WorkerSettings(processes=1))
    yield workers
    workers.close()


@pytest.fixture
async def doubles() -> AsyncIterator[Doubles]:
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def pages(doubles: Doubles, tmp_path: Path, workers: ProcessWorkers) -> AsyncIterator[WebPages]:
    async with client(tmp_path, allowed=(f"127.0.0.1:{doubles.port}",)) as http:
        yield WebPages(http, recorder(tmp_path), Extractor(WebSettings(max_bytes=20_000, extract_s=60), workers))


async def failure(pages: WebPages | LocalPages, url: str) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await pages.read(url, "")
    return caught.value


async def test_a_page_is_its_title_and_its_main_text(pages: WebPages, doubles: Doubles) -> None:
    reading = await pages.read(f"{doubles.url}/page", "")
    assert reading.title == "The lighthouse of Kõpu"
    assert "in use since the year 1531" in reading.text
    assert not any(word in reading.text for word in ("hidden", "About", "<p>"))
    assert reading.page == f"{doubles.url}/page"


async def test_plain_text_is_given_as_it_is(pages: WebPages, doubles: Doubles) -> None:
    doubles.pages["/a.txt"] = ("text/plain; charset=latin-1", "Kõpu\n1 < 2".encode())
    assert (await pages.read(f"{doubles.url}/a.txt", "")).text == "Kõpu\n1 < 2"


@pytest.mark.parametrize("kind", ["application/pdf", "image/png", "application/octet-stream", "video/mp4"])
async def test_what_is_no_page_has_failed(kind: str, pages: WebPages, doubles: Doubles) -> None:
    doubles.pages["/file"] = (kind, b"%PDF-1.7")
    error = await failure(pages, f"{doubles.url}/file")
    assert (error.kind, kind in str(error)) == ("failed", True)


async def test_a_page_that_is_too_large_is_over_the_limit(pages: WebPages, doubles: Doubles) -> None:
    doubles.pages["/large"] = ("text/html", b"<p>" + b"x" * 20_000)
    assert (await failure(pages, f"{doubles.url}/large")).kind == "limit"


async def test_a_page_without_text_has_failed(pages: WebPages, doubles: Doubles) -> None:
    doubles.pages["/empty"] = (
        "text/html",
        b"<html><head><title>App</title></head><body><div id=root></div></body></html>",
    )
    error = await failure(pages, f"{doubles.url}/empty")
    assert (error.kind, "no readable text" in str(error)) == ("failed", True)


async def test_a_page_that_is_not_there_is_not_found(pages: WebPages, doubles: Doubles) -> None:
    assert (await failure(pages, f"{doubles.url}/nothing")).kind == "not_found"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd"]
)
async def test_an_address_inside_is_denied(url: str, pages: WebPages) -> None:
    assert (await failure(pages, url)).kind == "denied"


async def test_a_page_that_keeps_the_extractor_busy_is_a_timeout_and_the_next_is_read(
    doubles: Doubles, tmp_path: Path, workers: ProcessWorkers
) -> None:
    doubles.pages["/busy"] = ("text/html", b"<html><body><p>" + b"<b>x</b>" * 200_000 + b"</p></body></html>")
    async with client(tmp_path, allowed=(f"127.0.0.1:{doubles.port}",)) as http:
        live = recorder(tmp_path)
        impatient = WebPages(http, live, Extractor(WebSettings(extract_s=0.5), workers))
        assert (await failure(impatient, f"{doubles.url}/busy")).kind == "timeout"
        patient = WebPages(http, live, Extractor(WebSettings(extract_s=60), workers))
        assert "1531" in (await patient.read(f"{doubles.url}/page", "")).text


async def test_a_recorded_page_replays_without_its_server(
    doubles: Doubles, tmp_path: Path, workers: ProcessWorkers
) -> None:
    extractor = Extractor(WebSettings(extract_s=60), workers)
    url = f"{doubles.url}/page"
    async with client(tmp_path, allowed=(f"127.0.0.1:{doubles.port}",)) as http:
        recorded = await WebPages(http, recorder(tmp_path, "record"), extractor).read(url, "")
        doubles.status = 500
        assert await WebPages(http, recorder(tmp_path, "replay"), extractor).read(url, "") == recorded


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("Kõpu".encode(), "", "Kõpu"),
        ("Kõpu".encode(), "iso-8859-1", "Kõpu"),
        ("\ufeffKõpu".encode(), "", "Kõpu"),
        ("\ufeffKõpu".encode("utf-16-le"), "", "Kõpu"),
        ("café – naïve".encode("windows-1252"), "ISO-8859-1", "café – naïve"),
        ("café".encode("latin-1"), "", "café"),
        ("café".encode("latin-1"), "utf-8", "café"),
        ("灯塔".encode("gb18030"), "gb2312", "灯塔"),
        ("灯台".encode("shift_jis"), "Shift_JIS", "灯台"),
        ("café".encode("latin-1"), "no-such-charset", "café"),
        ("café".encode("latin-1"), "zlib", "café"),
        (b"<meta charset=euc-kr>" + "등대".encode("euc-kr"), "", "<meta charset=euc-kr>등대"),
    ],
)
def test_a_page_is_decoded_as_a_browser_would(body: bytes, charset: str, text: str) -> None:
    assert decode(body, charset) == text


@given(st.binary(max_size=300), st.sampled_from(["", "utf-8", "utf-16", "idna", "punycode", "hex", "utf_7", "x" * 40]))
def test_every_body_can_be_decoded(body: bytes, charset: str) -> None:
    assert isinstance(decode(body, charset), str)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.booleans())
def test_every_body_has_a_text_that_can_be_encoded(body: bytes, html: bool) -> None:
    title, text = extract(body, "", html, 50)
    assert len((title + text).encode("utf-8", "strict")) <= 4 * 1050


def test_half_a_surrogate_pair_is_no_text() -> None:
    body = PAGE.replace("1531", "15&#xD800;31").encode()
    extract(body, "", True, 1000).text.encode("utf-8", "strict")


@pytest.fixture
def local(tmp_path: Path, workers: ProcessWorkers) -> LocalPages:
    folder = tmp_path / "pages"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "kopu.html").write_text(PAGE, encoding="utf-8")
    (folder / "note.txt").write_text("A note.", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return LocalPages(folder, Extractor(WebSettings(extract_s=60), workers))


@pytest.mark.parametrize(("url", "part"), [("local/sub/kopu.html", "1531"), ("local/note.txt", "A note.")])
async def test_a_file_of_the_folder_is_a_page(url: str, part: str, local: LocalPages) -> None:
    reading = await local.read(url, "")
    assert part in reading.text
    assert (reading.url, reading.page) == (url, url)


@pytest.mark.parametrize(
    "path", ["../secret.txt", "sub/../../secret.txt", "/etc/passwd", "link.txt", "./.././secret.txt"]
)
async def test_nothing_outside_the_folder_is_read(path: str, local: LocalPages) -> None:
    assert (await failure(local, f"local/{path}")).kind == "denied"


@pytest.mark.parametrize(
    "url", ["local/none.html", "local/", "local/sub", "local/a\0b", "local/" + "x" * 3000, "note.txt"]
)
async def test_what_is_no_file_of_the_folder_is_not_found(url: str, local: LocalPages) -> None:
    assert (await failure(local, url)).kind == "not_found"
