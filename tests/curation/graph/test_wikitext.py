"""Reading wikitext: what is found in real articles, and that nothing breaks the reader."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.curation.graph.article import Article, ArticleFact, NodeFlag
from osvl_plugins.curation.graph.infobox import read_infobox, read_value
from osvl_plugins.curation.graph.kinds import kind_flags
from osvl_plugins.curation.graph.markup import blank
from osvl_plugins.curation.graph.names import normal_title
from osvl_plugins.curation.graph.wikitext import ENGLISH_NAMESPACES, MAX_TEXT_CHARS, Rejected, read_article, read_links

MARKS = [
    "{{",
    "}}",
    "[[",
    "]]",
    "|",
    "{|",
    "|}",
    "<ref>",
    "</ref>",
    "<!--",
    "-->",
    "<nowiki>",
    "\n",
    "=",
    "''",
    "&amp;",
]


def read(text: str, title: str = "Thing") -> Article:
    found = read_article("1", title, text)
    assert isinstance(found, Article)
    return found


def facts(box: str) -> dict[str, tuple[str, str | None]]:
    return {fact.relation: (fact.value, fact.title) for fact in read("{{Infobox thing\n" + box + "\n}}").facts}


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=300)
def test_no_mutation_of_a_real_article_raises(sample_texts: dict[str, str], seed: int, cuts: int) -> None:
    rng = random.Random(seed)
    text = rng.choice(sorted(sample_texts.values()))[: rng.choice([2_000, 20_000])]
    for _ in range(cuts):
        at = rng.randrange(len(text) + 1)
        action = rng.randrange(3)
        if action == 0:
            text = text[:at] + rng.choice(MARKS) * rng.choice([1, 1, 50]) + text[at:]
        elif action == 1:
            text = text[:at] + text[at + rng.randrange(200) :]
        else:
            text = text[:at] + chr(rng.choice([0, 1, 0x200E, 0xD800, 0x10FFFF])) + text[at:]
    found = read_article("1", "Thing", text)
    if isinstance(found, Article):
        relations = [fact.relation for fact in found.facts]
        assert len(set(relations)) == len(relations)
        assert all(0 <= link.position < len(text) for link in found.links)
        assert len({link.title for link in found.links}) == len(found.links)


@given(st.text(st.sampled_from("{}[]|=<>!-/ref\n* '#a"), max_size=300))
@settings(max_examples=500)
def test_no_text_of_marks_raises(text: str) -> None:
    assert isinstance(read_article("1", "Thing", text), Article | Rejected)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "mark", ["{{", "[[", "[[File:", "{{Infobox|a=", "<ref>", "<!--", "\n{|", "[//", "{{a|b=", "  ", "(;"]
)
def test_a_long_row_of_openings_takes_no_quadratic_time(mark: str) -> None:
    assert read("{{Infobox x|y=" + mark * 200_000).title == "Thing"
    assert read("Start " + mark * 200_000 + "\nend").title == "Thing"


def test_links_are_those_of_a_full_parser(sample_texts: dict[str, str]) -> None:
    mwparserfromhell = pytest.importorskip("mwparserfromhell")
    for title in ("Albedo", "Anthropology", "Apollo 8", "Aikido", "Aardwolf"):
        text = blank(sample_texts[title])
        expected = {normal_title(str(link.title)) for link in mwparserfromhell.parse(text).filter_wikilinks()}
        expected = {name for name in expected if name.partition(":")[0].lower() not in ENGLISH_NAMESPACES} - {""}
        assert {link.title for link in read_links(text, ENGLISH_NAMESPACES)} == expected, title


@pytest.mark.parametrize(
    ("text", "title", "anchor"),
    [
        ("[[wind power]]", "Wind power", "wind power"),
        ("[[Wind_power#Cost|its cost]]", "Wind power", "its cost"),
        ("[[bus]]es", "Bus", "buses"),
        ("[[თბილისი|Tbilisi]]", "თბილისი", "Tbilisi"),
        ("[[élan]]", "Élan", "élan"),
        ("[[:Bus|the ''bus'']]", "Bus", "the bus"),
        ("[[Caf%C3%A9|x]]", "Café", "x"),
        ("[[AT&amp;T]]", "AT&T", "AT&T"),
        ("[[Lincoln|{{nowrap|A. Lincoln}}]]", "Lincoln", "A. Lincoln"),
        ("[[File:X.jpg|thumb|of a [[bus]]]]", "Bus", "bus"),
    ],
)
def test_a_link_has_the_title_that_mediawiki_follows_and_the_text_that_it_shows(
    text: str, title: str, anchor: str
) -> None:
    (link,) = read_links(text, ENGLISH_NAMESPACES)
    assert (link.title, link.anchor) == (title, anchor)
    assert text[link.position :].startswith("[[")


NO_LINKS = [
    "[[Category:Buses]]",
    "[[File:X.jpg]]",
    "[[#Cost]]",
    "[[]]",
    "[[a\nb]]",
    "<!-- [[Bus]] -->",
    "<nowiki>[[Bus]]</nowiki>",
    "<ref>in [[Bus]]</ref>",
]


@pytest.mark.parametrize("text", NO_LINKS)
def test_what_is_no_link_to_an_article_is_none(text: str) -> None:
    assert read_links(blank(text), ENGLISH_NAMESPACES) == []


def test_a_value_that_is_one_link_leads_to_a_page_and_no_other_does() -> None:
    found = facts(
        "| capital = [[Mexico City]]<ref>x</ref>\n| place = [[Paris]], [[France]]\n| seat = near [[Rome]]\n"
        "| tongue = {{nowrap|[[French language|French]]}}<sup>a</sup>\n| land = {{flag|Chad}}\n"
        "| members = {{plainlist|\n* [[A]]\n* [[B]]\n}}\n| chief = [[Ann]]<br>[[Bob]]"
    )
    assert found == {
        "capital": ("Mexico City", "Mexico City"),
        "place": ("Paris, France", None),
        "seat": ("near Rome", None),
        "tongue": ("French", "French language"),
        "land": ("Chad", "Chad"),
        "members": ("A; B", None),
        "chief": ("Ann; Bob", None),
    }


def test_values_of_known_templates_are_read_and_those_of_unknown_ones_left_out() -> None:
    found = facts(
        "| birth_date = {{Birth date and age|1809|2|12|df=y}}\n| length = {{convert|324|m|ft|0}}\n"
        "| area = {{convert|3|to|5|km2}}\n| strange = {{never heard of|7}}\n| rise = {{increase}} 7\n| empty ="
    )
    assert found == {
        "birth date": ("12 February 1809", None),
        "length": ("324 m", None),
        "rise": ("7", None),
    }


def test_what_lays_the_box_out_is_no_fact() -> None:
    assert facts("| name = X\n| image = A.jpg\n| caption = c\n| map_width = 20\n| leader_title1 = King\n| 1 = x") == {}


@pytest.mark.parametrize("value", ["A.jpg", "File:a.jpg", "[[File:A.jpg|200px|alt=x]]", "[[image: a.jpg ]]"])
def test_the_lead_picture_is_the_infoboxs(value: str) -> None:
    found = read(f"{{{{Infobox x\n| image = {value}\n| caption = A [[bus]].\n}}}}\n[[File:B.png]]")
    assert [(picture.file, picture.caption) for picture in found.pictures] == [("A.jpg", "A bus.")]
    assert NodeFlag.PICTURE in found.flags


def test_without_an_infobox_the_lead_picture_stands_before_the_first_heading() -> None:
    assert [picture.file for picture in read("[[File:a b.png|thumb]] x\n== y ==").pictures] == ["A_b.png"]
    assert read("x\n== y ==\n[[File:b.png]]").pictures == ()


def test_an_infobox_without_an_end_has_no_facts_and_the_article_stays() -> None:
    found = read("{{Infobox x\n| capital = [[Rome]]\n\nIt is [[old]].")
    assert found.facts == ()
    assert {link.title for link in found.links} == {"Rome", "Old"}
    assert read_infobox("no box") is None


def test_the_lead_is_plain_text_up_to_the_first_heading() -> None:
    found = read(
        "{{Short description|x}}\n{{Infobox y\n| a = b\n}}\n[[File:Z.jpg|thumb|A [[link]].]]\n"
        "'''Bus''' ({{IPA|x}}) is a [[vehicle|road vehicle]]<ref>a</ref> of {{convert|12|m|ft}}.\n"
        "{| class=x\n| cell\n|}\n== History ==\nLater."
    )
    assert found.lead == "Bus is a road vehicle of 12 m."


@pytest.mark.parametrize(
    ("title", "flag"),
    [
        ("List of rivers", NodeFlag.LIST),
        ("河流列表", NodeFlag.LIST),
        ("Mercury (disambiguation)", NodeFlag.DISAMBIGUATION),
        ("Smith (surname)", NodeFlag.DISAMBIGUATION),
        ("1984", NodeFlag.DATE),
        ("44 BC", NodeFlag.DATE),
        ("March 14", NodeFlag.DATE),
        ("1990s", NodeFlag.DATE),
        ("20th century", NodeFlag.DATE),
        ("2010 in film", NodeFlag.DATE),
        ("3月14日", NodeFlag.DATE),
        ("Nineteen Eighty-Four", NodeFlag(0)),
        ("March of Ancona", NodeFlag(0)),
        ("Listening", NodeFlag(0)),
    ],
)
def test_lists_disambiguation_and_dates_are_told_by_their_title(title: str, flag: NodeFlag) -> None:
    assert kind_flags(title) == flag


@pytest.mark.parametrize("template", ["disambiguation", "Disambig|geo", "hndis", "surname", "Set index article"])
def test_disambiguation_is_told_by_its_template(template: str) -> None:
    assert kind_flags("Ada", f"Ada may be\n{{{{{template}}}}}") == NodeFlag.DISAMBIGUATION


def test_what_is_empty_or_too_long_is_rejected_with_the_reason() -> None:
    assert read_article("1", "X", " \n") == Rejected("X", "no_text")
    assert read_article("1", "X", "x" * (MAX_TEXT_CHARS + 1)) == Rejected("X", "too_long")


@pytest.mark.parametrize("value", ["", "{{unknown}}", "x" * 400])
def test_a_line_that_cannot_be_read_has_no_value(value: str) -> None:
    assert read_value(value) is None


def test_a_real_infobox_is_read_as_a_reader_sees_it(sample_texts: dict[str, str]) -> None:
    found = {fact.relation: fact for fact in read(sample_texts["Albania"], "Albania").facts}
    assert found["capital"] == ArticleFact("capital", "Tirana", "Tirana")
    assert found["currency"] == ArticleFact("currency", "Lek", "Albanian lek")
    assert found["official languages"] == ArticleFact("official languages", "Albanian", "Albanian language")
    assert found["population estimate"] == ArticleFact("population estimate", "2,886,026")
    assert found["government type"].title is None
