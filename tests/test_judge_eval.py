"""Agreement between verdicts and labels, against figures worked out by hand or published."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import JudgeFailed, OsvlError
from osvl_plugins.judge_eval import PARALLEL, Confusion, Example, confusion, judge_examples, read_examples, wilson
from osvl_plugins.reward.judge import Verdict

GOOD = {"question": "Since when?", "accepted": ["1531"], "answer": "1531", "right": True}


def example(answer: str, right: bool) -> Example:
    return Example(question="q", accepted=("a",), answer=answer, right=right)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    rate = wilson(hits, n)
    assert (rate.value, rate.low, rate.high) == pytest.approx((hits / n, low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share(counts: tuple[int, int]) -> None:
    rate = wilson(*counts)
    assert 0.0 <= rate.low <= rate.value <= rate.high <= 1.0


def test_rates_of_a_confusion_worked_out_by_hand() -> None:
    # 25 right and 25 wrong answers; 30 accepted, 20 refused: p_o = 35/50, p_e = (25·30 + 25·20)/2500 = 1/2.
    counts = Confusion(right_accepted=20, right_refused=5, wrong_accepted=10, wrong_refused=15, failed=3)
    assert counts.judged == 50
    assert counts.agreement.value == pytest.approx(0.7)
    assert counts.false_accepts.value == pytest.approx(10 / 25)
    assert counts.false_rejects.value == pytest.approx(5 / 25)
    assert counts.kappa.value == pytest.approx(0.4)
    # 1.959964 · sqrt(0.7 · 0.3 / 50) / 0.5 = 0.254041
    assert (counts.kappa.low, counts.kappa.high) == pytest.approx((0.145959, 0.654041), abs=1e-6)


def test_a_judge_that_is_always_wrong_has_kappa_minus_1() -> None:
    counts = Confusion(right_refused=5, wrong_accepted=5)
    assert counts.kappa == pytest.approx((-1.0, -1.0, -1.0))
    assert (counts.agreement.value, counts.false_accepts.value, counts.false_rejects.value) == (0.0, 1.0, 1.0)


def test_a_judge_that_accepts_everything_agrees_by_chance_alone() -> None:
    assert Confusion(right_accepted=9, wrong_accepted=1).kappa.value == 0.0


def test_what_there_is_nothing_of_has_no_rate() -> None:
    assert math.isnan(Confusion(right_accepted=5).false_accepts.value)
    assert math.isnan(Confusion(right_accepted=5).kappa.value)
    assert math.isnan(Confusion(failed=5).agreement.value)


class ByAnswer:
    """Accepts "yes", refuses "no", fails at anything else."""

    name, version = "by answer", "1"

    def __init__(self) -> None:
        self.running = self.most = 0

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if answer not in ("yes", "no"):
            raise JudgeFailed("cannot be read")
        return Verdict(answer == "yes")


async def test_every_cell_counts_what_it_says() -> None:
    given = [("yes", True)] * 2 + [("no", True)] * 3 + [("yes", False)] * 4 + [("no", False)] * 5
    given += [("?", True), ("?", False)]
    outcomes = await judge_examples(ByAnswer(), [example(*each) for each in given])
    assert [(outcome.example.answer, outcome.example.right) for outcome in outcomes] == given
    assert confusion(outcomes) == Confusion(2, 3, 4, 5, failed=2)


async def test_no_more_verdicts_than_the_bound_are_asked_for_at_a_time() -> None:
    judge = ByAnswer()
    await judge_examples(judge, [example("yes", True)] * (3 * PARALLEL))
    assert judge.most == PARALLEL


def test_examples_are_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({**GOOD, "category": "years", "source": "ignored"}) + "\n\n" + json.dumps(GOOD))
    assert [each.category for each in read_examples(file)] == ["years", ""]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", r"a\.jsonl:2: Invalid JSON"),
        (json.dumps({**GOOD, "right": "yes"}), r"a\.jsonl:2: right: "),
        (json.dumps({**GOOD, "accepted": "1531"}), r"a\.jsonl:2: accepted: "),
        (json.dumps({**GOOD, "accepted": ["", " - "]}), r"a\.jsonl:2: accepted: holds nothing to compare with"),
        (json.dumps({"question": "q"}), r"a\.jsonl:2: accepted: "),
    ],
)
def test_a_wrong_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + line)
    with pytest.raises(OsvlError, match=says):
        read_examples(file)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_examples_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    with pytest.raises(OsvlError, match=r"a\.jsonl: (holds no example|cannot be read)"):
        read_examples(file)
