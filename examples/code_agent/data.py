"""Questions in words whose answer takes a little computation, as rows of verl's RL format.

    python -m examples.code_agent.data outputs/code_agent/data

writes ``train.parquet`` and ``test.parquet``. Every answer is a whole number; no question is in both files.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SYSTEM_PROMPT = (
    "Compute with python_interpreter, one call a turn. If a call fails, correct it. "
    "End with a line of its own, like this:\nAnswer: 42"
)


@dataclass(frozen=True)
class Kind:
    """A kind of question about a number n."""

    text: str
    answer: Callable[[int], int]


def _primes_below(n: int) -> int:
    return sum(all(number % factor for factor in range(2, math.isqrt(number) + 1)) for number in range(2, n))


KINDS = {
    "squares": Kind(
        "what is the sum of the squares of the first n odd numbers?",
        lambda n: n * (4 * n * n - 1) // 3,
    ),
    "primes": Kind("how many prime numbers are smaller than n?", _primes_below),
    "day": Kind(
        "which day of the month lies n days after the first day of the year 2000?",
        lambda n: (date(2000, 1, 1) + timedelta(days=n)).day,
    ),
    "remainder": Kind("what is the remainder of 7 to the power of n when divided by 1000?", lambda n: pow(7, n, 1000)),
    "sevens": Kind("how many times does the digit 7 occur in 2 to the power of n?", lambda n: str(2**n).count("7")),
}
N = range(10, 1000)


@dataclass(frozen=True)
class Question:
    """One question of the kind ``KINDS[kind]``."""

    kind: str
    n: int

    @property
    def text(self) -> str:
        return f"For n={self.n}, {KINDS[self.kind].text}"

    @property
    def answer(self) -> int:
        return KINDS[self.kind].answer(self.n)


def questions(count: int, seed: int) -> list[Question]:
    """``count`` questions, all different and the same for the same ``seed``.

    Raises ``ValueError`` for more than there are.
    """
    return random.Random(seed).sample([Question(kind, n) for kind in KINDS for n in N], count)


def prompt(question: Question) -> list[dict[str, str]]:
    """The messages that ask ``question``."""
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": question.text}]


def row(question: Question, index: int, split: str) -> dict[str, Any]:
    """``question`` in verl's RL format."""
    return {
        "data_source": "code_agent",
        "prompt": prompt(question),
        "reward_model": {"style": "rule", "ground_truth": str(question.answer)},
        "extra_info": {"index": index, "split": split, "kind": question.kind, "n": question.n},
    }


def write(out: Path, train: int = 2000, test: int = 200, seed: int = 0) -> None:
    """Write ``train.parquet`` and ``test.parquet`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    drawn = questions(train + test, seed)
    for split, chosen in (("train", drawn[:train]), ("test", drawn[train:])):
        rows = [row(question, index, split) for index, question in enumerate(chosen)]
        pq.write_table(pa.Table.from_pylist(rows), out / f"{split}.parquet")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.out, given.train, given.test, given.seed)
