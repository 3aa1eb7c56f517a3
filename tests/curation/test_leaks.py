"""What gives a name away, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.curation.leaks import first_leak, names_of, without

GIVEN_AWAY = [
    ("What is the capital of Norway?", "Norway"),
    ("What is NORWAY'S capital?", "Norway"),
    ("the Norways of this world", "Norway"),
    ("the area of São Tomé", "Sao Tome"),
    ("the area of Sao Tome", "São Tomé"),
    ("the Kazakhstani tenge", "Kazakhstan"),
    ("an Italian city", "Italy"),
    ("the German word", "Germany"),
    ("the Cote d’Ivoire", "Côte d'Ivoire"),
    ("挪威的首都是哪里?", "挪威"),
    ("首都オスロの人口は?", "オスロ"),
    ("Which country is IT?", "IT"),
    ("paid in $ or in gold", "$"),
    ("sites under .in", ".in"),
    ("the number 27 of them", "27"),
    ("a bird called Ox", "Ox"),
]
KEPT = [
    ("Where is it?", "IT"),
    ("the city in the picture", ".in"),
    ("a question about the normandy landing", "Norma"),
    ("the number 127 of them", "27"),
    ("the United Kingdom", "United States"),
    ("a nigerian film", "Niger River"),
    ("the European continent", "Euro"),
    ("丹麦的首都", "挪威"),
]


@pytest.mark.parametrize(("text", "name"), GIVEN_AWAY)
def test_a_name_is_given_away(text: str, name: str) -> None:
    assert first_leak(text, ["elsewhere", name]) == name


@pytest.mark.parametrize(("text", "name"), KEPT)
def test_a_name_is_not_given_away(text: str, name: str) -> None:
    assert first_leak(text, [name]) is None


@given(
    st.text("abcdefgxyz", min_size=4, max_size=12),
    st.sampled_from(["", " ", ", ", "? ", "'s "]),
    st.sampled_from([str.upper, str.title, str]),
)
def test_case_and_punctuation_hide_no_name(name: str, end: str, case: type[str]) -> None:
    assert first_leak(f"so what of ({case(name)}{end} now?", [name]) == name


def test_a_page_is_named_by_title_alias_and_demonym_and_not_by_its_other_facts() -> None:
    page = Page(
        "georgia",
        "Georgia (country)",
        "country",
        "",
        (Fact("demonym", "Georgian"), Fact("capital", "Tbilisi", "tbilisi")),
        aliases=("Sakartvelo",),
    )
    assert set(names_of(page)) == {"Georgia (country)", "Georgia", "Sakartvelo", "Georgian"}


def test_what_follows_a_comma_is_no_part_of_the_name() -> None:
    assert "Paris" in names_of(Page("p", "Paris, Texas", "city", ""))


def test_a_longer_name_is_taken_out_before_the_shorter_one_in_it() -> None:
    assert without("Mexico City in Mexico, not Mexicos", ["Mexico", "Mexico City"]) == "… in …, not Mexicos"
