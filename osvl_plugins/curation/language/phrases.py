"""English words for relations, kinds of pages and pictures."""

from __future__ import annotations

import re
from typing import NamedTuple

from osvl_plugins.reward.rules.text import vocabulary

GENERIC_KIND = "subject"
KIND_WORDS = {
    "article": GENERIC_KIND,
    "artist": "painter",
    "region": "region of the world",
    "settlement": "place",
    "uk place": "place",
    "officeholder": "person",
    "biography": "person",
    "royalty": "person",
    "monarch": "person",
    "scientist": "scientist",
    "musical artist": "musician or band",
    "sportsperson": "athlete",
    "football biography": "footballer",
    "football club": "football club",
    "military person": "soldier",
    "military conflict": "conflict",
    "military unit": "military unit",
    "nrhp": "historic place",
    "video game": "video game",
    "vg": "video game",
    "television": "television series",
    "speciesbox": "species",
    "automatic taxobox": "group of organisms",
    "taxobox": "group of organisms",
    "chembox": "chemical compound",
    "drugbox": "drug",
    "geobox": "place",
}
"""The word for a page's kind, where it is not the kind itself."""
_READABLE = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*")


class Phrase(NamedTuple):
    """Words for one relation, "{}" standing for the page that is known.

    ``of``: noun phrases for the page that the relation leads to. ``whose``: what follows the kind of a page whose
    relation leads to the known one. ``ask``: questions for the value. ``broad``: that many pages share a value is the
    rule, so that ``whose`` only narrows down and never identifies.
    """

    of: tuple[str, ...]
    whose: tuple[str, ...]
    ask: tuple[str, ...]
    broad: bool = False


def _phrase(of: str, whose: str, ask: str, broad: bool = False) -> Phrase:
    return Phrase(tuple(of.split(" | ")), tuple(whose.split(" | ")), tuple(ask.split(" | ")), broad)


