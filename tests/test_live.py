"""Probes of live services: a real server that works, fails, or is not there."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from osvl_plugins.cli import main
from osvl_plugins.live import Probe, probe, show_probes
from osvl_plugins.tools.build import ToolSettings
from tests.backends.doubles import KEY, KEY_ENV, serving


def settings(base: str, **changed: Any) -> ToolSettings:
    """Every tool that can stand on a live service does."""
    services: dict[str, Any] = {
        "serper": {"url": f"{base}/serper", "key_env": KEY_ENV},
        "searxng": {"url": f"{base}/searxng", "key_env": KEY_ENV},
        "jina": {"url": f"{base}/jina", "key_env": KEY_ENV},
        "summary": {"url": f"{base}/v1", "model": "m", "key_env": KEY_ENV},
        "paddle": {"url": f"{base}/paddle", "key_env": KEY_ENV},
        "sandbox_fusion": {"url": f"{base}/sandbox", "key_env": KEY_ENV},
        **changed,
    }
    backends = {
        "text_search": "serper",
        "web_search": "searxng",
        "image_search": "serper",
        "visit": "jina",
        "pages": "jina",
        "layout_parsing": "paddle",
        "python_interpreter": "sandbox_fusion",
    }
    return ToolSettings.model_validate({"backends": backends, "services": services})


def shown(probes: list[Probe]) -> tuple[bool, str]:
    text = io.StringIO()
    good = show_probes(probes, Console(file=text, width=200))
    return good, text.getvalue()


async def test_every_configured_service_is_asked_that_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        doubles.run = {"status": "Success", "run_result": {"status": "Finished", "stdout": "42", "return_code": 0}}
        probes = await probe(settings(doubles.url), 2)
    assert {each.service for each in probes} == {
        "serper", "serper lens", "searxng", "jina", "summary", "paddle", "sandbox_fusion",
    }  # fmt: skip
    assert [(each.service, each.worked, each.said) for each in probes if each.worked != 2] == []
    assert all(0 < each.median_s <= each.slowest_s for each in probes)
    assert shown(probes)[0]


async def test_a_service_that_refuses_is_shown_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, "wrong")
    async with serving() as doubles:
        probes = await probe(settings(doubles.url), 1)
    good, text = shown(probes)
    assert not good
    assert "0 of 1" in text
    assert "unavailable" in text


async def test_a_service_without_an_address_is_not_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        probes = await probe(settings(doubles.url, paddle={}), 1)
    good, text = shown(probes)
    assert not good
    assert "osvl.services.paddle.url" in text


def test_offline_settings_have_nothing_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--live"]) == 0
    assert "no tool stands on a live service" in capsys.readouterr().out
