"""Articles that are about no entity: lists, disambiguation pages, dates. English and Chinese names are known."""

from __future__ import annotations

import re

from osvl_plugins.curation.graph.article import NodeFlag

TAIL_CHARS = 3000
"""Templates that mark a disambiguation page stand at the end of its text."""

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_ORDINAL = r"\d{1,2}(?:st|nd|rd|th)"
_LIST = re.compile(
    r"(?:Lists? of|Outline of|Index of|Timeline of|Glossary of|Table of|Comparison of|Bibliography of) |.*列表$"
)
_DATE = re.compile(
    rf"(?:(?:AD )?\d{{1,4}}(?: BCE?)?|\d{{1,3}}0s(?: BCE?)?|{_ORDINAL} (?:century|millennium)(?: BCE?)?"
    rf"|(?:{_MONTH}) \d{{1,2}}|\d{{1,2}} (?:{_MONTH})|(?:{_MONTH})(?: \d{{1,4}})?"
    rf"|(?:\d{{3,4}}s?|{_ORDINAL} century) in .+"
    r"|(?:前|公元前)?\d{1,4}年(?:代|\d{1,2}月)?|\d{1,2}月(?:\d{1,2}日)?|(?:前|公元前)?\d{1,2}世[纪紀])$"
)
_NAMES = re.compile(r".*[(（](?:disambiguation|surname|given name|消歧[义義])[)）]$")
_TEMPLATE = re.compile(
    r"\{\{\s*(?:[^{}|\n]*disambig[^{}|\n]*|dab|hndis|geodis|numberdis|mathdab|roaddis|schooldis|hospitaldis|shipindex"
    r"|surname|given name|sia|set index(?: article)?|消歧[义義]页?)\s*[|}]",
    re.IGNORECASE,
)


def kind_flags(title: str, text: str = "") -> NodeFlag:
    """``LIST``, ``DISAMBIGUATION`` and ``DATE`` of an article, from its title and its wikitext."""
    flags = NodeFlag(0)
    if _LIST.match(title):
        flags |= NodeFlag.LIST
    if _DATE.match(title):
        flags |= NodeFlag.DATE
    if _NAMES.match(title) or _TEMPLATE.search(text[-TAIL_CHARS:]):
        flags |= NodeFlag.DISAMBIGUATION
    return flags
