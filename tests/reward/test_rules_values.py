"""Reading numbers, quantities, ranges, dates, names and choices."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.reward.rules import Rules
from osvl_plugins.reward.rules.choices import options_of, picks
from osvl_plugins.reward.rules.dates import Date, read_dates, says_date
from osvl_plugins.reward.rules.names import same_name
from osvl_plugins.reward.rules.numerals import han_value, read_number
from osvl_plugins.reward.rules.quantities import read_quantities
from osvl_plugins.reward.rules.ranges import read_ranges


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12,345", 12345), ("12 345", 12345), ("-89.2", Fraction("-89.2")), ("minus 89.2", Fraction("-89.2")),
        ("1.2 million", 1_200_000), ("6.022e3", 6022), ("6.022 × 10^3", 6022), ("10²", 100), ("1½", Fraction(3, 2)),
        ("two hundred and six", 206), ("fifteen hundred", 1500), ("twenty-one", 21), 
        ("one million two thousand", 1_002_000),
        ("a dozen", 12), ("one half", Fraction(1, 2)), ("一百二十三", 123), ("一万五", 15000), ("两千零五", 2005),
        ("一亿二千万", 120_000_000), ("120万", 1_200_000), ("1.3亿", 130_000_000), ("百分之七十八", Fraction("0.78")),
    ],
)  # fmt: skip
def test_a_number_is_read_exactly(text: str, value: Fraction) -> None:
    assert value in [quantity.value for quantity in read_quantities(text)]


@pytest.mark.parametrize(
    "text", ["007", "12 or 13", "two or three", "1e999", "1" * 100, "12,34", "206 × 2", "Oslo", "", "-"]
)
def test_what_is_no_single_number_is_not_read(text: str) -> None:
    assert read_quantities(text) == ()


@given(st.integers(0, 10**15))
def test_figures_are_read_back(value: int) -> None:
    for text in (str(value), f"{value:,}", f"{value:_}".replace("_", "\u202f")):
        assert [quantity.value for quantity in read_quantities(text)] == [value]


@pytest.mark.parametrize("text", ["一二百", "十十", "百百", "万", "一百二百", ""])
def test_nonsense_in_chinese_numerals_has_no_value(text: str) -> None:
    assert han_value(text) is None


def test_an_ordinal_is_told_from_a_cardinal() -> None:
    assert [read_number(text).ordinal for text in ("16th", "sixteenth", "16")] == [True, True, False]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("gold", "said", "same"),
    [
        ("8,849 m", "8.849 km", True), ("8,849 m", "29,032 ft", True), ("8,849 m", "8,849 ft", False),
        ("100 °C", "212 °F", True), ("1 m^2", "1 m", False), ("$20", "€20", False), ("$20", "20 dollars", True),
        ("20 pounds", "£20", True), ("20 pounds", "20 lb", True), ("2 h 22 min", "142 minutes", True),
        ("6 ft 2 in", "6'2\"", True), ("1 year", "365 days", False), ("300 km/h", "83.3 m/s", True),
    ],
)  # fmt: skip
def test_units_are_converted_within_a_dimension(gold: str, said: str, same: bool) -> None:
    assert Rules().compare("", [gold], said).right is same


@pytest.mark.parametrize(
    ("gold", "said", "same"),
    [
        ("3.14", "3.14159", True), ("3.14", "3.146", False), ("3.14159", "3.14", False), ("206", "206.3", False),
        ("1.2 million", "1,213,000", True), 
        ("1,213,000", "1.2 million", False), ("78%", "78.08%", True), ("1 km", "0.9 miles", False),
        ("2.5 kg", "2.4 kg", False), ("300 km/h", "200 mph", False),
    ],
)  # fmt: skip
def test_only_the_rounding_of_the_accepted_answer_is_forgiven(gold: str, said: str, same: bool) -> None:
    assert Rules().compare("", [gold], said).right is same


@pytest.mark.parametrize(
    ("question", "gold", "said", "right"),
    [
        ("How tall is it in metres?", "8,849", "8,849 m", True),
        ("How tall is it in metres?", "8,849", "8,849 ft", False),
        ("How tall is it?", "8,849", "8,849 m", None), ("How many bones are there?", "206", "206 bones", True),
        ("How many bones are there?", "206", "206 muscles", None), ("这塔高多少米？", "30", "30米", True),
        ("Which version is it?", "3.10", "3.1", None),
    ],
)  # fmt: skip
def test_the_question_lends_its_unit_and_its_noun(question: str, gold: str, said: str, right: bool | None) -> None:
    assert Rules().compare(question, [gold], said).right is right


def test_a_range_is_its_two_ends_in_their_order() -> None:
    ends = [[(low.value, high.value) for low, high in read_ranges(text)] for text in ("3-2", "3:2", "3 to 2", "2-3")]
    assert ends == [[(3, 2)]] * 3 + [[(2, 3)]]


@pytest.mark.parametrize(
    ("text", "date"),
    [
        *((text, Date(1952, 5, 5)) for text in (
            "5 May 1952", "May 5th, 1952", "the fifth of May 1952", "1952-05-05", "05.05.1952", "1952年5月5日",
            "一九五二年五月五日", "Monday, 5 May 1952", "5-May-1952",
        )),
        ("May 1952", Date(1952, 5)), ("1952", Date(1952)), ("14 July", Date(month=7, day=14)), ("44 BC", Date(-44)),
        ("公元前44年", Date(-44)), ("the 1980s", Date(decade=1980)), ("20世纪80年代", Date(decade=1980)),
        ("the thirteenth century", Date(century=13)), ("公元前3世纪", Date(century=-3)), ("2:30 pm", Date(minute=870)),
        ("14:30", Date(minute=870)),
    ],
)  # fmt: skip
def test_a_date_is_read_in_every_form(text: str, date: Date) -> None:
    assert read_dates(text) == (date,)


@pytest.mark.parametrize(
    "text", ["31 February 1999", "1952-13-01", "after 1952", "1952 or 1953", "5 Mai Oslo", "0206", "25:00"]
)
def test_what_is_no_date_is_not_read(text: str) -> None:
    assert read_dates(text) == ()


def test_day_and_month_may_be_either_way_round_only_where_both_exist() -> None:
    assert set(read_dates("3/4/1952")) == {Date(1952, 4, 3), Date(1952, 3, 4)}
    assert read_dates("20/7/1969") == (Date(1969, 7, 20),)


@given(st.dates())
def test_a_date_says_itself_and_its_year_but_the_year_does_not_say_it(day: object) -> None:
    (read,) = read_dates(str(day))
    year = Date(read.year)
    assert says_date(read, read)
    assert says_date(year, read)
    assert not says_date(read, year)


@pytest.mark.parametrize(
    ("gold", "said", "same"),
    [
        ("Johann Sebastian Bach", "J. S. Bach", True), ("Johann Sebastian Bach", "J.S. Bach", True),
        ("Johann Sebastian Bach", "JS Bach", True), ("Johann Sebastian Bach", "Bach, Johann Sebastian", True),
        ("Johann Sebastian Bach", "C. P. E. Bach", None),
        ("William Clinton", "Bill Clinton", None), ("Johann Sebastian Bach", "Bach", None),
        ("Marie Curie", "Pierre Curie", False), ("Marie Curie", "Dr. Marie Curie", True), 
        ("J. Smith", "John Smith", None),
        ("George W. Bush", "George Walker Bush", True), ("Ludwig van Beethoven", "Ludwig Beethoven", True),
        ("Elizabeth I", "Elizabeth II", False), ("Henry VIII", "Henry the Eighth", True), ("Rocky II", "Rocky 2", True),
        ("George Washington", "Mrs George Washington", None), ("Prince Edward Island", "Edward Island", None),
        ("John F. Kennedy", "John F. Kennedy Jr.", None),
    ],
)  # fmt: skip
def test_names_are_compared_as_people_write_them(gold: str, said: str, same: bool | None) -> None:
    assert same_name(gold, said) is same


def test_the_options_of_a_question_are_read() -> None:
    expected = {"A": "Lyon", "B": "Paris", "C": "Nice"}
    assert (
        options_of("Which? A. Lyon B. Paris C. Nice") == options_of("Which? (A) Lyon, (B) Paris, (C) Nice") == expected
    )
    assert options_of("哪个？A、Lyon B、Paris C、Nice") == expected
    assert options_of("Who was J. A. Brown?") == {}


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("B", "B"), ("(b)", "B"), ("B. Paris", "B"), ("Paris", "B"), ("Option B", "B"), ("A. Paris", ""),
        ("A, B", "AB"), ("BA", "AB"),
    ],
)  # fmt: skip
def test_an_option_is_picked_by_letter_by_text_or_by_both_alike(text: str, letters: str) -> None:
    assert picks({"A": "Lyon", "B": "Paris"}, text) == frozenset(letters)


def test_no_option_is_picked_by_other_words() -> None:
    assert picks({"A": "Lyon", "B": "Paris"}, "Berlin") is None
