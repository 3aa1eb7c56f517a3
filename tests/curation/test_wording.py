"""Rules that hold for every wording."""

from __future__ import annotations

import pytest

from osvl_plugins.curation.language.protocol import Wording
from osvl_plugins.curation.wording import Rules, find_fault

RULES = Rules(
    named=("Mexico City",),
    hidden=("Mexico", "Mexican"),
    answers=("Spanish", "Castilian"),
    before="What is spoken in Mexico?",
    replaced="Mexico",
)
GOOD = "What is spoken in the country whose capital is Mexico City?"
PHRASE = "the country whose capital is Mexico City"
FAULTS = {
    "a statement": (GOOD[:-1] + ".", PHRASE, "malformed"),
    "several lines": (f"Sure!\n{GOOD}", PHRASE, "malformed"),
    "a refusal": ("I cannot help with that.", "", "malformed"),
    "endless": ("the " * 300 + GOOD, PHRASE, "malformed"),
    "without the phrase": (GOOD, "the land of Mexico City", "phrase_missing"),
    "an empty phrase": (GOOD, "", "phrase_missing"),
    "without the known name": ("What is spoken in that country?", "that country", "name_missing"),
    "another question": ("Who rules the country whose capital is Mexico City?", PHRASE, "other_question"),
    "with the replaced name": (f"In Mexico, {GOOD}", PHRASE, "name_shown"),
    "with what is derived from it": (f"Of the Mexicans: {GOOD}", PHRASE, "name_shown"),
    "with the answer": (f"Is Spanish {GOOD}", PHRASE, "answer_shown"),
    "with another name of the answer": (f"Is CASTILIAN {GOOD}", PHRASE, "answer_shown"),
}


def test_a_good_wording_has_no_fault() -> None:
    assert find_fault(Wording(GOOD, PHRASE), RULES) is None


@pytest.mark.parametrize(("question", "phrase", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named(question: str, phrase: str, fault: str) -> None:
    found = find_fault(Wording(question, phrase), RULES)
    assert found is not None
    assert found[0] == fault
