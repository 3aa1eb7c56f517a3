"""Solvers: whoever tries to answer a question with less than it is meant to take, so that easy ones are found out.

``RetrievalSolver`` needs no model. It attacks by what the words of a question give away: names, the pages that a text
search finds for them, the page that image search finds, and facts whose usual wording stands in the question.
"""

from __future__ import annotations

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, Protocol

from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.text_index import MAX_QUERY_CHARS
from osvl_plugins.curation.language.phrases import phrase
from osvl_plugins.curation.leaks import in_words, mentions
from osvl_plugins.reward.rules.text import vocabulary

TEXT_HITS = 5
"""Pages that a text search reads."""
BEAM = 32
"""Pages that a walk goes on from."""
MAX_NAME_WORDS = 8
_SMALL = vocabulary(
    "the a an of in on by that is are was does do has have which what who whose where how many it its this to from for"
    " with as at and one take find start picture image shown shows show"
)


class Budget(NamedTuple):
    """What a solver may use: one image search, one text search, and how many links it may follow."""

    image_search: bool = False
    text_search: bool = False
    hops: int = 0


NO_TOOLS = Budget()
IMAGE_SEARCH = Budget(image_search=True)
TEXT_SEARCH = Budget(text_search=True)


class Solver(Protocol):
    """Answers questions under a budget."""

    @property
    def version(self) -> str:
        """The engine, and the model and prompt if it has them."""

    async def solve(self, question: str, image: bytes, budget: Budget) -> str:
        """The answer, "" for none. ``image``: a JPEG or PNG file, empty where the question has none.

        Raises ``ToolError`` when the solver itself fails.
        """

    async def aclose(self) -> None:
        """Close what the solver holds in the running event loop."""


class _Cue(NamedTuple):
    """Words of which all that stand in a question speak for a relation; ``before`` and ``after`` what is known."""

    before: str
    after: str

    @classmethod
    def of(cls, template: str) -> _Cue:
        before, _, after = template.partition("{}")
        return cls(in_words(before).strip(), in_words(after).strip())

    def weight(self, words: str) -> int:
        """How much the cue says where the question has it, by its telling words; 0 where it has not."""
        if not all(f" {part} " in words for part in (self.before, self.after) if part):
            return 0
        return 1 + 2 * sum(word not in _SMALL for word in f"{self.before} {self.after}".split())


class _Reached(NamedTuple):
    page: Page
    support: int
    """Weight of the question's words that led here."""
    used: frozenset[str] = frozenset()


class RetrievalSolver:
    """The offline solver (``Solver``) over the embedded corpus.

    Without tools it recalls the pages that the question names, and the one that its last sentence fits best, as a
    model recalls facts of what is named; for want of any it says the most frequent value. With a text search it reads
    the best ``TEXT_HITS`` pages for its last sentence, with an image search the page that is found with confidence.
    From these pages it follows links, either way, whose usual wording stands in the question, and of the pages that it
    has seen answers by the one best supported that has a fact asked for.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._names = _names_of(corpus)
        self._sources: dict[str, list[tuple[str, str]]] = defaultdict(list)
        values: dict[str, Counter[str]] = defaultdict(Counter)
        for page in corpus.pages.values():
            for fact in page.facts:
                values[fact.relation][fact.value] += 1
                if fact.target is not None:
                    self._sources[fact.target].append((fact.relation, page.id))
        self._usual = {relation: min(found, key=lambda v: (-found[v], v)) for relation, found in values.items()}

    @property
    def version(self) -> str:
        """As ``Solver.version``."""
        return "retrieval-1"

    async def solve(self, question: str, image: bytes, budget: Budget) -> str:
        """As ``Solver.solve``."""
        words, last = in_words(question), _last_sentence(question)
        asked = in_words(last)
        found = self._found(words, last, image, budget)
        answer = _best(words, asked, chain(found, *self._walk(words, found, budget.hops)))
        if answer:
            return answer
        wanted = max(self._usual, key=lambda relation: (_asks(asked, relation, ""), relation))
        return self._usual[wanted] if _asks(asked, wanted, "") else ""

    async def aclose(self) -> None:
        """Nothing is held."""

    def _found(self, words: str, last: str, image: bytes, budget: Budget) -> list[_Reached]:
        """Where a search starts; the picture's page before names, names before what a text search finds."""
        ids: list[str] = []
        if budget.image_search and image:
            ids += pictured(self._corpus, image)
        ids += self._named(words)
        ids += searched(self._corpus, last, TEXT_HITS if budget.text_search else 1)
        return [_Reached(self._corpus.pages[page_id], 0) for page_id in dict.fromkeys(ids)]

    def _named(self, words: str) -> Iterator[str]:
        """Pages that the question names, of names inside each other the longest."""
        listed = words.split()
        at = 0
        while at < len(listed):
            for stop in range(min(len(listed), at + MAX_NAME_WORDS), at, -1):
                found = self._names.get(" ".join(listed[at:stop]))
                if found:
                    yield from found
                    at = stop - 1
                    break
            at += 1

    def _walk(self, words: str, start: list[_Reached], hops: int) -> Iterator[list[_Reached]]:
        """The pages that each hop reaches, the best supported first."""
        ends = start
        for _ in range(hops):
            found: dict[str, _Reached] = {}
            for reached in (further for end in ends for further in self._further(words, end)):
                known = found.get(reached.page.id)
                if known is None or reached.support > known.support:
                    found[reached.page.id] = reached
            ends = sorted(found.values(), key=lambda reached: (-reached.support, reached.page.id))[:BEAM]
            yield ends

    def _further(self, words: str, end: _Reached) -> Iterator[_Reached]:
        pages = self._corpus.pages
        for fact in end.page.facts:
            if fact.target in pages and fact.relation not in end.used:
                weight = _weight(_of_cues(fact.relation, end.page.kind), words)
                if weight:
                    yield _Reached(pages[str(fact.target)], end.support + weight, end.used | {fact.relation})
        for relation, source in self._sources[end.page.id]:
            page = pages[source]
            weight = _weight(_whose_cues(relation, page.kind), words) if relation not in end.used else 0
            if weight:
                kind = int(f" {page.kind} " in words)
                yield _Reached(page, end.support + weight + kind, end.used | {relation})


