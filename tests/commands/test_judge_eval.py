"""``osvl judge-eval`` prints how far a judge agrees with labels."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.commands import judge_eval
from osvl_plugins.errors import OsvlError, SettingError
from tests.reward.judges.chat_server import MODEL, RIGHT, WRONG, ChatServer, chat_server

LABELLED: list[dict[str, Any]] = [
    {"answer": "1531", "right": True, "category": "years"},
    {"answer": "1532", "right": False, "category": "years"},
    {"accepted": ["Barack Obama"], "answer": "Obama", "right": False},
    {"answer": "1531 AD", "right": False, "category": "years"},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    lines = [{"question": "Since when?", "accepted": ["1531"], **label} for label in LABELLED]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """In a thread, as the command has an event loop of its own."""
    ready, loop, ended = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    found: list[ChatServer] = []

    async def serve() -> None:
        async with chat_server() as server:
            found.append(server)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)
    loop.close()


def osvl(*args: object) -> int:
    parser = argparse.ArgumentParser()
    judge_eval.add(parser.add_subparsers())
    parsed = parser.parse_args(["judge-eval", *map(str, args)])
    code: int = parsed.command(parsed)
    return code


def model(server: ChatServer, *more: object) -> tuple[object, ...]:
    url = f"reward.judge.url={server.url}"
    return ("--judge", "openai", "--set", url, "--set", f"reward.judge.model={MODEL}", *more)


def test_the_rules_need_no_settings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl(file, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["judge"], report["all"]["n"], report["all"]["failed"]) == ("rules", 4, 0)


def test_a_model_is_asked_about_each(file: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl(file, "--json", *model(server)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["judge"] == MODEL
    assert report["version"].startswith("accuracy-")
    assert (report["all"]["right_accepted"], report["all"]["wrong_accepted"]) == (1, 3)
    assert report["all"]["false_accepts"]["value"] == 1.0
    assert report["all"]["kappa"]["value"] == 0.0
    assert report["categories"]["years"]["n"] == 3


def test_rules_come_first_where_that_is_chosen(
    file: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says = [WRONG]
    osvl(file, "--json", *model(server)[2:], "--judge", "rules-openai")
    assert json.loads(capsys.readouterr().out)["all"]["right_accepted"] == 1
    assert 0 < len(server.asked) < 4


def test_failures_are_counted_apart_and_are_the_exit_code(
    file: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says = ["Incorrect: yes"]
    assert osvl(file, "--json", *model(server)) == 1
    total = json.loads(capsys.readouterr().out)["all"]
    assert (total["n"], total["failed"], total["agreement"]["value"]) == (4, 4, None)


def test_the_table_names_judge_version_and_categories(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    osvl(file)
    table = capsys.readouterr().out
    assert all(text in table for text in ("rules (", "years", "all", "Cohen's kappa", "0.000"))


def test_verdicts_and_reasons_can_be_kept(file: Path, server: ChatServer, tmp_path: Path) -> None:
    out = tmp_path / "new" / "verdicts.jsonl"
    server.says = [RIGHT]
    osvl(file, "--out", out, *model(server))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["verdict"] for line in lines] == [True] * 4
    assert (lines[0]["answer"], lines[0]["reason"]) == ("1531", "same year")


def test_a_run_s_config_says_who_judges(file: Path, server: ChatServer, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    judge = f"{{url: '{server.url}', model: none}}"
    config.write_text(f"osvl: {{max_turn_tokens: 64, reward: {{accuracy: judge, judge: {judge}}}}}")
    assert osvl(file, "--config", config, "--judge", "openai", "--set", f"reward.judge.model={MODEL}") == 0
    assert len(server.asked) == 4


def test_verdicts_are_cached_where_that_is_set(file: Path, server: ChatServer, tmp_path: Path) -> None:
    cached = ("--set", "services.recording.mode=cache", "--set", f"services.recording.folder={tmp_path}/recordings")
    for _ in range(2):
        assert osvl(file, *model(server, *cached)) == 0
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("reward.judge.n=2", r"osvl\.reward\.judge\.n: .*odd"),
        ("reward.judge.urls=x", r"osvl\.reward\.judge\.urls: no such setting"),
        ("tools=x", r"osvl\.tools: has no effect here"),
        ("services.http.attempts=0", r"osvl\.services\.http\.attempts"),
    ],
)
def test_wrong_settings_are_named(setting: str, says: str, file: Path) -> None:
    with pytest.raises(SettingError, match=says):
        osvl(file, "--set", setting)


def test_a_model_needs_an_address(file: Path) -> None:
    with pytest.raises(SettingError, match=r"osvl\.reward\.judge\.url: must be set"):
        osvl(file, "--judge", "openai")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"none\.jsonl: cannot be read"):
        osvl(tmp_path / "none.jsonl")
