"""``osvl tools``: what a person reads, where pictures go, and the exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.cli import main
from osvl_plugins.corpus.corpus import Corpus

BOX = ["image=img_1", "x=2", "y=3", "width=20", "height=10"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


@pytest.fixture
def corpus(atlas: Corpus) -> list[str]:
    return ["--corpus", str(atlas.folder)]


def test_the_list_as_json_is_what_the_model_is_given(
    atlas: Corpus, corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "list", "--json", *corpus]) == 0
    assert json.loads(capsys.readouterr().out) == build_tools(AgentSettings(corpus=str(atlas.folder))).schemas


def test_the_list_names_every_tool_with_its_arguments_and_backend(
    atlas: Corpus, corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "list", *corpus]) == 0
    shown = capsys.readouterr().out
    tools = build_tools(AgentSettings(corpus=str(atlas.folder)))
    for tool, schema in zip(tools.tools.values(), tools.schemas, strict=True):
        for word in (tool.name, tool.backend.split()[0], *schema["function"]["parameters"]["properties"]):
            assert word in shown
    assert "top_k=5" in shown


def test_a_new_picture_is_saved_and_its_path_printed(
    tmp_path: Path, picture: Path, corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["tools", "call", "crop", *BOX, "--image", str(picture), "--out", str(out), *corpus]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("img_2 (20x10)\n")
    assert "backend: pillow" in shown
    assert shown.endswith(f"img_2 saved as {out / 'crop-1.png'}\n")
    assert Image.open(out / "crop-1.png").size == (20, 10)


def test_an_earlier_picture_is_not_overwritten(tmp_path: Path, picture: Path, corpus: list[str]) -> None:
    for _ in range(2):
        assert main(["tools", "call", "crop", *BOX, "--image", str(picture), "--out", str(tmp_path), *corpus]) == 0
    assert {file.name for file in tmp_path.glob("crop-*")} == {"crop-1.png", "crop-2.png"}


def test_pictures_are_named_in_the_order_given(picture: Path, tmp_path: Path, corpus: list[str]) -> None:
    Image.new("RGB", (30, 30), "blue").save(tmp_path / "blue.png")
    images = ["--image", str(picture), "--image", str(tmp_path / "blue.png")]
    assert main(["tools", "call", "crop", "image=img_2", *BOX[1:], *images, "--out", str(tmp_path), *corpus]) == 0
    assert Image.open(tmp_path / "crop-1.png").getpixel((0, 0)) == (0, 0, 255)


def test_a_text_argument_that_looks_like_a_number_stays_text(
    corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "call", "text_search", "q=1492", "top_k=1", *corpus]) == 0
    assert capsys.readouterr().out.count("[Passage ") == 1


def test_a_setting_reaches_the_tools(corpus: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "call", "text_search", "q=Mexico", "--set", "search.top_k=2", *corpus]) == 0
    assert capsys.readouterr().out.count("[Passage ") == 2


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (["fly"], "unknown_tool"),
        (["crop", *BOX], "bad_arguments"),
        (["crop", "image=img_1"], "bad_arguments"),
        (["visit", "url=x://y"], "not_found"),
    ],
)
def test_a_call_that_fails_gives_its_error_and_exit_code_1(
    call: list[str], kind: str, corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "call", *call, *corpus]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"Error ({kind}): ")
    assert not captured.out


@pytest.mark.parametrize("wrong", [["call"], ["call", "crop", "x"], ["call", "crop", "=1"], ["list", "--set", "x"]])
def test_a_wrong_command_line_has_exit_code_2(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["tools", *wrong])
    assert exit.value.code == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--set", "nope=1"], "osvl.nope"),
        (["--set", "corpus.x=1"], "osvl.corpus.x"),
        (["--set", "calls.deadline_s=soon"], "osvl.calls.deadline_s"),
        (["--image", "no such file.png"], "no such file.png"),
    ],
)
def test_what_cannot_be_used_has_exit_code_2_and_a_message(
    wrong: list[str], said: str, corpus: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "call", "crop", *BOX, *corpus, *wrong]) == 2
    assert said in capsys.readouterr().err


def test_a_tool_without_a_corpus_is_missing_it_only_where_it_needs_one(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--out", str(tmp_path), "--corpus", str(tmp_path / "none")]
    assert main(["tools", "call", "crop", *BOX, "--image", str(picture), *rest]) == 0
    assert main(["tools", "call", "text_search", "q=Mexico", *rest]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_terminal_shows_the_picture(tmp_path: Path, picture: Path, corpus: list[str]) -> None:
    program = [sys.executable, "-c", "import sys; from osvl_plugins.cli import main; sys.exit(main())"]
    call = ["tools", "call", "crop", *BOX, "--image", str(picture), "--out", str(tmp_path), *corpus]
    ours, theirs = pty.openpty()
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal, subprocess.Popen([*program, *call], stdout=theirs) as process:
        os.close(theirs)
        try:
            while chunk := terminal.read(65536):
                shown += chunk
        except OSError:  # how Linux says that the other side of a terminal is closed
            assert process.wait(60) == 0
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀".encode() in shown


def test_a_config_file_gives_the_settings_and_set_wins_over_it(
    corpus: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("osvl:\n  tools: [crop, sharpen]\n  calls: {deadline_s: 5}\nother: 1\n")
    assert main(["tools", "list", "--json", "--config", str(file), "--set", 'tools=["crop"]']) == 0
    assert [schema["function"]["name"] for schema in json.loads(capsys.readouterr().out)] == ["crop"]


@pytest.mark.parametrize(("text", "said"), [("a: 1", "has no group osvl"), ("a: [", "cannot be read")])
def test_a_config_file_that_is_none_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert main(["tools", "list", "--config", str(file)]) == 2
    assert said in capsys.readouterr().err