@lru_cache(maxsize=256)
def pictured(corpus: Corpus, image: bytes) -> tuple[str, ...]:
    """The page that image search finds with confidence, if there is one."""
    with Image.open(io.BytesIO(image)) as opened:
        hits = corpus.search_image(opened.convert("RGB"), 1)
    return tuple(hit.page_id for hit in hits if hit.confident)


def searched(corpus: Corpus, query: str, k: int) -> tuple[str, ...]:
    """The ``k`` best pages of a text search for the telling words of a query; none where it has none."""
    telling = " ".join(word for word in in_words(query).split() if word not in _SMALL)
    if not any(map(str.isalnum, telling)):
        return ()
    return tuple(hit.page_id for hit in corpus.search_text(telling[:MAX_QUERY_CHARS], k))


def _last_sentence(question: str) -> str:
    """What is asked, without the sentences that lead to it: the better query."""
    return re.split(r"(?<=[.!。]) ", question.strip())[-1]


def _names_of(corpus: Corpus) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for page in corpus.pages.values():
        for name in dict.fromkeys(in_words(name).strip() for name in (page.title, *page.aliases)):
            # A short name such as "IT" is mostly another word.
            if len(name) > 3 and name not in _SMALL:
                names[name].append(page.id)
    return dict(names)


def _best(words: str, asked: str, seen: Iterable[_Reached]) -> str:
    """The fact that is asked for, of the page with the most support; among equals the first one seen."""
    best, score = "", (0, -1)
    for page, support, used in seen:
        for fact in page.facts:
            weight = _asks(asked, fact.relation, page.kind)
            if weight and fact.relation not in used and (support, weight) > score and not _said(words, fact):
                best, score = fact.value, (support, weight)
    return best


def _said(words: str, fact: Fact) -> bool:
    """Whether a question says the value itself, which is then not what it asks for."""
    return mentions(words, fact.value)


def _asks(asked: str, relation: str, kind: str) -> int:
    """Weight of the words that ask for a relation; 0 when the question asks for something else."""
    return _weight((*_ask_cues(relation, kind), _Cue(in_words(relation).strip(), "")), asked)


def _weight(cues: Iterable[_Cue], words: str) -> int:
    return max((cue.weight(words) for cue in cues), default=0)


@lru_cache(maxsize=4096)
def _ask_cues(relation: str, kind: str) -> tuple[_Cue, ...]:
    return _cues(phrase(relation, kind).ask)


@lru_cache(maxsize=4096)
def _of_cues(relation: str, kind: str) -> tuple[_Cue, ...]:
    return _cues(phrase(relation, kind).of)


@lru_cache(maxsize=4096)
def _whose_cues(relation: str, kind: str) -> tuple[_Cue, ...]:
    return _cues(phrase(relation, kind).whose)


def _cues(templates: Iterable[str]) -> tuple[_Cue, ...]:
    return tuple(_Cue.of(template) for template in templates if template)
