"""``osvl view``."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvl_plugins.cli import main
from osvl_plugins.commands import view
from osvl_plugins.fatal import MODES, FatalSettings
from tests.viewer.dumps import cut, picture, questions, rollouts


def test_it_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = rollouts(tmp_path, 1, cut(), cut())
    data = questions(tmp_path / "q.parquet", ("What is red?", "right", picture()))
    out = tmp_path / "new" / "page.html"
    assert main(["view", str(dump), "--data", str(data), "--out", str(out)]) == 0
    assert f"{out}: 2 trajectories, 2 pictures, " in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


def test_a_damaged_row_is_named_and_the_others_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = rollouts(tmp_path, 1, cut())
    dump.write_text(dump.read_text() + "{}\n" * 12)
    assert main(["view", str(dump), "--out", str(tmp_path / "page.html")]) == 1
    said = capsys.readouterr()
    assert ": 1 trajectories" in said.out
    assert f"{dump}, line 2: has no trajectory" in said.err
    assert "2 more damaged rows" in said.err


def test_it_opens_the_page_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    out = tmp_path / "page.html"
    assert main(["view", str(rollouts(tmp_path, 1, cut())), "--out", str(out)]) == 0
    assert opened == []
    assert main(["view", str(rollouts(tmp_path, 1, cut())), "--out", str(out), "--open"]) == 0
    assert opened == [out.as_uri()]


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump = rollouts(tmp_path, 1, cut())
    assert main(["view", str(dump), "--out", str(dump / "page.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_modes_are_those_of_the_algorithm_and_so_is_the_default() -> None:
    assert view.MODES == MODES
    assert view.MODES[-1] == FatalSettings().mode
