"""Which form describes a page on a path by the page before it, so that it fits no other page of the graph."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.curation.candidate import Candidate, Hop
from osvl_plugins.curation.certify import Certifier
from osvl_plugins.curation.forms import Form, Line, Tie
from osvl_plugins.curation.language.phrases import kind_word, phrase, readable
from osvl_plugins.curation.language.protocol import Place, Plan
from osvl_plugins.curation.leaks import NAMING, first_leak, names_of, plain_title

MIN_SHARED = 3
"""Pages that share a line of a description: a rarer one would identify the page without the path."""
MAX_LINE_CHARS = 30
MAX_TRIED = 8
"""Lines that are tried for a description, from the first."""


class Route(NamedTuple):
    """A row's pages, anchor first, with their nodes."""

    pages: tuple[Page, ...]
    nodes: tuple[int, ...]
    hops: tuple[Hop, ...]

    @classmethod
    def of(cls, row: Candidate, found: Certifier) -> Route:
        """The route of a row. Raises ``CorpusError`` when the graph is not the row's."""
        nodes = tuple(found.node(page_id) for page_id in row.path)
        return cls(tuple(found.page(node) for node in nodes), nodes, row.hops)

    @property
    def places(self) -> tuple[Place, ...]:
        """The pages as a question speaks of them."""
        return tuple(Place(plain_title(page.title), page.kind, kind_word(page.kind)) for page in self.pages)

    def names(self, start: int, stop: int | None = None) -> tuple[str, ...]:
        """Names of the pages ``start`` to ``stop``."""
        return tuple(dict.fromkeys(name for page in self.pages[start:stop] for name in names_of(page)))


def make_plan(route: Route, found: Certifier, attribute: str, certified: Sequence[Form], seed: str) -> Plan:
    """The plan in which the last places are described by the ``certified`` forms and the others are named."""
    described = len(route.pages) - len(certified)
    told = [next(_ties(route, found, index)) for index in range(1, described)]
    forms = tuple(Form(tie, _kind(route, index, tie)) for index, tie in enumerate(told, 1)) + tuple(certified)
    return Plan(route.places, forms, attribute, described, seed)


def wording_seed(seed: int, row: Candidate) -> str:
    """The seed of a row's plans: one for all stages, so that what stays in a question keeps its words."""
    return f"{seed}/words/{row.id}"


def describe(
    route: Route, found: Certifier, index: int, avoid: Iterable[str], rng: random.Random, max_lines: int
) -> Form | None:
    """A form that only page ``index`` fits, tied to the page before it, or None.

    ``avoid``: names and values that no line may give away.
    """
    avoid = tuple(avoid)
    for tie in _ties(route, found, index):
        if tie.direction == "inverse" and phrase(tie.relation, route.pages[index].kind).broad:
            continue
        form = _narrowed(route, found, index, Form(tie, _kind(route, index, tie)), avoid, rng, max_lines)
        if form is not None:
            return form
    return None


def _ties(route: Route, found: Certifier, index: int) -> Iterator[Tie]:
    """All that ties a page to the one before it: the hop first, then what leads there, leads back, and links."""
    before, page, hop = route.pages[index - 1], route.pages[index], route.hops[index - 1]
    forward = _leading(before, page.id)
    back = _leading(page, before.id)
    if hop.relation in forward and not hop.inverse:
        forward.sort(key=lambda relation: relation != hop.relation)
    if hop.relation in back and hop.inverse:
        back.sort(key=lambda relation: relation != hop.relation)
    yield from (Tie("forward", relation, before.id) for relation in forward)
    yield from (Tie("inverse", relation, before.id) for relation in back)
    if not forward and not back:
        yield Tie("link", "", before.id)


def _leading(source: Page, target: str) -> list[str]:
    return [fact.relation for fact in source.facts if fact.target == target and readable(fact.relation)]


def _kind(route: Route, index: int, tie: Tie) -> str:
    return "" if tie.direction == "forward" else kind_word(route.pages[index].kind)


def _narrowed(
    route: Route,
    found: Certifier,
    index: int,
    form: Form,
    avoid: tuple[str, ...],
    rng: random.Random,
    max_lines: int,
) -> Form | None:
    """``form`` with the fewest lines, of those that are tried, that leave the page alone; None where none do."""
    node = route.nodes[index]
    left = found.fitting(form)
    if node not in left:
        return None
    # A link alone says nothing of the page, and is often the only one just because the graph is a part of a wiki.
    fewest = 1 if form.tie.direction == "link" else 0
    lines = _lines(route, found, index, form, avoid, rng) if len(left) > 1 or fewest else []
    while (len(left) > 1 or len(form.lines) < fewest) and len(form.lines) < max_lines and lines:
        tried = [(found.fitting(form._replace(lines=(*form.lines, line))), line) for line in lines]
        best, line = min(tried, key=lambda item: len(item[0]))
        if len(best) == len(left) > 1:
            return None
        left, form = best, form._replace(lines=(*form.lines, line))
        lines.remove(line)
    return form if left == [node] and len(form.lines) >= fewest else None


def _lines(
    route: Route, found: Certifier, index: int, form: Form, avoid: tuple[str, ...], rng: random.Random
) -> list[Line]:
    page = route.pages[index]
    linked = form.tie.direction == "link"
    lines = [
        Line(fact.relation, fact.value, fact.target)
        for fact in page.facts
        if fact.relation != form.tie.relation and _tells(fact, page.kind, linked) and not _on(route, fact)
    ]
    kept = [line for line in lines if first_leak(line.value, avoid) is None and _is_shared(found, line)]
    rng.shuffle(kept)
    return sorted(kept, key=lambda line: line.target is None)[:MAX_TRIED]


def _tells(fact: Fact, kind: str, linked: bool) -> bool:
    """Whether a fact may narrow a description down. Text may only where nothing but a link ties it to the path."""
    if not readable(fact.relation) or NAMING.fullmatch(fact.relation) or len(fact.value) > MAX_LINE_CHARS:
        return False
    return bool(phrase(fact.relation, kind).whose[0]) and (fact.target is not None or linked)


def _on(route: Route, fact: Fact) -> bool:
    return fact.target in {page.id for page in route.pages}


def _is_shared(found: Certifier, line: Line) -> bool:
    return line.target is None or found.shared(line) >= MIN_SHARED
