"""The infobox of an article: its kind, its facts, its picture."""

from __future__ import annotations

import re
from typing import NamedTuple

from osvl_plugins.curation.graph.article import ArticleFact
from osvl_plugins.curation.graph.markup import LINK, plain, without_files
from osvl_plugins.curation.graph.names import capitalised, normal_title
from osvl_plugins.curation.graph.templates import SEPARATOR, UNKNOWN, expand

MAX_START = 50_000
MAX_CHARS = 100_000
MAX_FACTS = 80
MAX_VALUE_CHARS = 300

_START = re.compile(
    r"\{\{\s*(?:(infobox)[ _]?([^|{}\n<]*)|(taxobox|speciesbox|automatic[ _]taxobox|geobox|chembox|drugbox)\b)",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\{\{|\}\}|\[\[|\]\]|\|")
_KEY = re.compile(r"[^{}\[\]|<>\n]{1,60}")
_PICTURE_KEYS = ("image", "image_name", "image_skyline", "photo", "img", "picture", "cover", "image_file", "logo")
_PICTURE_FILE = re.compile(r"([^\[\]|{}<>\n:]+\.(?:jpe?g|png|gif|tiff?|webp|svg))", re.IGNORECASE)
# What lays the box out, and what names the page itself.
_NO_FACT = re.compile(
    r"(?:.*[ _])?(?:image|images|img|photo|picture|caption|alt|map|pushpin|width|size|upright|logo|signature"
    r"|footnotes?|refs?|references|colou?r|style|module|embed|child|cover|flag|seal|coat|link|url|website|note|notes|label|title|titles"
    r"|zoom|mapframe|title[ _]?\d+|label[ _]?\d+|id|display|lat[a-z]*|lon[a-z]*|coord\w*)\d*(?:[ _].*)?"
    r"|\w*link|name|common_name|conventional_long_name|box_\w+|bg\w*|background|show\w*|image\w*|map\w*|caption\w*",
    re.IGNORECASE,
)


class Infobox(NamedTuple):
    """``start`` and ``stop`` bound it in the text; ``closed`` is False when its end is missing."""

    kind: str
    facts: tuple[ArticleFact, ...]
    picture: str
    caption: str
    start: int
    stop: int
    closed: bool


def read_infobox(text: str) -> Infobox | None:
    """The first infobox of ``text`` (comments and references blanked), or None.

    One without an end has no facts: where its last line ends is not known.
    """
    opening = _START.search(text, 0, MAX_START)
    if opening is None:
        return None
    kind = " ".join((opening[2] or opening[3] or "").replace("_", " ").split()).lower()
    parts, stop = _parameters(text, opening.start())
    if stop < 0:
        return Infobox(kind, (), "", "", opening.start(), opening.end(), closed=False)
    given: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        key = key.strip()
        if equals and _KEY.fullmatch(key):
            # Of a parameter that is given twice MediaWiki takes the last.
            given[key] = value.strip()
    picture = next((name for key in _PICTURE_KEYS if (name := picture_name(given.get(key, "")))), "")
    return Infobox(kind, _facts(given), picture, _text(given.get("caption", "")), opening.start(), stop, closed=True)


def picture_name(value: str) -> str:
    """The file that a parameter or a link names, as MediaWiki stores it (``Eiffel_Tower.jpg``), or ""."""
    found = _PICTURE_FILE.search(value[:1000])
    return capitalised("_".join(found[1].split())) if found else ""


def read_value(text: str) -> tuple[str, str | None] | None:
    """(plain text, title of the one page that it is, or None) of an infobox line; None when it cannot be read."""
    expanded = without_files(expand(text)).strip()
    if UNKNOWN in expanded:
        return None
    value = _joined(plain(expanded))
    if not value or len(value) > MAX_VALUE_CHARS:
        return None
    links = LINK.findall(expanded)
    whole = len(links) == 1 and not plain(LINK.sub("", expanded)).strip(SEPARATOR + " \n")
    title = normal_title(links[0][0]) if whole else ""
    return value, title or None


def _facts(given: dict[str, str]) -> tuple[ArticleFact, ...]:
    facts: dict[str, ArticleFact] = {}
    for key, text in given.items():
        relation = " ".join(key.replace("_", " ").split()).lower()
        if not text or relation in facts or key.isdecimal() or _NO_FACT.fullmatch(key):
            continue
        value = read_value(text)
        if value is not None and not _PICTURE_FILE.fullmatch(value[0]):
            facts[relation] = ArticleFact(relation, *value)
    return tuple(facts.values())[:MAX_FACTS]


def _parameters(text: str, start: int) -> tuple[list[str], int]:
    """The parts between the outermost bars, and where the box ends (−1 when it does not)."""
    parts: list[str] = []
    braces, brackets, at = 0, 0, start
    for mark in _MARKS.finditer(text, start, start + MAX_CHARS):
        token = mark[0]
        if token == "{{":
            braces += 1
        elif token == "}}":
            braces -= 1
            if not braces:
                return [*parts[1:], text[at : mark.start()]] if parts else [], mark.end()
        elif token == "[[":
            brackets += 1
        elif token == "]]":
            brackets = max(0, brackets - 1)
        elif braces == 1 and not brackets:
            parts.append(text[at : mark.start()])
            at = mark.end()
    return [], -1


def _text(value: str) -> str:
    return _joined(plain(expand(value).replace(UNKNOWN, "")))[:MAX_VALUE_CHARS]


def _joined(value: str) -> str:
    items = (" ".join(item.split()).strip(" ,;") for item in re.split(r"[\1\n]", value))
    return "; ".join(item for item in items if item)
