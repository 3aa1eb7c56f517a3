"""The rule-based comparison against labels by people: precision, recall and time.

python benchmarks/rules.py

The triples of question, accepted answers and answer lie in ``tests/reward/data``. A third of each category is held out:
nothing was tuned on it. The attacks are answers that try to get credit without being right.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from osvl_plugins.reward.rules import Rules

DATA = Path(__file__).parents[1] / "tests" / "reward" / "data"


@dataclass
class Tally:
    """What the rules said of the answers that people called right, and of the wrong ones."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    untold: int = 0
    """Right answers that the rules leave to a judge."""
    open: int = 0
    """Wrong answers that the rules leave to a judge."""
    refused: int = 0

    def add(self, label: bool, said: bool | None) -> None:
        """Count one answer."""
        if label:
            self.hits, self.missed, self.untold = (
                self.hits + (said is True),
                self.missed + (said is False),
                self.untold + (said is None),
            )
        else:
            self.false, self.refused, self.open = (
                self.false + (said is True),
                self.refused + (said is False),
                self.open + (said is None),
            )

    @property
    def row(self) -> list[str]:
        """Cells of the table: rows, precision, recall, and the verdicts behind them."""
        right, credited = self.hits + self.missed + self.untold, self.hits + self.false
        wrong = self.false + self.refused + self.open
        return [
            f"{right}+{wrong}",
            f"{self.hits / credited:.3f}" if credited else "-",
            f"{self.hits / right:.3f}" if right else "-",
            str(self.false),
            str(self.missed),
            f"{self.untold}+{self.open}",
        ]


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of one set."""
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rules, console, triples = Rules(), Console(), rows_of("triples.jsonl")
    for split in ("tune", "held_out"):
        tallies: dict[str, Tally] = {}
        for row in triples:
            if row["split"] == split:
                said = rules.compare(row["question"], row["accepted"], row["answer"]).right
                for name in (row["category"], "all"):
                    tallies.setdefault(name, Tally()).add(row["right"], said)
        table = Table(
            split, "right+wrong", "precision", "recall", "wrong credited", "right refused", "cannot tell (right+wrong)"
        )
        for name in sorted(tallies, key=lambda name: (name == "all", name)):
            table.add_row(name, *tallies[name].row)
        console.print(table)
    attacks = rows_of("red_team.jsonl")
    credited = sum(rules.compare(row["question"], row["accepted"], row["answer"]).right is True for row in attacks)
    console.print(f"{credited} of {len(attacks)} attacks credited")
    times = []
    for _ in range(options.repeats):
        for row in triples:
            start = time.perf_counter()
            rules.compare(row["question"], row["accepted"], row["answer"])
            times.append(time.perf_counter() - start)
    slowest = statistics.quantiles(times, n=100)[-1]
    console.print(f"one comparison: median {1e3 * statistics.median(times):.2f} ms, 99 % below {1e3 * slowest:.2f} ms")


if __name__ == "__main__":
    main()
