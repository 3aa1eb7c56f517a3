"""What templates show.

MediaWiki expands them from their own pages; here those that carry values in many infoboxes are known by name, and
every other is unknown. Every function takes any text, runs in time that grows with its length, and never raises.
"""

from __future__ import annotations

import re

UNKNOWN = "\0"
"""Stands where a template was that is not known."""
SEPARATOR = "\1"
"""Stands between the values of a list."""

MAX_ROUNDS = 12
"""Templates nested deeper are unknown."""

_INNERMOST = re.compile(r"\{\{([^{}]*)\}\}")
_ARGUMENT = re.compile(r"[\w\s-]{1,40}")
_ITEM = re.compile(r"<br\b[^<>]*>|^[*#]+|\n", re.IGNORECASE | re.MULTILINE)

_CARRIES_FIRST = frozenset(
    (
        "nowrap", "nobr", "nobold", "nowraplinks", "noitalic", "small", "smaller", "big", "bigger", "center", "em",
        "strong", "sub", "abbr", "tooltip", "marriage", "url",
    )
)  # fmt: skip
_CARRIES_LAST = frozenset(("longitem", "resize", "nowrap begin"))
_CARRIES_SECOND = frozenset(("lang", "transl", "transliteration", "font", "color"))
_LISTS = frozenset(
    ("ubl", "ublist", "unbulleted list", "plainlist", "plain list", "hlist", "flatlist", "flat list", "bulleted list")
)
_DATES = frozenset(
    (
        "birth date", "birth date and age", "bda", "dob", "death date", "death date and age", "dda", "start date",
        "start date and age", "end date", "film date", "release date", "birth-date", "death-date", "date",
    )
)  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_GLYPHS = {
    "ndash": "–", "snd": " – ", "spaced ndash": " – ", "mdash": "—", "nbsp": " ", "spaces": " ", "·": " · ", "•": " • ",
    "'": "'", "=": "=",
}  # fmt: skip
_FLAGS = frozenset(("flag", "flagu", "flagcountry", "flagg"))
_NOTHING = frozenset(
    (
        "flagicon", "flagdeco", "flag icon", "increase", "decrease", "steady", "profit", "loss", "citation needed",
        "cn", "fact", "efn", "refn", "sfn", "r", "rp", "dead link", "0", "clear", "ref", "note", "clarify", "when",
        "better source needed", "who", "by whom", "endplainlist", "ipac-en", "ipa", "ipa-en", "anchor", "audio",
        "update", "sup", "coord",
    )
)  # fmt: skip
_RANGES = frozenset(("to", "-", "–", "and", "or", "x", "by", "×", "+", "±", "to(-)", "*"))
_SHOWN_UNITS = {"km2": "km²", "m2": "m²", "sqmi": "sq mi", "m3": "m³", "mi2": "sq mi", "ft2": "sq ft", "sqft": "sq ft"}


def expand(text: str) -> str:
    """``text`` with its templates replaced by what they show, from the inside out.

    What is not known becomes ``UNKNOWN``; between the items of a list stands ``SEPARATOR``.
    """
    for _ in range(MAX_ROUNDS):
        text, count = _INNERMOST.subn(_shown, text)
        if not count:
            return text
    return _INNERMOST.sub(UNKNOWN, text)


def _shown(template: re.Match[str]) -> str:
    name, *rest = _split(template[1])
    name = " ".join(name.replace("_", " ").split()).lower()
    given = [part.strip() for part in rest if not _is_named(part)]
    if name in _CARRIES_FIRST or (name.startswith("lang-") and given):
        return given[0] if given else ""
    if name in _CARRIES_LAST:
        return given[-1] if given else ""
    if name in _CARRIES_SECOND:
        return given[1] if len(given) > 1 else UNKNOWN
    if name in _LISTS:
        items = [item.strip() for part in given for item in _ITEM.split(part) if item.strip()]
        return SEPARATOR.join(["", *items, ""])
    if name in _DATES:
        return _date(given)
    if name in ("convert", "cvt"):
        return _measure(given)
    if name in _FLAGS and given:
        return f"[[{given[0]}]]"
    return _GLYPHS.get(name, "" if name in _NOTHING else UNKNOWN)


def _is_named(part: str) -> bool:
    name, equals, _ = part.partition("=")
    return bool(equals) and _ARGUMENT.fullmatch(name) is not None


def _split(inside: str) -> list[str]:
    """The parts of a template between the bars that stand outside links."""
    if "[[" not in inside:
        return inside.split("|")
    parts, depth, at = [], 0, 0
    for mark in re.finditer(r"\[\[|\]\]|\|", inside):
        if mark[0] == "|":
            if depth == 0:
                parts.append(inside[at : mark.start()])
                at = mark.end()
        else:
            depth = depth + 1 if mark[0] == "[[" else max(0, depth - 1)
    return [*parts, inside[at:]]


def _date(given: list[str]) -> str:
    numbers = [part for part in given[:3] if part.isdecimal()]
    if len(numbers) != len(given[:3]) or not numbers:
        return given[0] if len(given) == 1 else UNKNOWN
    year, *rest = numbers
    if rest and not 1 <= int(rest[0]) <= 12:
        return UNKNOWN
    month = f"{_MONTHS[int(rest[0]) - 1]} " if rest else ""
    day = f"{int(rest[1])} " if len(rest) > 1 else ""
    return f"{day}{month}{year}"


def _measure(given: list[str]) -> str:
    if len(given) < 2 or given[1] in _RANGES:
        return UNKNOWN
    return f"{given[0]} {_SHOWN_UNITS.get(given[1], given[1])}"
