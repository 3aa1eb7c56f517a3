"""``osvl curate`` in a shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from osvl_plugins.cli import main
from osvl_plugins.commands.curate import curate_settings
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation import shard
from osvl_plugins.curation.graph.rules import PRESETS
from osvl_plugins.errors import SettingError
from tests.curation.runs import SMALL, without_ray


def osvl(*words: object) -> int:
    return main(["curate", *map(str, words)])


def run_words(folder: Path, atlas: Corpus) -> list[object]:
    pairs = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return ["run", folder / "out", "--graph", folder / "graph", "--corpus", atlas.folder, *pairs]


@pytest.fixture(scope="module")
def folder(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the folder ``graph``, and ``out`` for a run."""
    folder = tmp_path_factory.mktemp("curate")
    assert osvl("graph", atlas.folder, folder / "graph") == 0
    return folder


def test_graph_run_and_report_follow_each_other(
    folder: Path, atlas: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_ray(monkeypatch)
    assert osvl(*run_words(folder, atlas)) == 0
    assert "dead_end" in capsys.readouterr().out
    assert osvl("report", folder / "out", "--corpus", atlas.folder, "--limit", 2) == 0
    assert capsys.readouterr().out == (folder / "out" / "shortcuts.md").read_text()
    assert json.loads((folder / "out" / "shortcuts.json").read_text())["solver"] == "retrieval-1"
    assert osvl("preview", folder / "out", "--count", 2) == 0
    assert capsys.readouterr().out == f"{folder / 'out' / 'preview.html'}\n"
    assert (folder / "out" / "preview.html").is_file()


def test_a_failed_shard_is_exit_code_1_and_named_on_stderr(
    folder: Path, atlas: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    without_ray(monkeypatch)
    monkeypatch.setattr(shard.rewrite, "run", broken)
    words = run_words(folder, atlas)
    words[1] = tmp_path / "out"
    assert osvl(*words) == 1
    assert "rewrite, shard 0, row " in capsys.readouterr().err


def test_a_wrong_setting_is_exit_code_2_and_named(
    folder: Path, atlas: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert osvl(*run_words(folder, atlas), "--set", "paths.retires=3") == 2
    assert capsys.readouterr().err.startswith("osvl: curate.paths.retires: no such setting")


def test_a_file_s_settings_give_way_to_the_command_line_s(tmp_path: Path) -> None:
    file = tmp_path / "curate.yaml"
    file.write_text("curate: {preset: small, seed: 3, paths: {retries: 4}}")
    settings = curate_settings(file, [("seed", "5")])
    assert (settings.seed, settings.paths) == (5, PRESETS["small"].model_copy(update={"retries": 4}))


def test_a_file_without_the_group_is_refused(tmp_path: Path) -> None:
    (tmp_path / "curate.yaml").write_text("osvl: {}")
    with pytest.raises(SettingError, match="no group curate"):
        curate_settings(tmp_path / "curate.yaml", [])
