"""How far a judge agrees with labels: what it accepts wrongly, and what it refuses wrongly."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from osvl_plugins.errors import JudgeFailed, OsvlError
from osvl_plugins.reward.judge import AccuracyJudge
from osvl_plugins.reward.rules.compare import normalised

PARALLEL = 64
"""Most verdicts that are asked for at a time."""
MAX_EXAMPLES = 1_000_000
Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


class Example(BaseModel):
    """One labelled answer, a line of the file. Other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=1)
    accepted: tuple[str, ...] = Field(min_length=1)
    answer: str
    right: StrictBool
    category: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a judge said about an example: ``right`` is None where it failed, and ``reason`` says why."""

    example: Example
    right: bool | None
    reason: str


class Rate(NamedTuple):
    """A share with its 95 % interval; all NaN where there is nothing to take a share of."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """Counts of verdicts against labels."""

    right_accepted: int = 0
    right_refused: int = 0
    wrong_accepted: int = 0
    wrong_refused: int = 0
    failed: int = 0
    """Examples without a verdict; they are in no rate."""

    @property
    def judged(self) -> int:
        """Examples with a verdict."""
        return self.right_accepted + self.right_refused + self.wrong_accepted + self.wrong_refused

    @property
    def agreement(self) -> Rate:
        """Share of the verdicts that are as labelled."""
        return wilson(self.right_accepted + self.wrong_refused, self.judged)

    @property
    def false_accepts(self) -> Rate:
        """Share of the wrong answers that were accepted."""
        return wilson(self.wrong_accepted, self.wrong_accepted + self.wrong_refused)

    @property
    def false_rejects(self) -> Rate:
        """Share of the right answers that were refused."""
        return wilson(self.right_refused, self.right_accepted + self.right_refused)

    @property
    def kappa(self) -> Rate:
        """Cohen's kappa, (p_o - p_e) / (1 - p_e), with the interval of Cohen's standard error.

        The standard error is sqrt(p_o (1 - p_o) / (n (1 - p_e)²)) (Cohen 1960, Educational and Psychological
        Measurement 20); the interval is cut at -1 and 1. NaN where chance alone agrees always: all labels and verdicts
        are the same.
        """
        n = self.judged
        if n == 0:
            return _NOTHING
        observed = (self.right_accepted + self.wrong_refused) / n
        right, accepted = self.right_accepted + self.right_refused, self.right_accepted + self.wrong_accepted
        chance = (right * accepted + (n - right) * (n - accepted)) / n**2
        if chance == 1.0:
            return _NOTHING
        value = (observed - chance) / (1 - chance)
        half = Z_95 * math.sqrt(observed * (1 - observed) / n) / (1 - chance)
        return Rate(value, max(-1.0, value - half), min(1.0, value + half))


_NOTHING = Rate(math.nan, math.nan, math.nan)


def wilson(hits: int, n: int) -> Rate:
    """``hits`` of ``n`` with the 95 % score interval (Wilson 1927, JASA 22); NaN for ``n`` = 0."""
    if n == 0:
        return _NOTHING
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # At the ends the interval ends there, which rounding misses.
    return Rate(share, 0.0 if hits == 0 else centre - half, 1.0 if hits == n else centre + half)


def confusion(outcomes: Iterable[Outcome]) -> Confusion:
    """Count ``outcomes``."""
    seen = [(outcome.example.right, outcome.right) for outcome in outcomes]
    return Confusion(
        right_accepted=seen.count((True, True)),
        right_refused=seen.count((True, False)),
        wrong_accepted=seen.count((False, True)),
        wrong_refused=seen.count((False, False)),
        failed=seen.count((True, None)) + seen.count((False, None)),
    )


def read_examples(file: Path) -> list[Example]:
    """The examples in a JSON-lines file. Raises ``OsvlError`` that names the first line that is none."""
    examples: list[Example] = []
    try:
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                examples.append(_example(line, f"{file}:{number}"))
                if len(examples) > MAX_EXAMPLES:
                    raise OsvlError(f"{file}: over {MAX_EXAMPLES:,} examples; judge a sample of them")
    except (OSError, UnicodeDecodeError) as error:
        raise OsvlError(f"{file}: cannot be read: {error}") from error
    if not examples:
        raise OsvlError(f"{file}: holds no example; a line is a JSON object with question, accepted, answer and right")
    return examples


def _example(line: str, place: str) -> Example:
    try:
        example = Example.model_validate_json(line)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise OsvlError(f"{place}: {where + ': ' if where else ''}{first['msg']}") from None
    if not any(map(normalised, example.accepted)):
        raise OsvlError(f"{place}: accepted: holds nothing to compare with")
    return example


async def judge_examples(
    judge: AccuracyJudge, examples: Sequence[Example], done: Callable[[], object] = lambda: None
) -> list[Outcome]:
    """What ``judge`` says about each of ``examples``, in their order; ``done`` is called after each verdict."""
    # So that no deadline runs while a verdict only waits for the others.
    turn = asyncio.Semaphore(PARALLEL)

    async def one(example: Example) -> Outcome:
        async with turn:
            try:
                verdict = await judge.judge(example.question, example.accepted, example.answer)
            except JudgeFailed as failed:
                return Outcome(example, None, str(failed))
            finally:
                done()
        return Outcome(example, verdict.right, verdict.reason)

    return list(await asyncio.gather(*(one(example) for example in examples)))
