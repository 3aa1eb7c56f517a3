"""What the cells that are done say, read from their folders, and intervals over seeds.

Of n seeds the interval is mean ± t · s / √n, with t of n - 1 degrees of freedom at 97.5 %. Differences are taken seed
by seed, since cells of one seed meet the same questions in the same order from the same checkpoint.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scipy.stats import t as student

from examples.ablation.cells import Cell
from examples.ablation.train import DONE, KEPT, METRICS
from osvl_plugins.fatal import MODES

LAST = 0.2
"""Share of the steps, at the end, that "late" figures are means over."""


class Interval(NamedTuple):
    """A mean over ``seeds`` and half the width of its 95 % interval; NaN where one seed cannot say."""

    mean: float
    half: float
    seeds: int

    def __str__(self) -> str:
        if math.isnan(self.half):
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {self.half:.3f}"


class Answered(NamedTuple):
    """How the held-out questions were answered in one evaluation: shares of the episodes."""

    accuracy: float
    fatal: float


@dataclass(frozen=True)
class Result:
    """One cell that is done."""

    cell: Cell
    steps: Sequence[Mapping[str, float]]
    """Metrics by the names of ``KEPT``, one a step, in order."""
    held_out: Mapping[str, Answered]
    """By the name of the evaluation."""

    def late(self, name: str) -> float:
        """Mean of a metric over the last ``LAST`` of the steps."""
        count = max(1, round(LAST * len(self.steps)))
        return statistics.fmean(step[name] for step in self.steps[-count:])


Groups = Mapping[tuple[str, ...], Sequence[Result]]
"""The seeds of each setting."""
Sft = Mapping[str, Mapping[str, Answered]]
"""How the SFT checkpoint answered, by name of the faults and of the evaluation."""


def interval(values: Sequence[float]) -> Interval:
    """The mean of one value a seed, with its interval. Raises ``statistics.StatisticsError`` without values."""
    mean, count = statistics.fmean(values), len(values)
    if count < 2:
        return Interval(mean, math.nan, count)
    half = float(student.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, half, count)


def read_results(out: Path) -> list[Result]:
    """The cells of ``out`` that are done."""
    return [_result(done.parent) for done in sorted((out / "cells").glob(f"*/{DONE}"))]


def _result(folder: Path) -> Result:
    cell = Cell(**json.loads((folder / DONE).read_text())["cell"])
    return Result(cell, list(steps(folder / "run").values()), answered(folder / "evaluation"))


def steps(run: Path) -> dict[int, dict[str, float]]:
    """The metrics of each step. What an attempt after a kill did again counts, not what was lost."""
    found: dict[int, dict[str, float]] = {}
    for file in sorted(run.glob(METRICS.format("*"))):
        for line in file.read_text("utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # torn by a kill: the next attempt has this step
                continue
            if KEPT["reward"] in row["data"]:
                found[row["step"]] = {name: row["data"][key] for name, key in KEPT.items() if key in row["data"]}
    return dict(sorted(found.items()))


def answered(folder: Path) -> dict[str, Answered]:
    """What the reports in ``folder`` say, by evaluation."""
    totals = {report.parent.name: json.loads(report.read_text())["total"] for report in folder.glob("*/report.json")}
    return {name: Answered(total["accuracy"], total["fatal"]) for name, total in totals.items()}


def by_setting(results: Iterable[Result]) -> dict[tuple[str, ...], list[Result]]:
    """The seeds of each setting; settings as the paper orders the modes."""
    groups: dict[tuple[str, ...], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.cell.setting].append(result)
    order = sorted(groups, key=lambda setting: (setting[:1] + setting[2:], MODES.index(setting[1])))
    return {setting: groups[setting] for setting in order}


def by_seed(group: Sequence[Result], world: str) -> dict[int, float]:
    """Accuracy in the evaluation ``world`` by seed; empty where nothing of ``group`` was evaluated there."""
    return {one.cell.seed: one.held_out[world].accuracy for one in group if world in one.held_out}


def gain(of: Mapping[int, float], over: Mapping[int, float]) -> Interval | None:
    """Difference of two settings, from their values by seed, over the seeds that both have; None without any."""
    differences = [of[seed] - over[seed] for seed in sorted(of.keys() & over.keys())]
    return interval(differences) if differences else None
