"""Wikitext to plain text: comments, files, tables, links, tags.

Every function takes any text, runs in time that grows with its length, and never raises.
"""

from __future__ import annotations

import html
import re

from osvl_plugins.curation.graph.templates import SEPARATOR, UNKNOWN, expand

_OPEN = re.compile(
    r"<(?:!--|(nowiki|ref|math|pre|source|syntaxhighlight|timeline|score|chem|graph)\b[^<>]*>)", re.IGNORECASE
)
_TABLE = re.compile(r"^:*\{\||^\|\}", re.MULTILINE)
_FILE = re.compile(r"\[\[\s*(?:file|image|media|文件|图像|圖像)\s*:", re.IGNORECASE)
_BRACKETS = re.compile(r"\[\[|\]\]")
LINK = re.compile(r"\[\[([^\[\]|{}<>\n]+)(?:\|([^\[\]]*))?\]\]([a-z]*)")
"""A link: what it names, its text where another is given, and letters that follow and belong to its text."""

_EXTERNAL = re.compile(r"\[(?:https?:)?//([^\[\]\n]*)\]")
_BREAK = re.compile(r"<br\b[^<>]*>|^[*#]+", re.IGNORECASE | re.MULTILINE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_QUOTES = re.compile(r"'{2,5}")
_SPACE = re.compile(r"[^\S\n]+")
_FOOTNOTE = re.compile(r"<sup\b[^<>]*>\s*\[?[a-z]?\]?\s*</sup>", re.IGNORECASE)
_HOLLOW = re.compile(r" ?\([\s;,]{0,20}\)")
_HOLLOW_START = re.compile(r"\([\s;,]{1,20}")

_CLOSING = {
    tag: re.compile(rf"</{tag}\s*>", re.IGNORECASE)
    for tag in (
        "nowiki", "ref", "math", "pre", "source", "syntaxhighlight", "timeline", "score", "chem", "graph",
    )
}  # fmt: skip
_CLOSING[""] = re.compile("-->")


def blank(text: str) -> str:
    """``text`` with comments, references, code and formulas turned into as many spaces, so that positions stay."""
    parts: list[str] = []
    unclosed: set[str] = set()
    at = 0
    while (opening := _OPEN.search(text, at)) is not None:
        tag = (opening[1] or "").lower()
        end = opening.end()
        if tag in unclosed or opening[0].endswith("/>"):
            pass
        elif (closing := _CLOSING[tag].search(text, end)) is not None:
            end = closing.end()
        elif tag:
            # Looked for once: a text full of openings would otherwise take quadratic time.
            unclosed.add(tag)
        else:
            end = len(text)
        parts += (text[at : opening.start()], " " * (end - opening.start()))
        at = end
    return "".join((*parts, text[at:])) if parts else text


def plain(text: str) -> str:
    """Readable text of expanded wikitext: no files, tables, tags or marks; links by their text; one space at most."""
    text = _without_tables(without_files(text))
    text = LINK.sub(lambda link: (link[1] if link[2] is None else link[2]) + link[3], text)
    text = _EXTERNAL.sub(lambda link: link[1].partition(" ")[2], text)
    text = _BREAK.sub(SEPARATOR, _FOOTNOTE.sub("", text))
    text = _QUOTES.sub("", _TAG.sub("", text)).replace("[[", "").replace("]]", "").replace("{{", "").replace("}}", "")
    text = _SPACE.sub(" ", html.unescape(text) if "&" in text else text)
    return _HOLLOW_START.sub("(", _HOLLOW.sub("", text)).strip()


def anchor_text(text: str) -> str:
    """The text of a link as a reader sees it, on one line."""
    if "{{" in text:
        text = expand(text).replace(UNKNOWN, "").replace(SEPARATOR, " ")
    if "<" in text:
        text = _TAG.sub("", text)
    if "''" in text:
        text = _QUOTES.sub("", text)
    if "&" in text:
        text = html.unescape(text)
    return " ".join(text.split())


def without_files(text: str) -> str:
    """``text`` without its embedded files, whose captions may hold links."""
    parts: list[str] = []
    at = 0
    while (opening := _FILE.search(text, at)) is not None:
        depth, end = 0, -1
        for bracket in _BRACKETS.finditer(text, opening.start()):
            depth += 1 if bracket[0] == "[[" else -1
            if not depth:
                end = bracket.end()
                break
        if end < 0:
            break
        parts.append(text[at : opening.start()])
        at = end
    return "".join((*parts, text[at:]))


def _without_tables(text: str) -> str:
    parts: list[str] = []
    depth, at = 0, 0
    for mark in _TABLE.finditer(text):
        if mark[0] != "|}":
            if not depth:
                parts.append(text[at : mark.start()])
                at = mark.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                at = mark.end()
    return "".join((*parts, text[at:]))
