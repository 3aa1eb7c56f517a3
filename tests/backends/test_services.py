"""What holds for every live service: keys, failures, recordings."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from osvl_plugins.backends.search import Reading
from osvl_plugins.backends.services import Services, ServiceSettings
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import ReplayMiss, SettingError, ToolError
from osvl_plugins.settings import read
from tests.backends.doubles import KEY, KEY_ENV, Doubles, everything_written, serving

PICTURE = Image.new("RGB", (60, 40), "teal")
CALLS: dict[str, Callable[[Services], Awaitable[Any]]] = {
    "serper": lambda services: services.serper.search("Kõpu", "en", 3),
    "serper lens": lambda services: services.lens.search(PICTURE, 3),
    "searxng": lambda services: services.searxng.search("Kõpu", "en", 3),
    "jina": lambda services: services.jina.read("https://example.org/kopu?a=1", ""),
    "summary": lambda services: services.summariser.summarise("Since when?", Reading("Kõpu", "u", "Built in 1531.")),
    "image_host": lambda services: services.image_host.publish(PICTURE),
    "paddle": lambda services: services.paddle.read(PICTURE, False, False),
    "sandbox_fusion": lambda services: services.sandbox_fusion.run("print(1)"),
}
KEYED = sorted(set(CALLS) - {"searxng", "paddle", "sandbox_fusion"})
PARSED = sorted(set(CALLS) - {"serper lens", "image_host"})


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        doubles.run = {
            "status": "Success",
            "run_result": {
                "status": "Finished",
                "stdout": "1\n",
                "stderr": "",
                "return_code": 0,
                "execution_time": 0.1,
            },
        }
        yield doubles


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessWorkers]:
    workers = ProcessWorkers(WorkerSettings(processes=1))
    yield workers
    workers.close()


def settings(doubles: Doubles, folder: Path, mode: str = "live", **http: Any) -> ServiceSettings:
    url = doubles.url
    return read(
        ServiceSettings,
        {
            "serper": {"url": f"{url}/serper", "key_env": KEY_ENV},
            "searxng": {"url": f"{url}/searxng"},
            "jina": {"url": f"{url}/jina", "key_env": KEY_ENV},
            "summary": {"url": f"{url}/v1", "model": "tiny", "key_env": KEY_ENV},
            "image_host": {
                "put_url": f"{url}/store/{{name}}",
                "public_url": f"{url}/store/{{name}}",
                "key_env": KEY_ENV,
            },
            "paddle": {"url": f"{url}/paddle"},
            "sandbox_fusion": {"url": f"{url}/sandbox"},
            "http": {"attempts": 1, "allowed": [f"127.0.0.1:{doubles.port}"], **http},
            "recording": {"mode": mode, "folder": str(folder / "recordings")},
        },
        "services",
    )


@pytest.fixture
async def services(doubles: Doubles, workers: ProcessWorkers, tmp_path: Path) -> AsyncIterator[Services]:
    services = Services(settings(doubles, tmp_path), workers)
    yield services
    await services.aclose()


async def failure(call: Awaitable[Any]) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("name", KEYED)
async def test_a_service_without_its_key_is_refused_at_the_start(
    name: str, services: Services, doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(SettingError, match=rf"osvl\.services\.\w+\.key_env: names {KEY_ENV}"):
        await CALLS[name](services)
    assert doubles.seen == []


@pytest.mark.parametrize("name", KEYED)
async def test_a_key_that_is_gone_later_is_unavailable_and_named_by_its_variable(
    name: str, services: Services, doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.suppress(ToolError):  # builds the service, whatever it then answers
        await CALLS[name](services)
    asked = len(doubles.seen)
    monkeypatch.delenv(KEY_ENV)
    error = await failure(CALLS[name](services))
    assert error.kind == "unavailable"
    assert KEY_ENV in str(error)
    assert len(doubles.seen) == asked


@pytest.mark.parametrize("name", KEYED)
async def test_a_wrong_key_is_unavailable(
    name: str, services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY_ENV, "another-secret-key")
    caplog.set_level(logging.DEBUG)
    error = await failure(CALLS[name](services))
    assert error.kind == "unavailable"
    assert "another-secret-key" not in f"{error} {caplog.text}"


async def test_a_key_that_no_header_can_carry_is_unavailable(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_ENV, "clé\nsecrète")
    error = await failure(CALLS["serper"](services))
    assert (error.kind, "secrète" in str(error)) == ("unavailable", False)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate_limited"), (500, "unavailable"), (503, "unavailable"), (422, "failed"), (404, "not_found")],
)
@pytest.mark.parametrize("name", sorted(CALLS))
async def test_a_refusal_is_an_error_of_its_kind_that_repeats_nothing_of_the_answer(
    name: str, status: int, kind: str, services: Services, doubles: Doubles
) -> None:
    doubles.status = status
    error = await failure(CALLS[name](services))
    assert (error.kind, KEY in str(error)) == (kind, False)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b"null", b'{"organic": 3}', b"\xff" * 10, b"[" * 100_000]
)
@pytest.mark.parametrize("name", PARSED)
async def test_an_answer_that_is_none_has_failed(name: str, body: bytes, services: Services, doubles: Doubles) -> None:
    doubles.answer = body
    assert (await failure(CALLS[name](services))).kind == "failed"


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_an_answer_that_is_too_large_is_not_read(
    name: str, doubles: Doubles, workers: ProcessWorkers, tmp_path: Path
) -> None:
    services = Services(settings(doubles, tmp_path, max_bytes=1000), workers)
    doubles.answer = b" " * 1001
    assert (await failure(CALLS[name](services))).kind == "limit"
    await services.aclose()


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_a_recorded_call_replays_without_the_service_and_without_a_key(
    name: str, workers: ProcessWorkers, tmp_path: Path, doubles: Doubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubles.results = (
        [] if name == "paddle" else [{"title": "Kõpu", "link": "https://example.org", "url": "https://e.org"}]
    )
    recording = Services(settings(doubles, tmp_path, "record"), workers)
    recorded = await CALLS[name](recording)
    await recording.aclose()
    asked = len(doubles.seen)
    monkeypatch.delenv(KEY_ENV)
    doubles.status = 500
    assert await CALLS[name](Services(settings(doubles, tmp_path, "replay"), workers)) == recorded
    assert len(doubles.seen) == asked


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_a_recorded_failure_replays(name: str, workers: ProcessWorkers, tmp_path: Path, doubles: Doubles) -> None:
    doubles.status = 503
    recording = Services(settings(doubles, tmp_path, "record"), workers)
    recorded = await failure(CALLS[name](recording))
    await recording.aclose()
    doubles.status = 0
    replayed = await failure(CALLS[name](Services(settings(doubles, tmp_path, "replay"), workers)))
    assert (replayed.kind, str(replayed)) == (recorded.kind, str(recorded))


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_nothing_secret_is_recorded(name: str, workers: ProcessWorkers, tmp_path: Path, doubles: Doubles) -> None:
    services = Services(settings(doubles, tmp_path, "record"), workers)
    await CALLS[name](services)
    await services.aclose()
    written = everything_written(tmp_path)
    assert len(written) > 80
    assert KEY.encode() not in written


@pytest.mark.parametrize("name", PARSED)
async def test_an_answer_that_is_none_is_not_cached(
    name: str, workers: ProcessWorkers, tmp_path: Path, doubles: Doubles
) -> None:
    services = Services(settings(doubles, tmp_path, "cache"), workers)
    doubles.answer = b"<html>"
    await failure(CALLS[name](services))
    doubles.answer = None
    await CALLS[name](services)
    await services.aclose()


async def test_a_replay_of_what_was_never_asked_ends_the_run(
    workers: ProcessWorkers, tmp_path: Path, doubles: Doubles
) -> None:
    (tmp_path / "recordings").mkdir()
    with pytest.raises(ReplayMiss):
        await CALLS["serper"](Services(settings(doubles, tmp_path, "replay"), workers))


@pytest.mark.parametrize("name", ["searxng", "summariser", "paddle", "sandbox_fusion"])
def test_a_service_without_an_address_is_a_wrong_setting(name: str, workers: ProcessWorkers) -> None:
    with pytest.raises(SettingError, match=r"^osvl\.services\.\w+\.url: must be set"):
        getattr(Services(ServiceSettings(), workers), name)


def test_a_budget_for_an_unknown_service_is_a_wrong_setting() -> None:
    with pytest.raises(SettingError, match=r"services\.budgets\.bing"):
        read(ServiceSettings, {"budgets": {"bing": {"per_second": 1}}}, "services")
