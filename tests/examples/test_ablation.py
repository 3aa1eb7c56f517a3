"""The ablation: what it runs, and what it says of what it ran."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="plots need the extra ablation: pip install 'osvl-plugins[ablation]'")
pytest.importorskip("verl", reason="cells are checked by verl's trainer: pip install 'osvl-plugins[verl]'")

from hypothesis import given
from hypothesis import strategies as st

from examples.ablation import __main__ as ablation
from examples.ablation.cells import FAULTS, Cell, Grid
from examples.ablation.results import Answered, Result, by_setting, gain, interval, read_results
from examples.ablation.tables import figures, gains, write_results
from examples.ablation.train import BEGUN, DONE, KEPT, METRICS, Size, check_size, worlds
from osvl_plugins.fatal import MODES
from osvl_plugins.tools.faults import FaultSettings
from osvl_plugins.verl.agent_loop import agent_settings, fatal_settings
from osvl_plugins.verl.trainer import check
from tests.verl.configs import compose


def done(out: Path, cell: Cell, accuracy: float, rewards: list[float]) -> None:
    """A cell as a run leaves it."""
    folder = out / "cells" / cell.name
    (folder / "run").mkdir(parents=True)
    logged(folder / "run" / METRICS.format("0000"), dict(enumerate(rewards, 1)))
    for world, shift in (("calm", 0.1), ("faulty", 0.0), ("calm-greedy", 0.2)):
        report = folder / "evaluation" / world / "report.json"
        report.parent.mkdir(parents=True)
        report.write_text(json.dumps({"total": {"accuracy": accuracy + shift, "fatal": 0.2 - shift}}))
    (folder / DONE).write_text(json.dumps({"cell": cell.to_dict(), "size": asdict(Size())}))


def logged(file: Path, rewards: dict[int, float]) -> None:
    """As verl's logger writes it, with all metrics like the reward."""
    rows = [{"step": step, "data": dict.fromkeys(KEPT.values(), reward)} for step, reward in rewards.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_all_settings_run_with_one_seed_before_any_with_the_next() -> None:
    cells = Grid(estimators=("grpo", "rloo"), seeds=3).cells()
    assert [cell.seed for cell in cells] == [1] * 8 + [2] * 8 + [3] * 8
    assert {(cell.estimator, cell.mode) for cell in cells[:8]} == {(e, m) for e in ("grpo", "rloo") for m in MODES}


def test_no_two_cells_share_a_folder() -> None:
    grid = Grid(("grpo", "rloo"), MODES, tuple(FAULTS), (2, 3, 5), ("first", "last"), ("stop", "continue"),
                ("none", "weight"), 2)  # fmt: skip
    names = [cell.name for cell in grid.cells()]
    assert len(names) == len(set(names)) == 2 * 4 * 6 * 3 * 2 * 2 * 2 * 2


@pytest.mark.parametrize("cell", [
    Cell(), Cell("rloo", "vanilla", "late", 7, 5, "last", "continue", "weight"), Cell(mode="hard_mask", faults="none"),
])  # fmt: skip
def test_a_cell_trains_what_its_name_says(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSVL_HOME", "/nowhere")
    config = compose("osvl_tiny_rl", *cell.overrides, *Size(steps=7, prompts=3).overrides)
    check(config)
    fatal = fatal_settings(config)
    assert (fatal.mode, fatal.k, fatal.at, fatal.on_fatal) == (cell.mode, cell.k, cell.at, cell.on_fatal)
    assert config.algorithm.adv_estimator == f"osvl_{cell.estimator}"
    assert config.algorithm.reliability.mode == cell.reliability
    assert config.data.seed == cell.seed
    assert agent_settings(config).episode.faults == FAULTS[cell.faults]
    assert config.trainer.total_training_steps == 7


def test_an_interval_is_students() -> None:
    # Mean 2, standard deviation 1, and t of 2 degrees of freedom at 97.5 % is 4.3027.
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.3027 / math.sqrt(3), 3), abs=1e-4)


def test_one_seed_has_no_interval() -> None:
    assert str(interval([0.25])) == "0.250"


@given(st.dictionaries(st.integers(1, 9), st.floats(0, 1), min_size=2), st.floats(-0.5, 0.5))
def test_a_gain_that_every_seed_has_is_certain(values: dict[int, float], more: float) -> None:
    found = gain({seed: value + more for seed, value in values.items()}, values)
    assert found is not None
    assert found.mean == pytest.approx(more, abs=1e-9)
    assert found.half == pytest.approx(0, abs=1e-9)


def test_a_gain_is_over_the_seeds_of_both() -> None:
    assert gain({1: 0.5, 2: 0.9, 3: 0.7}, {1: 0.4, 3: 0.6, 4: 0.0}) == pytest.approx((0.1, 0.0, 2))
    assert gain({1: 0.5}, {2: 0.5}) is None


def test_steps_that_were_done_again_after_a_kill_count_as_they_were_then(tmp_path: Path) -> None:
    done(tmp_path, Cell(), 0.5, [0.1, 0.2])
    run = tmp_path / "cells" / Cell().name / "run"
    with (run / METRICS.format("0000")).open("a") as torn:
        torn.write('{"step":3,"data":{"critic/sc')
    logged(run / METRICS.format("0001"), {2: 0.7, 3: 0.8})
    assert [step["reward"] for step in read_results(tmp_path)[0].steps] == [0.1, 0.7, 0.8]