_AREA = "by area"
PHRASES: dict[str, Phrase] = {
    "capital": _phrase(
        "the capital of {} | the capital city of {}",
        "whose capital is {} | that has {} as its capital",
        "What is the capital of {}? | Which city is the capital of {}?",
    ),
    "currency": _phrase(
        "the currency of {} | the currency used in {}",
        "whose currency is {} | that uses {} as its currency",
        "What is the currency of {}? | Which currency is used in {}?",
    ),
    "language": _phrase(
        "the official language of {} | the only official language of {}",
        "whose only official language is {} | that has {} as its only official language",
        "What is the official language of {}? | Which language is official in {}?",
    ),
    "continent": _phrase(
        "the continent of {} | the continent that includes {}",
        "on the continent of {} | on the continent {}",
        "Which continent includes {}? | On which continent is {}?",
        broad=True,
    ),
    "region": _phrase(
        "the region of the world that includes {} | the part of the world that includes {}",
        "in {} | that belongs to {}",
        "Which region of the world includes {}? | In which region of the world is {}?",
        broad=True,
    ),
    "country": _phrase(
        "the country of {} | the country that is home to {}",
        "in {} | that is in {}",
        "In which country is {}? | Which country is home to {}?",
        broad=True,
    ),
    "largest neighbour": _phrase(
        f"the largest country {_AREA} that borders {{}} | the largest neighbour, {_AREA}, of {{}}",
        f"whose largest neighbour {_AREA} is {{}} | that has {{}} as its largest neighbour {_AREA}",
        f"Which is the largest country {_AREA} that borders {{}}?"
        f" | Which country is the largest neighbour, {_AREA}, of {{}}?",
    ),
    "smallest neighbour": _phrase(
        f"the smallest country {_AREA} that borders {{}} | the smallest neighbour, {_AREA}, of {{}}",
        f"whose smallest neighbour {_AREA} is {{}} | that has {{}} as its smallest neighbour {_AREA}",
        f"Which is the smallest country {_AREA} that borders {{}}?"
        f" | Which country is the smallest neighbour, {_AREA}, of {{}}?",
    ),
    "only neighbour": _phrase(
        "the only country that borders {} | the only neighbour of {}",
        "whose only neighbour is {} | that borders {} and no other country",
        "Which is the only country that borders {}? | What is the only neighbour of {}?",
    ),
    "largest user": _phrase(
        f"the largest country {_AREA} that uses {{}}",
        f"of which {{}} is the largest user {_AREA} | whose largest user {_AREA} is {{}}",
        f"Which is the largest country {_AREA} that uses {{}}?",
    ),
    "smallest user": _phrase(
        f"the smallest country or territory {_AREA} that uses {{}}",
        f"of which {{}} is the smallest user {_AREA} | whose smallest user {_AREA} is {{}}",
        f"Which is the smallest country or territory {_AREA} that uses {{}}?",
    ),
    "only user": _phrase(
        "the only country or territory that uses {} | the only place where people pay with {}",
        "that is used in {} and nowhere else | used only in {}",
        "Which is the only country or territory that uses {}?",
    ),
    "only country": _phrase(
        "the only country or territory that gives official status to {}",
        "that is official in {} and nowhere else",
        "Which is the only country or territory that gives official status to {}?",
    ),
    "only sovereign country": _phrase(
        "the only sovereign country that gives official status to {}",
        "whose only sovereign country is {} | that is official in {} and in no other sovereign country",
        "Which is the only sovereign country that gives official status to {}?",
    ),
    "artist": _phrase(
        "the artist who made {} | the creator of {}",
        "by {} | made by {}",
        "Who made {}?",
        broad=True,
    ),
    "only work here": _phrase(
        "the only work in the encyclopedia by {} | the one work by {} that the encyclopedia has",
        "of whom {} is the only work in the encyclopedia",
        "Which is the only work in the encyclopedia by {}?",
    ),
    "earliest work here": _phrase(
        "the earliest work in the encyclopedia by {}",
        "whose earliest work in the encyclopedia is {}",
        "Which is the earliest work in the encyclopedia by {}?",
    ),
    "number of works here": _phrase("", "", "How many works does the encyclopedia have by {}?"),
    "number of neighbours": _phrase("", "", "How many countries border {}?"),
    "number of users": _phrase("", "", "How many countries and territories use {}?"),
    "number of countries": _phrase("", "", "How many countries and territories give official status to {}?"),
    "number of countries and territories": _phrase("", "", "How many countries and territories make up {}?"),
    "number of regions": _phrase("", "", "How many regions make up {}?"),
    "area": _phrase("", "", "What is the area of {}? | What area is covered by {}?"),
    "demonym": _phrase("", "", "What is the demonym for people from {}? | What does one call a person from {}?"),
    "calling code": _phrase("", "", "What is the international calling code of {}?"),
    "country code": _phrase("", "", "What is the three-letter country code of {}?"),
    "top-level domain": _phrase("", "", "What is the top-level domain of {}? | Which top-level domain belongs to {}?"),
    "code": _phrase("", "", "What is the three-letter code of {}?"),
    "symbol": _phrase("", "", "What is the symbol for {}? | Which symbol marks amounts in {}?"),
    "year": _phrase("", "", "From which year is {}? | What is the year of {}?"),
}
"""What the embedded corpus says; other relations are worded by their name."""

OF_ANIMALS: dict[str, Phrase] = {
    "country": _phrase("the country where {} lives", "that lives in {}", "In which country does {} live?", broad=True),
    "region": _phrase(
        "the region of the world where {} lives", "that lives in {}", "In which region of the world does {} live?", True
    ),
    "continent": _phrase("the continent where {} lives", "that lives in {}", "On which continent does {} live?", True),
}
OF_LANGUAGES: dict[str, Phrase] = {
    "largest country": _phrase(
        f"the largest sovereign country {_AREA} that gives official status to {{}}",
        f"that has {{}} as the largest sovereign country {_AREA} where it has official status",
        f"Which is the largest sovereign country {_AREA} that gives official status to {{}}?",
    ),
    "smallest country": _phrase(
        f"the smallest sovereign country {_AREA} that gives official status to {{}}",
        f"that has {{}} as the smallest sovereign country {_AREA} where it has official status",
        f"Which is the smallest sovereign country {_AREA} that gives official status to {{}}?",
    ),
}
OF_REGIONS: dict[str, Phrase] = {
    "largest country": _phrase(
        f"the largest sovereign country {_AREA} in {{}}",
        f"that has {{}} as its largest sovereign country {_AREA}",
        f"Which is the largest sovereign country {_AREA} in {{}}?",
    ),
    "smallest country": _phrase(
        f"the smallest sovereign country {_AREA} in {{}}",
        f"that has {{}} as its smallest sovereign country {_AREA}",
        f"Which is the smallest sovereign country {_AREA} in {{}}?",
    ),
}
BY_KIND = {"animal": OF_ANIMALS, "language": OF_LANGUAGES, "region": OF_REGIONS, "continent": OF_REGIONS}
"""Phrases of relations that read otherwise for pages of a kind."""

