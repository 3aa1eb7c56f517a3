"""``osvl trace`` on both kinds of dump: its lists, its tables, and what it says of damaged files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from osvl_plugins.commands import trace
from osvl_plugins.detectors import FatalDetector
from osvl_plugins.errors import OsvlError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.trajectory import Trajectory
from tests.steps import trajectory


def died(script: str, end: Any = "turn_limit", **settings: Any) -> Trajectory:
    made = trajectory(script, end)
    made.fatal_step = FatalDetector(FatalSettings(**settings))(made)
    return made


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser(prog="osvl")
    trace.add(parser.add_subparsers())
    args = parser.parse_args(["trace", *map(str, arguments)])
    return int(args.command(args))


def evaluated(path: Path, *trajectories: Trajectory, world: str = "eval") -> Path:
    """A file as ``osvl eval --out`` writes it."""
    rows = [
        {"world": world, "index": n, "accepted": ["right"], "reward": {"score": 0.5}, "trajectory": made.to_dict()}
        for n, made in enumerate(trajectories)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def dumped(folder: Path, step: int, *trajectories: Trajectory | None) -> Path:
    """A file as verl writes it for an ``osvl_*`` trainer; None for a row of padding."""
    verl = pytest.importorskip("verl.trainer.ppo.v1.trainer_base")
    rows = len(trajectories)
    columns = {
        "uid": [f"u_{row}_0" for row in range(rows)],
        "trajectory": [made.to_dict() if made is not None else None for made in trajectories],
    }
    scores = list(np.zeros(rows, dtype=np.float32))
    verl.PPOTrainer._write_generations(
        ["in"] * rows, ["out"] * rows, ["gold"] * rows, scores, columns, str(folder), step
    )
    return folder / f"{step}.jsonl"


def report(capsys: pytest.CaptureFixture[str], *files: Path) -> dict[str, Any]:
    capsys.readouterr()
    run("--fatal", "--json", *files)
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def counts(shares: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: share["count"] for name, share in shares.items()}


def test_the_fatal_ones_are_counted_by_tool_kind_turn_and_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = evaluated(
        tmp_path / "cases.jsonl",
        died("c c A"),
        died("c e e e", "fatal"),
        died("c u n e c A", on_fatal="continue"),
        died("p p p", "fatal"),
        died("k k k", "fatal"),
        died("c c", "turn_limit", profile="reference"),
        died("c", "policy_error"),
    )
    whole = report(capsys, file)["all"]
    assert (whole["trajectories"], whole["fatal"], whole["failed"]) == (7, 5, 1)
    assert whole["fatal_rate"] == pytest.approx(5 / 7)
    assert counts(whole["by_tool"]) == {"step": 2, "none": 2, "unknown": 1}
    assert counts(whole["by_kind"]) == {"timeout": 1, "unavailable": 1, "parse": 1, "unknown_tool": 1, "none": 1}
    assert counts(whole["by_turn"]) == {"0": 2, "1": 2, "after the last": 1}
    assert counts(whole["by_end"]) == {"fatal": 3, "answer": 1, "turn_limit": 1}
    assert whole["by_tool"]["step"]["share"] == pytest.approx(2 / 5)


def test_masked_tokens_are_those_sampled_from_the_fatal_step_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = died("e e e e e", "fatal")
    unknown.turns[2].span = None
    file = evaluated(tmp_path / "cases.jsonl", died("c e e e", "fatal"), died("e e e c A"), unknown, died("c A"))
    whole = report(capsys, file)["all"]
    assert (whole["fatal"], whole["with_spans"]) == (3, 2)
    assert whole["masked_tokens"] == (2 * 3 + 2 * 5) / 2
    nowhere = died("e e e")
    for turn in nowhere.turns:
        turn.span = None
    assert report(capsys, evaluated(tmp_path / "text.jsonl", nowhere))["all"]["masked_tokens"] is None


def test_verls_dumps_are_told_apart_by_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        dumped(tmp_path, 10, died("e e e"), died("e e e"), None),
        dumped(tmp_path, 9, died("c A"), died("c e e e"), died("A"), died("X")),
    ]
    made = report(capsys, *files)
    assert [(group["group"], group["trajectories"], group["fatal_rate"]) for group in made["groups"]] == [
        (9, 4, 0.25),
        (10, 2, 1.0),
    ]
    assert made["all"]["trajectories"] == 6
    run("--fatal", *files)
    out = capsys.readouterr().out
    assert "6 trajectories, 3 fatal (50.0%)" in out
    assert "25.0%" in out
    assert "after the last" not in out


def test_worlds_of_an_evaluation_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calm = evaluated(tmp_path / "calm.jsonl", died("c A"), world="calm")
    faulty = evaluated(tmp_path / "faulty.jsonl", died("e e e"), world="faulty")
    groups = report(capsys, calm, faulty)["groups"]
    assert [(group["group"], group["fatal"]) for group in groups] == [("calm/calm", 0), ("faulty/faulty", 1)]


def test_without_anything_fatal_there_are_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--fatal", evaluated(tmp_path / "cases.jsonl", died("c A"))) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 trajectories, 0 fatal (0.0%), 0 ended by a failure of the infrastructure"
    ]


def test_the_list_has_a_line_a_turn_and_marks_the_fatal_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(dumped(tmp_path, 3, died("c e p e"), died("c A"))) == 0
    lines = capsys.readouterr().out.splitlines()[1:]  # verl says that it dumped
    assert lines[0] == "#0 · step 3 · u_0_0 · end turn_limit · 4 turns · fatal step 1 · score 0.000"
    assert lines[5].startswith("#1 · step 3 · u_1_0 · end answer · 2 turns · score")
    assert [line[2] for line in lines[1:5]] == [" ", "†", " ", " "]
    assert [line.split()[-3] for line in lines[1:5]] == ["ok", "timeout", "parse", "timeout"]
    assert lines[7].split() == ["1", "answer:", "right"]


def test_the_list_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = evaluated(tmp_path / "cases.jsonl", *[died("c " * 200)] * 3)
    run("--limit", "2", file)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("#") for line in lines) == 2
    assert len(lines) == 2 * (1 + trace.MAX_TURNS + 1) + 1
    assert lines[-1] == "… only the first 2; --limit N shows more"


def test_one_is_shown_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = died("c A")
    long.turns[0].text = "\n".join(f"thought {n}" for n in range(300))
    run("--index", "1", evaluated(tmp_path / "cases.jsonl", died("c A"), long))
    out = capsys.readouterr().out
    assert out.startswith("#1 · cases/eval · 1 · end answer")
    assert "thought 0\n" in out
    assert "thought 299\n" in out
    assert "tokens 3 to 5" in out
    assert "showed page" in out


def test_what_the_model_wrote_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = died("c A")
    odd.turns[0].text = "\x1b[2J\x9b31m[bold]\ud800"
    odd.turns[1].answer = "\x1b]0;title\x07[/]"
    file = tmp_path / "cases.jsonl"
    file.write_text(json.dumps({"world": "\x1b[1m[red]", "index": 0, "trajectory": odd.to_dict()}) + "\n")
    for arguments in ([], ["--index", "0"], ["--fatal"]):
        assert run(*arguments, file) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "\x9b" not in out
        out.encode()


def test_a_damaged_line_is_named_and_the_rest_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = evaluated(tmp_path / "cases.jsonl", died("c A"), died("e e e"))
    first, second = file.read_text().splitlines()
    outside = json.loads(second)
    outside["trajectory"]["fatal_step"] = 9
    lines = [first, "", second[:-40], "[]", '{"index": 4}', '{"trajectory": {}}', json.dumps(outside), second]
    file.write_text("\n".join(lines))
    assert run("--fatal", "--json", file) == 1
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    assert (made["all"]["trajectories"], [at["line"] for at in made["damaged"]]) == (2, [3, 4, 5, 6, 7])
    errors = captured.err.splitlines()
    assert errors[0].startswith(f"osvl: {file}, line 3: not JSON")
    assert [error.split(": ", 2)[2].split(" (")[0] for error in errors[1:]] == [
        "not an object but list",
        "has no trajectory",
        "not a trajectory",
        "the fatal step 9 lies outside its 3 turns",
    ]


def test_of_many_damaged_lines_the_first_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = evaluated(tmp_path / "cases.jsonl", died("c A"))
    file.write_text(file.read_text() + "x\n" * 30)
    assert run(file) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == trace.MAX_DAMAGES + 1
    assert errors[-1] == "osvl: 20 more damaged lines"


def test_a_dump_of_verls_own_trainer_says_what_to_set(tmp_path: Path) -> None:
    file = tmp_path / "1.jsonl"
    file.write_text('{"input": "", "output": "", "gts": "", "score": 0.0, "step": 1, "uid": "u_0_0"}\n')
    with pytest.raises(OsvlError, match=r"line 1: .*trainer\.v1\.trainer_mode"):
        run("--fatal", file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "missing.jsonl: cannot be read"),
        (["empty.jsonl"], "no trajectory"),
        (["--fatal", "empty.jsonl"], "no trajectory"),
        (["--index", "1", "one.jsonl"], "only 1 trajectories"),
        (["--json", "one.jsonl"], "--json goes with --fatal"),
    ],
)
def test_what_cannot_be_shown_is_said(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluated(Path("one.jsonl"), died("A"))
    Path("empty.jsonl").touch()
    with pytest.raises(OsvlError, match=message):
        run(*arguments)


@pytest.mark.parametrize("wrong", [[], ["--index", "-1", "f"], ["--limit", "0", "f"], ["--fatal", "--index", "1", "f"]])
def test_a_wrong_command_line_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        run(*wrong)
    assert exit.value.code == 2