def test_a_cell_that_is_not_done_is_in_no_table(tmp_path: Path) -> None:
    done(tmp_path, Cell(), 0.5, [0.1])
    done(tmp_path, Cell(mode="vanilla"), 0.5, [0.1])
    (tmp_path / "cells" / Cell().name / DONE).unlink()
    assert [result.cell.mode for result in read_results(tmp_path)] == ["vanilla"]


@pytest.mark.parametrize("state", [BEGUN, DONE])
def test_a_folder_with_cells_of_another_size_is_refused_at_once(
    state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(tmp_path, Cell(mode="vanilla"), 0.5, [0.1])
    folder = tmp_path / "cells" / Cell(mode="vanilla").name
    (folder / DONE).rename(folder / state)
    assert ablation.main(["--out", str(tmp_path), "--steps", "30"]) == 1
    assert re.search(r"steps=20.*steps=30.*another --out", capsys.readouterr().err)


def test_threads_are_no_matter_of_size(tmp_path: Path) -> None:
    done(tmp_path, Cell(), 0.5, [0.1])
    check_size(tmp_path, Size(threads=2))


def test_only_what_was_trained_with_faults_is_evaluated_with_them() -> None:
    calm = FaultSettings()
    assert worlds(FAULTS["none"]) == {"calm": calm, "calm-greedy": calm}
    assert worlds(FAULTS["late"]) == {"calm": calm, "faulty": FAULTS["late"], "calm-greedy": calm}


def test_the_page_knows_the_checkpoint_of_sft_in_every_world(tmp_path: Path) -> None:
    done(tmp_path, Cell(), 0.5, [0.1, 0.2])
    for faults, world, accuracy in (("none", "calm", 0.321), ("severe", "faulty", 0.123)):
        report = tmp_path / "sft" / faults / world / "report.json"
        report.parent.mkdir(parents=True)
        report.write_text(json.dumps({"total": {"accuracy": accuracy, "fatal": 0.0}}))
    assert "SFT alone | severe |  |  | 0.321 | 0.123 |" in write_results(tmp_path).read_text()


SFT = {"severe": {"calm": Answered(0.25, 0.05), "faulty": Answered(0.2, 0.4)}}


def two_modes(out: Path) -> list[Result]:
    """Two seeds of ``vanilla`` and of ``fatal_mask_clamp``, which is better by a tenth."""
    for seed, base in ((1, 0.3), (2, 0.5)):
        done(out, Cell(mode="vanilla", seed=seed), base, [0.0] * 8 + [0.4, 0.6])
        done(out, Cell(seed=seed), base + 0.1, [0.5] * 10)
    return read_results(out)


def rows_of(markdown: str) -> list[dict[str, str]]:
    head, _, *rows = [line[2:-2].split(" | ") for line in markdown.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_the_table_has_sft_then_the_modes_over_their_seeds(tmp_path: Path) -> None:
    sft, vanilla, clamp = rows_of(figures(by_setting(two_modes(tmp_path)), SFT))
    assert (sft["mode"], sft["calm"], sft["fatal, calm"]) == ("SFT alone", "0.250", "0.050")
    assert (vanilla["mode"], vanilla["seeds"]) == ("vanilla", "2")
    assert vanilla["faulty"].startswith("0.400 ±")
    assert vanilla["reward"] == "0.500 ± 0.000"
    assert clamp["fatal, calm"] == "0.100 ± 0.000"


def test_gains_are_over_sft_and_over_vanilla_seed_by_seed(tmp_path: Path) -> None:
    vanilla, clamp = rows_of(gains(by_setting(two_modes(tmp_path)), SFT))
    assert vanilla["faulty over SFT"].startswith("0.200 ± 1.27")
    assert vanilla["calm-greedy over SFT"] == vanilla["faulty over vanilla"] == ""
    assert {clamp[f"{world} over vanilla"] for world in ("calm", "faulty", "calm-greedy")} == {"0.100 ± 0.000"}


def test_a_page_is_written_while_sft_is_being_evaluated(tmp_path: Path) -> None:
    (tmp_path / "sft" / "none" / "calm").mkdir(parents=True)
    assert "SFT alone | none" in write_results(tmp_path).read_text()


def test_the_page_of_a_part_of_the_cells_is_whole(tmp_path: Path) -> None:
    for number, mode in enumerate(MODES):
        for seed in (1, 2):
            done(
                tmp_path,
                Cell(mode=mode, seed=seed),
                0.3 + 0.02 * number,
                [0.1 * seed + 0.01 * step for step in range(12)],
            )
    page = write_results(tmp_path).read_text()
    for picture, words in (
        ("curves.svg", "accuracy in training (share)"),
        ("accuracy.svg", "held-out accuracy (share)"),
    ):
        assert picture in page
        assert words in (tmp_path / picture).read_text()
    assert page.count("± ") > 2 * len(MODES)


def test_settings_stand_in_the_papers_order() -> None:
    results = [Result(Cell(mode=mode), [], {}) for mode in reversed(MODES)]
    assert [setting[1] for setting in by_setting(results)] == list(MODES)


def test_only_the_report_is_written_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done(tmp_path, Cell(), 0.5, [0.1, 0.2])
    assert ablation.main(["--report", "--out", str(tmp_path)]) == 0
    assert "fatal_mask_clamp" in capsys.readouterr().out
