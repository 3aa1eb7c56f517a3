"""Names that a question gives away: titles, aliases, redirects, demonyms and what is derived from them.

Names are looked for as whole words, without regard to case, accents and punctuation; Chinese, Japanese and Korean
names anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from osvl_plugins.corpus.page import Page
from osvl_plugins.reward.rules.text import tokens, vocabulary

NAMING = re.compile(
    r"demonyms?|adjective|(?:native|official|full|birth) name|other names|nicknames?|abbreviation"
    r"|(?:country |iso )?code|symbol|top-level domain",
    re.IGNORECASE,
)
"""Relations whose values name the page itself."""
MIN_STEM = 5
"""Letters of a name from which other words are derived."""
_SUFFIXES = vocabulary("s n an ian ean ese i ish er ers ans ians ic nian")
_QUALIFIER = re.compile(r"\s*[(（][^()（）]*[)）]$")
_CODE = re.compile(r"[A-Z0-9.+-]{1,3}|\.[a-z]{2,3}")
_WORD = re.compile(r"\w")


def titles_of(page: Page) -> tuple[str, ...]:
    """Title, also without "(…)" and without what follows a comma, and aliases, which are the redirects of a wiki."""
    plain = plain_title(page.title)
    names = (page.title, plain, plain.partition(", ")[0], *page.aliases)
    return tuple(dict.fromkeys(name for name in map(str.strip, names) if name))


def names_of(page: Page) -> tuple[str, ...]:
    """``titles_of`` a page and the values of its ``NAMING`` relations."""
    facts = [fact.value for fact in page.facts if NAMING.fullmatch(fact.relation)]
    return tuple(dict.fromkeys([*titles_of(page), *facts]))


def plain_title(title: str) -> str:
    """A title without what tells it from others of that name: "Georgia (country)" is "Georgia"."""
    return _QUALIFIER.sub("", title) or title


def first_leak(text: str, names: Iterable[str]) -> str | None:
    """The first of ``names`` that ``text`` gives away, or None."""
    words = in_words(text)
    return next((name for name in names if _gives_away(text, words, name)), None)


def without(text: str, names: Iterable[str]) -> str:
    """``text`` with "…" in place of each of ``names``, as written, longest first."""
    for name in sorted(filter(None, set(names)), key=lambda name: (-len(name), name)):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def in_words(text: str) -> str:
    """The normalised words of a text, each between spaces."""
    return f" {' '.join(tokens(text))} "


_name_words = lru_cache(maxsize=65_536)(in_words)


def mentions(words: str, name: str) -> bool:
    """Whether a name stands in ``words``, the ``in_words`` of a text; its last word may have an "s" more."""
    wanted = _name_words(name)
    return bool(wanted.strip()) and (wanted in words or f"{wanted[:-1]}s " in words)


def is_code(name: str) -> bool:
    """Whether a name is a code that, written otherwise, may be another word: IT, AT, .in."""
    return _CODE.fullmatch(name) is not None


def _gives_away(text: str, words: str, name: str) -> bool:
    wanted = _name_words(name).split()
    if is_code(name) or not wanted:
        edges = (r"(?<!\w)", r"(?!\w)") if _WORD.search(name) else ("", "")
        return re.search(edges[0] + re.escape(name) + edges[1], text) is not None
    return mentions(words, name) or (len(wanted) == 1 and any(_derived(word, wanted[0]) for word in words.split()))


def _derived(word: str, name: str) -> bool:
    """Whether ``word`` is ``name`` with an ending, also in place of its last letter: Italy, Italian."""
    if len(name) < MIN_STEM or word[: MIN_STEM - 1] != name[: MIN_STEM - 1]:
        return False
    cut = name[:-1]
    return any(word == name + end or word == cut + end for end in _SUFFIXES) or (word == cut and len(cut) > MIN_STEM)
