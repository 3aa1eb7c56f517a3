"""The rules against people's labels, and what must hold for any text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.reward.answer import MAX_ANSWER_CHARS
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.reward.rules import Comparison, Rules
from osvl_plugins.reward.rules.text import normalise, token_f1

TRIPLES = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "triples.jsonl").read_text("utf-8").splitlines()
]
RIGHT = [row for row in TRIPLES if Rules().compare(row["question"], row["accepted"], row["answer"]).right]
PLACES = sorted(
    {row["accepted"][0] for row in TRIPLES if row["accepted"][0].isalpha() and row["accepted"][0].istitle()}
)
ANY = st.text(
    st.characters(codec="utf-8") | st.sampled_from("0123456789 .,:;-/()$%°^'\"\\{}<>+×½²一二百万年月日是AaBb"),
    max_size=120,
)


def compare(answer: str, *accepted: str, question: str = "") -> bool | None:
    return Rules().compare(question, accepted, answer).right


@pytest.mark.parametrize("split", ["tune", "held_out"])
def test_the_rules_agree_with_careful_people(split: str) -> None:
    rows = [row for row in TRIPLES if row["split"] == split]
    credited = [row for row in RIGHT if row["split"] == split]
    hits = sum(row["right"] for row in credited)
    assert hits / len(credited) >= 0.99
    assert hits / sum(row["right"] for row in rows) >= 0.9


def test_the_triples_are_many_and_in_both_splits() -> None:
    assert len(TRIPLES) >= 320
    shares = {row["category"]: [] for row in TRIPLES}
    for row in TRIPLES:
        shares[row["category"]].append(row["split"] == "held_out")
    assert all(0.2 < sum(held) / len(held) < 0.5 for held in shares.values())


@pytest.mark.parametrize(
    ("gold", "answer"), [("the Netherlands", "Holland"), ("bronze", "an alloy of copper and tin"), ("Oslo", "Bergen")]
)
def test_other_words_may_mean_the_same(gold: str, answer: str) -> None:
    assert Rules().compare("?", [gold], answer).right is None


@pytest.mark.parametrize("answer", ["not Oslo", "Oslo or Bergen", "Oslo; Bergen", ""])
def test_a_contradiction_is_wrong_and_no_doubt(answer: str) -> None:
    assert compare(answer, "Oslo") is False


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("It was Oslo when the fjord froze in the winter of that year, say the annals.", "Oslo"),
        ("the capital, which was moved there from Bergen in 1314", "Oslo since 1314, before Bergen, so the annals, "
         "which were written much later, say of the capital"),
        ("Twain", "Mark Twain"),
        ("奥斯陆", "Oslo"),
        ("03/04/1952", "3 April 1952"),
        ("20", "$20"),
        ("1984", "the 1980s"),
    ],
)  # fmt: skip
def test_the_rules_say_so_when_they_cannot_tell(answer: str, gold: str) -> None:
    assert compare(answer, gold) is None


async def test_what_the_rules_cannot_tell_scores_nothing() -> None:
    assert (await RuleJudge().judge("", ["Mark Twain"], "Twain")).right is False


@pytest.mark.parametrize("accepted", [[], [""], ["the"], ["..."]])
def test_a_question_without_an_answer_cannot_be_compared(accepted: list[str]) -> None:
    with pytest.raises(ValueError, match="no accepted answer"):
        Rules().compare("?", accepted, "Oslo")


def test_a_look_alike_makes_nothing_right() -> None:
    assert not compare("Osl\u043e", "Oslo")
    assert not compare("P\u0430ris", "Paris")


def test_a_single_letter_is_an_answer() -> None:
    assert compare("A", "A")
    assert compare("(a)", "A")
    assert not compare("B", "A")


def test_the_share_of_words_is_reported_and_decides_nothing() -> None:
    assert Rules().compare("", ["Girl with a Pearl Earring"], "a girl with a red hat").f1 == pytest.approx(6 / 11)
    assert token_f1("北京大学", "北京") == pytest.approx(2 / 3)
    assert Rules().compare("", ["Oslo"], "Oslo") == Comparison(True, "the same words", 1.0)


@pytest.mark.parametrize(
    "question", ["Which is longer, the Nile or the Rhine?", "Which of the Nile and the Rhine is longer?"]
)
@pytest.mark.parametrize(
    "answer", ["The Rhine is longer than the Nile", "The Rhine is the Nile", "the Rhine, the Nile"]
)
def test_a_question_that_offers_answers_lends_no_frame(question: str, answer: str) -> None:
    assert not compare(answer, "Nile", question=question)


@given(ANY)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(ANY, ANY, ANY)
def test_no_text_breaks_the_comparison(question: str, gold: str, answer: str) -> None:
    assert Rules().compare(question, [gold, "Oslo"], answer).right in (True, False, None)


@given(st.sampled_from(RIGHT), ANY)
def test_one_more_alias_never_makes_a_right_answer_wrong(row: dict[str, Any], alias: str) -> None:
    for accepted in ([*row["accepted"], alias], [alias, *row["accepted"]]):
        assert compare(row["answer"], *accepted, question=row["question"])


@given(st.sampled_from(sorted({gold for row in TRIPLES for gold in row["accepted"]})))
def test_every_accepted_answer_is_itself(gold: str) -> None:
    assert compare(gold, gold)


@given(
    st.sampled_from(PLACES),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
    st.sampled_from(
        ["{}", " {} ", "{}.", '"{}"', "“{}”", "({})", "{}!", "\n{}\n", "**{}**", "the {}", "{}\u200b", "\\boxed{{{}}}"]
    ),
)
def test_case_space_and_punctuation_around_do_not_matter(gold: str, case: Any, around: str) -> None:
    assert compare(around.format(case(gold)), gold)


@given(st.sampled_from(PLACES), st.sampled_from(PLACES))
def test_equal_words_are_equal_both_ways(one: str, other: str) -> None:
    assert (compare(one, other) is True) == (compare(other, one) is True)


FRAGMENTS = [
    "a", "1", " ", "1 ", "one ", "1,", "1.", "-", "1-", "A. ", "(A) ", "and ", "(", "((", "{", r"\boxed{", "<think>",
    "<response>", "$", "*a ", "_a ", "`", "~~a ", r"\frac{1}{", r"\text{", "is ", "the ", "it is ", "Oslo is ",
    "Oslo, ", "一", "万", "1952年", "是", "北京是", "\u0301", "\u200b", ".",
    "; ", "1/", "1:", "5 May ", "fifth ", "'", "J. ",
    "1 h ", "10^", "×10", "½", "²", "more than ", "answer: ",
]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fragment", FRAGMENTS, ids=ascii)
def test_a_repeated_fragment_is_compared_without_backtracking_forever(fragment: str) -> None:
    flood = (fragment * MAX_ANSWER_CHARS)[: MAX_ANSWER_CHARS - 1]
    for gold in (
        "Oslo",
        "206",
        "5 May 1952",
        "yes",
        "Johann Sebastian Bach",
        "8,849 m",
        "40-50",
        "Hamar, Lom and Voss",
    ):
        for end in ("!", "1"):
            assert compare(flood + end, gold, question="How high in metres? A. Lom B. Voss") in (False, None)
    assert compare("Oslo", flood, "Oslo", question=flood)


def test_an_accepted_answer_that_is_prose_around_a_box_is_what_stands_in_the_box() -> None:
    accepted = [r"The picture shows the Eiffel Tower, which stands in **\boxed{Paris}**, and not in Lyon."]
    assert Rules().compare("In which city is it?", accepted, "Paris").right
    assert not Rules().compare("In which city is it?", accepted, "Lyon").right
