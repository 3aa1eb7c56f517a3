"""The folder of a run: what is in it survives, is there once, and is one run's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.errors import OsvlError, SettingError
from osvl_plugins.evaluation.ledger import Ledger
from osvl_plugins.evaluation.manifest import BenchmarkFiles, RunManifest
from osvl_plugins.evaluation.record import CaseError, CaseRecord, Fault, Key
from osvl_plugins.reward.composite import Reward
from osvl_plugins.trajectory import Trajectory, Turn
from tests.agents import agent, answer
from tests.evaluation.asked import manifest


def record(number: int, fault: Fault | None = None, **fields: object) -> CaseRecord:
    trajectory = Trajectory("What?", [Turn(answer("ä"), answer="ä")], end="answer")
    reward = Reward(1.0, 1.0, 1.0) if fault is None else None
    error = CaseError(fault, "broken") if fault is not None else None
    made = CaseRecord(
        Key("numbers", f"q{number}", 0), number, ("ä",), None, "", reward, trajectory, error, seconds=1.5, attempts=1
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def opened(folder: Path, of: RunManifest | None = None, said: list[str] | None = None) -> Ledger:
    return Ledger(folder, of or manifest(), (said if said is not None else []).append)


def filled(folder: Path, *records: CaseRecord) -> Path:
    ledger = opened(folder)
    for each in records:
        ledger.keep(each)
    ledger.close()
    return folder / "cases.jsonl"


def lines(folder: Path) -> list[CaseRecord]:
    return [CaseRecord.from_line(line) for line in (folder / "cases.jsonl").read_bytes().splitlines()]


def test_what_is_kept_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    filled(tmp_path, record(0), record(1, "policy"))
    ledger = opened(tmp_path)
    assert lines(tmp_path) == [record(0), record(1, "policy")]
    assert ledger.done(retry_errors=False).cases == {record(0).key, record(1).key}
    assert [kept.correct for kept in ledger.kept.values()] == [1.0, 0.0]
    ledger.close()


def test_errors_are_done_again_when_that_is_asked_for(tmp_path: Path) -> None:
    filled(tmp_path, *(record(n, fault) for n, fault in enumerate((None, "data", "policy", "judge", "case"))))
    ledger = opened(tmp_path)
    done = ledger.done(retry_errors=True)
    assert done.cases == {record(0).key}
    assert {key: load() for key, load in done.judge_only.items()} == {record(3).key: record(3).trajectory}
    ledger.keep(record(1))
    assert ledger.done(retry_errors=True).cases == {record(0).key, record(1).key}
    ledger.close()
    assert len(lines(tmp_path)) == 6


def test_any_text_can_be_kept(tmp_path: Path) -> None:
    odd = record(0, accepted=("half of a pair: \ud800", "a whole one: 🗺"))
    filled(tmp_path, odd)
    assert lines(tmp_path) == [odd]


def test_a_case_cannot_be_kept_twice(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    ledger.keep(record(0))
    with pytest.raises(OsvlError, match="sample 0 of q0 of numbers is there already"):
        ledger.keep(record(0))
    ledger.close()
    assert len(lines(tmp_path)) == 1


@settings(max_examples=40)
@given(cut=st.integers(min_value=0), whole=st.integers(0, 3))
def test_a_line_that_was_torn_anywhere_is_cut_and_the_others_stay(
    cut: int, whole: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    file = filled(folder, *(record(n) for n in range(whole)))
    torn = record(9).to_line().encode()
    piece = torn[: cut % len(torn)]
    with file.open("ab") as lines_file:
        lines_file.write(piece)
    said: list[str] = []
    ledger = opened(folder, said=said)
    ledger.keep(record(9))
    ledger.close()
    assert lines(folder) == [*(record(n) for n in range(whole)), record(9)]
    assert len(said) == bool(piece)


def test_a_torn_line_longer_than_what_is_read_at_a_time_is_cut(tmp_path: Path) -> None:
    file = filled(tmp_path, record(0))
    with file.open("ab") as more:
        more.write(b"x" * (2 * 2**20 + 77))
    opened(tmp_path).close()
    assert lines(tmp_path) == [record(0)]


@pytest.mark.parametrize("line", [b"{}\n", b"\x00\x00\n", b'{"benchmark": "numbers"}\n'])
def test_a_damaged_line_is_named(line: bytes, tmp_path: Path) -> None:
    file = filled(tmp_path, record(0))
    with file.open("ab") as more:
        more.write(line)
    with pytest.raises(OsvlError, match=r"cases.jsonl, line 2: no case .*; delete the line"):
        opened(tmp_path)
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    opened(tmp_path).close()


def test_a_case_that_is_there_twice_is_named(tmp_path: Path) -> None:
    file = filled(tmp_path, record(0))
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(OsvlError, match="line 2: sample 0 of q0 of numbers is there twice"):
        opened(tmp_path)


def test_only_one_has_a_run_open(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    with pytest.raises(OsvlError, match="another process works on this run"):
        opened(tmp_path)
    ledger.close()
    opened(tmp_path).close()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(OsvlError, match=r"something that is no run \(thesis.tex\)"):
        opened(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_cases_without_their_settings_are_refused(tmp_path: Path) -> None:
    filled(tmp_path, record(0))
    (tmp_path / "run.json").unlink()
    with pytest.raises(OsvlError, match=r"run\.json"):
        opened(tmp_path)


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-x-run.json").write_text("{")
    opened(tmp_path).close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cases.jsonl", "run.json"]


def other_files(**fields: object) -> dict[str, BenchmarkFiles]:
    return {"numbers": replace(manifest().benchmarks["numbers"], **fields)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"model": "other"}, r"run.model: .* \(run.model: 'm', now 'other'\); name another folder"),
        ({"temperature": 0.7}, "run.temperature: 0.0, now 0.7"),
        ({"samples": 2}, "run.samples: 1, now 2"),
        ({"mode": "rag"}, "run.mode: 'agent', now 'rag'"),
        ({"limit": 5}, "run.limit: None, now 5"),
        ({"corpus": "f"}, "run.corpus: '', now 'f'"),
        ({"checkpoint": "f"}, "run.checkpoint: '', now 'f'"),
        ({"system": "Be brief."}, "run.system: '', now 'Be brief.'"),
        ({"package": "2"}, "run.package: '1', now '2'"),
        ({"benchmarks": other_files(state="new")}, "run.benchmarks.numbers.state: 'state', now 'new'"),
        ({"osvl": agent(wire="sft").model_dump(mode="json")}, "run.osvl.wire: 'native', now 'sft'"),
        ({"osvl": agent(reward={"gate": "none"}).model_dump(mode="json")}, "run.osvl.reward.gate: 'multiply', now"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(change: dict[str, object], match: str, tmp_path: Path) -> None:
    filled(tmp_path, record(0))
    with pytest.raises(SettingError, match=match):
        opened(tmp_path, manifest(**change))
    assert lines(tmp_path) == [record(0)]


@pytest.mark.parametrize(
    "change",
    [
        {"started": "2026-02-01"},
        {"cases": None},
        {"benchmarks": other_files(files=("elsewhere/numbers.jsonl",))},
        {"osvl": {**agent().model_dump(mode="json"), "corpus": "elsewhere"}},
        {
            "osvl": agent(services={"http": {"attempts": 9}, "budgets": {"policy": {"in_flight": 2}}}).model_dump(
                mode="json"
            )
        },
    ],
)
def test_it_goes_on_wherever_things_lie_and_however_much_is_asked_at_a_time(
    change: dict[str, object], tmp_path: Path
) -> None:
    filled(tmp_path, record(0))
    ledger = opened(tmp_path, manifest(**change))
    assert json.loads(json.dumps(ledger.manifest.started)) == "2026-01-31"
    ledger.close()


def test_settings_may_change_as_long_as_nothing_is_done(tmp_path: Path) -> None:
    filled(tmp_path)
    ledger = opened(tmp_path, manifest(temperature=0.7))
    ledger.close()
    assert json.loads((tmp_path / "run.json").read_text())["temperature"] == 0.7
