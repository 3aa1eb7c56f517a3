from __future__ import annotations

import pytest

from osvl_plugins.corpus.gcompris import Places, board_entries, credits_by_file, first_sentence
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.paintings import read_label
from osvl_plugins.errors import CorpusError

BOARD = """
QtObject {
    property var tab: [
        { "title": qsTr("Petra"), "text": qsTr("A \\"rose\\" city."), "x": "0.5", "y": 0.4 },
        { "title": qsTr("Taj Mahal, India"), "image2": "qrc:/a/tajMahal.webp" }
    ]
}
"""

README = """Copyright: Yann
License: CC-BY-SA 4.0
Source: https://example.org/a.jpg
Files:
wonders/tajMahal.webp
key.svg

Copyright: Ann
License: Public Domain
Files:
petra.webp
"""


def test_a_boards_entries_are_read_in_order() -> None:
    first, second = board_entries(BOARD)
    assert first == {"title": "Petra", "text": 'A "rose" city.', "x": "0.5"}
    assert second["image2"] == "qrc:/a/tajMahal.webp"


def test_each_file_has_the_credit_of_its_block() -> None:
    credits = credits_by_file(README)
    assert credits["tajMahal.webp"].author == "Yann"
    assert credits["key.svg"].origin == "https://example.org/a.jpg"
    assert (credits["petra.webp"].licence, credits["petra.webp"].origin) == ("Public Domain", "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("It stands on an old hill. It is big.", "It stands on an old hill."),
        ("Set on 20 acres in St. Augustine, it is big. Old too.", "Set on 20 acres in St. Augustine, it is big."),
        ("It is the oldest one of them all", "It is the oldest one of them all"),
    ],
)
def test_the_first_sentence_does_not_end_at_an_abbreviation(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def places() -> Places:
    pages = [
        Page("africa", "Africa", "continent", ""),
        Page("asia", "Asia", "continent", ""),
        Page("india", "India", "country", "", (Fact("continent", "Asia", "asia"), Fact("demonym", "Indian"))),
        Page("biot", "British Indian Ocean Territory", "country", "", (Fact("demonym", "Indian"),)),
        Page("south-africa", "South Africa", "country", "", (Fact("continent", "Africa", "africa"),)),
        Page("delhi", "New Delhi", "city", "", (Fact("country", "India", "india"),)),
    ]
    return Places({page.id: page for page in pages})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("an Indian city", {"country": "india", "continent": "asia"}),
        ("New Delhi's gate", {"country": "india", "continent": "asia"}),
        ("it lives in South Africa", {"country": "south-africa", "continent": "africa"}),
        ("it lives in Africa and India", {"continent": "africa"}),
        ("in India or South Africa", {}),
        ("nowhere", {}),
    ],
)
def test_a_text_places_a_thing_only_where_it_names_one_place(text: str, expected: dict[str, str]) -> None:
    assert {fact.relation: fact.target for fact in places().facts(text)} == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Katsushika Hokusa, Poppies - 1833-1834", ("Katsushika Hokusai", "Poppies", "1833-1834")),
        ("Leonardo da Vinci, Mona Lisa - 1503-19", ("Leonardo da Vinci", "Mona Lisa", "1503-1519")),
        (
            "Utagawa Hiroshige, Horse-mackerel and Prawn - 1840.",
            ("Utagawa Hiroshige", "Horse-mackerel and Prawn", "1840"),
        ),
        ("Katsushika Hokusai, Woman holding a fan", ("Katsushika Hokusai", "Woman holding a fan", "")),
    ],
)
def test_a_paintings_label_gives_artist_title_and_years(label: str, expected: tuple[str, str, str]) -> None:
    assert read_label(f'property string instruction: qsTr("{label}")') == expected


def test_a_board_without_label_is_refused() -> None:
    with pytest.raises(CorpusError, match="no label"):
        read_label("QtObject {}")
