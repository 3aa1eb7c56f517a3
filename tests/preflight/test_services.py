from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.preflight.services import check_services


def check(**osvl: Any) -> dict[str, Finding]:
    config = {"osvl": osvl, "reward": {"reward_manager": {"name": "osvl_composite"}}}
    return {found.name: found for found in check_services(Plan(config, rl=True), live=False)}


def test_tools_over_a_corpus_name_what_they_stand_on(atlas: Corpus) -> None:
    found = check(corpus=str(atlas.folder), tools=["crop", "text_search", "visit"])
    assert {name: each.level for name, each in found.items()} == dict.fromkeys(
        ("crop", "text_search, visit", "reward"), "ok"
    )


def test_a_missing_corpus_is_said_once_for_all_tools_that_need_it(tmp_path: Path) -> None:
    found = check(corpus=str(tmp_path / "none"), tools=["text_search", "visit", "crop"])
    assert found["text_search, visit"].level == "error"
    assert "osvl atlas build" in found["text_search, visit"].remedy
    assert found["crop"].level == "ok"


def test_a_live_backend_without_its_address_names_the_setting() -> None:
    found = check(tools=["web_search"], backends={"web_search": "searxng"})
    assert found["osvl.services.searxng.url"].level == "error"


@pytest.mark.parametrize(("mode", "level"), [("live", "error"), ("cache", "warning")])
def test_a_missing_key_is_an_error_unless_recordings_may_answer(
    mode: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    services = {"recording": {"mode": mode, "folder": str(tmp_path)}} if mode == "cache" else {}
    found = check(tools=["web_search"], backends={"web_search": "serper"}, services=services)
    assert found["osvl.services.serper.key_env"].level == level


def test_a_run_without_the_group_has_no_tools() -> None:
    assert check_services(Plan({}, rl=True), live=False) == []
