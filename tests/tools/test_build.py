"""What stops a run at its start: a tool that would fail at every call."""

from __future__ import annotations

from typing import Any

import pytest

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import CorpusError, SettingError
from osvl_plugins.tools import build
from osvl_plugins.tools.build import TOOLS
from tests.agents import agent

SERPER = {"tools": ["web_search"], "backends": {"web_search": "serper"}}


def test_all_ten_tools_are_built_by_default(atlas: Corpus) -> None:
    assert tuple(build_tools(agent(), atlas).tools) == TOOLS


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (SERPER, "osvl.services.serper.key_env"),
        ({"tools": ["visit"], "backends": {"visit": "jina"}}, "osvl.services.jina.key_env"),
        ({"tools": ["visit"], "backends": {"visit": "local"}}, "osvl.backends.local_folder"),
        ({"tools": ["web_search"], "backends": {"web_search": "searxng"}}, "osvl.services.searxng.url"),
        ({"tools": ["image_search"], "backends": {"image_search": "serper"}}, "osvl.services.image_host.put_url"),
        ({"tools": ["layout_parsing"], "backends": {"layout_parsing": "paddle"}}, "osvl.services.paddle.url"),
        (
            {"tools": ["python_interpreter"], "backends": {"python_interpreter": "sandbox_fusion"}},
            "osvl.services.sandbox_fusion.url",
        ),
        ({"tools": ["text_search"]}, "osvl.corpus"),
    ],
)
def test_what_is_missing_is_named(settings: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SERPER_API_KEY", "JINA_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SettingError) as raised:
        build_tools(AgentSettings.model_validate(settings))
    assert raised.value.name == name


@pytest.mark.parametrize(
    ("package", "settings"),
    [
        ("rapidocr", {"tools": ["layout_parsing"]}),
        ("ncnn", {"tools": ["super_resolution"]}),
        ("trafilatura", {"tools": ["visit"], "backends": {"visit": "web"}}),
    ],
)
def test_a_package_that_is_not_installed_is_named(
    package: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(SettingError, match=f"{package}: pip install 'osvl-plugins"):
        build_tools(AgentSettings.model_validate(settings))


@pytest.mark.parametrize("mode", ["replay", "cache"])
def test_recordings_need_no_key(mode: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERPER_API_KEY", raising=False)
    recording = {"recording": {"mode": mode, "folder": str(tmp_path)}}
    tools = build_tools(AgentSettings.model_validate({**SERPER, "services": recording}))
    assert tools.tools["web_search"].backend == "serper"


def test_a_crop_needs_no_corpus() -> None:
    assert list(build_tools(AgentSettings(tools=("crop",))).tools) == ["crop"]


def test_a_folder_without_a_corpus_is_said() -> None:
    with pytest.raises(CorpusError):
        build_tools(AgentSettings(corpus="no/such/folder", tools=("text_search",)))
