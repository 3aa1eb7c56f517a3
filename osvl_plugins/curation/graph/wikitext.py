"""An article from its wikitext, by scanning: MediaWiki's full grammar is too slow for a dump of 100 GB."""

from __future__ import annotations

import re
from typing import NamedTuple

from osvl_plugins.corpus.page import Picture
from osvl_plugins.curation.graph.article import Article, ArticleLink, NodeFlag
from osvl_plugins.curation.graph.infobox import Infobox, picture_name, read_infobox
from osvl_plugins.curation.graph.kinds import kind_flags
from osvl_plugins.curation.graph.markup import LINK, anchor_text, blank, plain
from osvl_plugins.curation.graph.names import normal_title
from osvl_plugins.curation.graph.templates import SEPARATOR, UNKNOWN, expand

MAX_TEXT_CHARS = 4_000_000
"""Twice what MediaWiki stores."""
MAX_LEAD_CHARS = 2_000
MAX_ANCHOR_CHARS = 200
_LEAD_SOURCE_CHARS = 30_000

_HEADING = re.compile(r"^=", re.MULTILINE)
_LEAD_FILE = re.compile(r"\[\[\s*(?:file|image)\s*:([^\[\]|]+)", re.IGNORECASE)

ENGLISH_NAMESPACES = frozenset(
    (
        "media", "special", "talk", "user", "wikipedia", "wp", "project", "file", "image", "mediawiki", "template",
        "help", "category", "portal", "draft", "timedtext", "module", "book", "gadget", "topic",
    )
)  # fmt: skip


class Rejected(NamedTuple):
    """An article that was not taken, and why."""

    title: str
    reason: str


def read_article(
    page_id: str, title: str, text: str, source: str = "", namespaces: frozenset[str] = ENGLISH_NAMESPACES
) -> Article | Rejected:
    """The article of one page; ``namespaces`` are the prefixes, in lower case, of titles that are no articles.

    Whatever the text is, it is read as far as it can be; what is over 4,000,000 characters or empty is rejected.
    """
    if len(text) > MAX_TEXT_CHARS:
        return Rejected(title, "too_long")
    if not text.strip():
        return Rejected(title, "no_text")
    text = text.replace(UNKNOWN, " ").replace(SEPARATOR, " ")
    blanked = blank(text)
    infobox = read_infobox(blanked)
    facts = infobox.facts if infobox else ()
    pictures = _pictures(blanked, infobox, title)
    flags = kind_flags(title, blanked)
    if facts:
        flags |= NodeFlag.INFOBOX
    if pictures:
        flags |= NodeFlag.PICTURE
    return Article(
        id=page_id,
        title=title,
        kind=(infobox.kind if infobox else "") or "article",
        lead=_lead(blanked, infobox),
        facts=facts,
        links=tuple(read_links(blanked, namespaces)),
        flags=flags,
        pictures=pictures,
        source=source,
    )


def read_links(text: str, namespaces: frozenset[str]) -> list[ArticleLink]:
    """The links of a text to other articles, the first to each title, in the order of the text."""
    found: dict[str, ArticleLink] = {}
    seen: set[str] = set()
    for link in LINK.finditer(text):
        target = link[1]
        if target in seen:
            continue
        seen.add(target)
        title = normal_title(target)
        if not title or title in found:
            continue
        prefix, colon, _ = title.partition(":")
        if colon and prefix.strip().lower() in namespaces:
            continue
        shown = target if link[2] is None else link[2]
        anchor = anchor_text(shown)[:MAX_ANCHOR_CHARS] or title
        found[title] = ArticleLink(title, anchor + link[3][:MAX_ANCHOR_CHARS], link.start())
    return list(found.values())


def _lead(text: str, infobox: Infobox | None) -> str:
    if infobox is not None:
        text = text[: infobox.start] + text[infobox.stop :]
    heading = _HEADING.search(text)
    text = text[: heading.start() if heading else len(text)][:_LEAD_SOURCE_CHARS]
    shown = plain(expand(text).replace(UNKNOWN, "")).replace(SEPARATOR, "\n")
    lines = (line.strip(" ;:*") for line in shown.split("\n"))
    # A line that starts with a bar is left over from a template or table without an end.
    lead = "\n".join(line for line in lines if line and not line.startswith(("|", "!", "{|")))
    if len(lead) <= MAX_LEAD_CHARS:
        return lead
    cut = lead[:MAX_LEAD_CHARS]
    return cut[: cut.rfind(". ") + 1] or cut


def _pictures(text: str, infobox: Infobox | None, title: str) -> tuple[Picture, ...]:
    if infobox is not None and infobox.picture:
        return (Picture(infobox.picture, 0, 0, infobox.caption or title),)
    heading = _HEADING.search(text)
    embedded = _LEAD_FILE.search(text, 0, heading.start() if heading else len(text))
    name = picture_name(embedded[1]) if embedded else ""
    return (Picture(name, 0, 0, title),) if name else ()
