from __future__ import annotations

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.image_index import ImageIndex
from osvl_plugins.corpus.text_index import TextIndex
from osvl_plugins.tools import build
from osvl_plugins.tools.build import TOOLS
from osvl_plugins.tools.trial import try_tools


def test_every_tool_works_on_the_embedded_corpus(atlas: Corpus) -> None:
    trials = try_tools(atlas)
    assert [trial.tool for trial in trials] == list(TOOLS)
    assert [trial for trial in trials if not trial.worked] == []


def test_a_tool_whose_packages_are_not_installed_is_missing_and_not_broken(
    atlas: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = build.find_spec
    monkeypatch.setattr(build, "find_spec", lambda name: None if name == "ncnn" else real(name))
    trial = next(trial for trial in try_tools(atlas) if trial.tool == "super_resolution")
    assert "pip install 'osvl-plugins[upscale]'" in trial.missing


def test_a_search_that_answers_without_finding_the_page_has_not_worked(atlas: Corpus) -> None:
    blind = Corpus(
        atlas.folder, atlas.pages, TextIndex.build(atlas.pages), ImageIndex([], []), frozenset(), atlas.fingerprint
    )
    assert [trial.tool for trial in try_tools(blind) if not trial.worked] == ["image_search"]
