"""``osvl run``: what is shown, what is kept, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from osvl_plugins.cli import main
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.rollout_dump import Rollout, read_dump
from tests.agents import answer, call
from tests.inference.replies import HANGS, Replies, replying

CROP = call("crop", image="img_1", x=0, y=0, width=40, height=40)


@pytest.fixture
def server() -> Iterator[Replies]:
    """A server in a thread of its own, since a command has its own event loop."""
    loop, ready, made = asyncio.new_event_loop(), threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        async with replying() as server:
            made.append(server)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield made[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def words(server: Replies, atlas: Corpus, tmp_path: Path) -> list[str]:
    """The command line of a question about a picture."""
    picture = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    return [
        "run", "Who?", "--image", str(picture), "--server", server.url, "--model", "m", "--out", str(tmp_path / "out"),
        "--corpus", str(atlas.folder), "--set", "services.http.attempts=1",
    ]  # fmt: skip


def kept(folder: Path) -> Any:
    (read,) = read_dump([folder / "trajectory.jsonl"])
    assert isinstance(read, Rollout)
    return read.trajectory


def test_an_answer_is_shown_and_kept_with_its_pictures(
    server: Replies, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says = [CROP, answer("a [bold]teal[/] one :smile:\x1b[2J")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "img_2 (40x40)" in shown
    assert shown.splitlines()[-1] == "a [bold]teal[/] one :smile:[2J"
    assert "\x1b" not in shown
    folder = tmp_path / "out/1"
    assert sorted(path.name for path in folder.iterdir()) == ["img_1.png", "img_2.png", "trajectory.jsonl"]
    assert Image.open(folder / "img_2.png").size == (40, 40)
    assert (kept(folder).question, len(kept(folder).turns)) == ("Who?", 2)


@pytest.mark.parametrize("command", [["trace"], ["view"]])
def test_what_is_kept_is_read_by_the_other_commands(
    command: list[str], server: Replies, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.says = [answer("x")]
    main(words)
    monkeypatch.chdir(tmp_path)
    assert main([*command, str(tmp_path / "out/1/trajectory.jsonl")]) == 0


def test_every_run_has_a_folder_of_its_own(server: Replies, words: list[str], tmp_path: Path) -> None:
    server.says = [answer("x")]
    assert (main(words), main(words)) == (0, 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1", "2"]


def test_no_answer_is_exit_code_1(server: Replies, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    server.says = [CROP]
    assert main([*words, "--set", "episode.max_turns=2"]) == 1
    assert "no answer (turn_limit)" in capsys.readouterr().err


def test_a_full_context_is_no_failure(server: Replies, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    server.says = [CROP, (400, "the model's context length is 64 tokens")]
    assert main(words) == 1
    assert "no answer (context_limit)" in capsys.readouterr().err


def test_a_server_that_fails_is_exit_code_2_and_says_why(
    server: Replies, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says = [CROP, (404, "no model m")]
    assert main(words) == 2
    assert "no model m" in capsys.readouterr().err
    assert len(kept(tmp_path / "out/1").turns) == 1


def test_a_picture_that_cannot_be_read_leaves_nothing_behind(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"none")
    assert main(words) == 2
    assert not (tmp_path / "out").exists()


def test_a_system_message_takes_the_place_of_the_profiles(server: Replies, words: list[str]) -> None:
    server.says = [answer("x")]
    main([*words, "--system", "Be brief."])
    system = server.asked[0]["messages"][0]
    assert (system["role"], system["content"].startswith("Be brief.\n\n# Tools")) == ("system", True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_there_is(
    number: int, code: int, server: Replies, words: list[str], tmp_path: Path
) -> None:
    server.says = [CROP, HANGS]
    line = "import sys; from osvl_plugins.cli import main; sys.exit(main(sys.argv[1:]))"
    running = subprocess.Popen([sys.executable, "-c", line, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = threading.Timer(120, running.kill)
    deadline.start()
    while len(server.asked) < 2:
        assert running.poll() is None
        threading.Event().wait(0.05)
    running.send_signal(number)
    errors = running.communicate(timeout=60)[1].decode()
    deadline.cancel()
    assert (running.returncode, "Traceback" in errors) == (code, False), errors
    assert [turn.call.name for turn in kept(tmp_path / "out/1").turns] == ["crop"]
    assert kept(tmp_path / "out/1").failure == "interrupted"


def test_a_checkpoint_in_this_process_answers_without_a_server(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from tests.tiny import load_tiny

    load_tiny(tmp_path / "tiny")
    where = words.index("--server")
    local = [*words[:where], "--model-path", str(tmp_path / "tiny"), *words[where + 4 :]]
    assert main([*local, "--set", "max_turn_tokens=8", "--set", "episode.max_turns=1"]) == 1
    row = json.loads((tmp_path / "out/1/trajectory.jsonl").read_text())
    written, shown = row["trajectory"]["turns"][0]["text"], capsys.readouterr().out
    assert "".join(written.split()) in "".join(shown.split())