_BROAD = re.compile(
    r"location|nationality|occupation|genres?|type|(?:birth|death) place|state|city|province|county|district"
    r"|citizenship|religion|ethnicity|alma mater|party|label|era|league|sport|position|family|genus|order|class|phylum"
    r"|kingdom|industry|fields?|time ?zone|languages|subdivision name|publisher"
)
_PEOPLE = vocabulary(
    "director producer author writer composer architect founder designer developer editor spouse father mother"
    " predecessor successor president mayor governor leader conductor coach manager owner inventor discoverer parent"
    " monarch chairman captain painter sculptor translator illustrator commander creator"
)


def phrase(relation: str, kind: str) -> Phrase:
    """The words for a relation of pages of ``kind``."""
    known = BY_KIND.get(kind, {}).get(relation) or PHRASES.get(relation)
    if known is not None:
        return known
    who = "Who" if relation.split()[-1:] and relation.split()[-1] in _PEOPLE else "What"
    return Phrase(
        (f"the {relation} of {{}}",),
        (f"whose {relation} is {{}}", f"with {{}} as its {relation}" if who == "What" else f"whose {relation} is {{}}"),
        (f"{who} is the {relation} of {{}}?",),
        _BROAD.fullmatch(relation) is not None,
    )


_TECHNICAL = re.compile(
    r".*\b(?:hdi|gini|gdp|ppp|nominal|glotto|cctld|utc|iso|lingua|rank|estimate|census|ref|format|change|id|no|num"
    r"|authority|magnitude|protoname|sq|percent|type|emedicine\w*|medlineplus|glotto\w*|mesh\w*|omim|icd\w*)\b.*"
    r"|time|drives on|length|trend|native name lang"
)


def readable(relation: str) -> bool:
    """Whether a relation's name is words that mean something to a reader."""
    if relation in PHRASES:
        return True
    return _READABLE.fullmatch(relation) is not None and _TECHNICAL.fullmatch(relation) is None


def kind_word(kind: str) -> str:
    """The word for pages of ``kind``."""
    return KIND_WORDS.get(kind, kind if _READABLE.fullmatch(kind) else GENERIC_KIND)


_ARTICLE_KINDS = vocabulary("currency language animal")
_ARTICLE_NAMES = re.compile(
    r"(?:The )?(?:United |Netherlands|Philippines|Bahamas|Gambia|Maldives|Comoros|Caribbean|Americas|Isle of|DR Congo"
    r"|Antarctic$|Republic of|Seychelles|Solomon Islands|Dominican Republic|Central African Republic|British "
    r"|.+ (?:Islands|Territory|Lands|Emirates|Netherlands)\b)"
)


def named(title: str, kind: str) -> str:
    """A title as it stands in a sentence: "the Swiss franc", "the Netherlands", "Norway"."""
    if kind == "animal":
        return f"the {title[:1].lower()}{title[1:]}"
    if kind == "painting":
        return f"“{title}”"
    if kind in _ARTICLE_KINDS or (kind in ("country", "region", "continent", "") and _ARTICLE_NAMES.match(title)):
        return f"the {title}"
    return title


_PICTURED = (
    (re.compile(r"\bflag\b", re.IGNORECASE), "flag"),
    (re.compile(r"\bcoat of arms\b", re.IGNORECASE), "coat of arms"),
    (re.compile(r"\b(?:emblem|seal|badge|crest)\b", re.IGNORECASE), "emblem"),
    (re.compile(r"\blogo\b", re.IGNORECASE), "logo"),
    (re.compile(r"\b(?:album|book|front)? ?cover\b", re.IGNORECASE), "cover"),
    (re.compile(r"\bposter\b", re.IGNORECASE), "poster"),
)


def pictured(kind: str, caption: str, title: str) -> tuple[str, ...]:
    """Visual expressions for the entity of a picture; the caption tells whether it shows only its flag or emblem."""
    word = kind_word(kind)
    rest = caption.replace(title, "")
    part = next((part for pattern, part in _PICTURED if pattern.search(rest)), "")
    if part:
        return (
            f"the {word} whose {part} is shown in the picture",
            f"the {word} whose {part} the picture shows",
            f"the {word} whose {part} is in the image",
        )
    return f"the {word} in the picture", f"the {word} shown in the image", f"the {word} that the picture shows"
