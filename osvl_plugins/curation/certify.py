"""Certificates: which pages of a graph fit a form, exhaustively.

What counts is not only what a page states. A relation may have several values, which are no labelled edge, and a page
may leave a line out that it could have. A page that does not contradict a form and names the known page in its text
may therefore fit it, and a description stands only where no other page may.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from osvl_plugins.curation.forms import Form, Line
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.phrases import kind_word
from osvl_plugins.curation.leaks import in_words, is_code, mentions, titles_of
from osvl_plugins.errors import CorpusError

SMALL_GRAPH = 20_000
"""Pages of a graph in which all are looked at for a mention; in a larger one those that link to what is mentioned."""
KEPT_PAGES = 4096


class Certifier:
    """Finds the pages of ``graph`` that fit a form. Not to be shared between threads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.page = lru_cache(maxsize=KEPT_PAGES)(graph.page)
        self._mentioning = lru_cache(maxsize=KEPT_PAGES)(self._find_mentioning)
        self._words = lru_cache(maxsize=KEPT_PAGES)(self._page_words)

    def node(self, page_id: str) -> int:
        """The node of a page id. Raises ``CorpusError`` when the graph has no such page."""
        node = self.graph.node(page_id)
        if node is None:
            raise CorpusError(f"the graph has no page {page_id!r}; the row was made from another graph")
        return node

    def fitting(self, form: Form, known: int | None = None) -> list[int]:
        """All nodes that fit or may fit, in rising order. ``known`` stands in for the form's known page."""
        at = self.node(form.tie.page) if known is None else known
        return [node for node in self._tied(form, at) if self._fits(node, form)]

    def chain(self, anchor: str, forms: Iterable[Form]) -> list[int]:
        """All nodes that fit or may fit the last form, each form read with what fits the one before it."""
        nodes = [self.node(anchor)]
        for form in forms:
            nodes = sorted({found for node in nodes for found in self.fitting(form, node)})
        return nodes

    def shared(self, line: Line) -> int:
        """Pages that state the line, a line that names a page."""
        return 0 if line.target is None else len(self.graph.sources_of(line.relation, self.node(line.target)))

    def _tied(self, form: Form, at: int) -> list[int]:
        tie, graph = form.tie, self.graph
        if tie.direction == "link":
            return sorted({int(target) for target in graph.targets[graph.offsets[at] : graph.offsets[at + 1]]} - {at})
        if tie.direction == "forward":
            row = slice(int(graph.fact_offsets[at]), int(graph.fact_offsets[at + 1]))
            named = zip(graph.fact_relations[row].tolist(), graph.fact_targets[row].tolist(), strict=True)
            return sorted(target for number, target in named if graph.relations[number] == tie.relation)
        line = Line(tie.relation, graph.title(at), graph.id(at))
        stated = set(graph.sources_of(tie.relation, at).tolist())
        return sorted(stated | {node for node in self._mentioning(at) if self._may_have(node, line)})

    def _fits(self, node: int, form: Form) -> bool:
        own = self.page(node).kind
        return (not form.kind or not own or kind_word(own) == form.kind) and all(
            self._has(node, line) or self._may_have(node, line) for line in form.lines
        )

    def _has(self, node: int, line: Line) -> bool:
        fact = self.page(node).fact(line.relation)
        return fact is not None and (fact.target, fact.value) == (line.target, line.value)

    def _may_have(self, node: int, line: Line) -> bool:
        """Whether the page leaves open that the line holds: it names no one page there, and names this one."""
        fact = self.page(node).fact(line.relation)
        if fact is not None and fact.target is not None:
            return line.target is not None and fact.target == line.target
        words = self._words(node) if fact is None else in_words(fact.value)
        names = [line.value] if line.target is None else self._names(self.node(line.target))
        return any(mentions(words, name) for name in names)

    def _find_mentioning(self, node: int) -> tuple[int, ...]:
        graph = self.graph
        if len(graph) > SMALL_GRAPH:
            edges = np.flatnonzero(graph.targets == node)
            return tuple(dict.fromkeys((np.searchsorted(graph.offsets, edges, side="right") - 1).tolist()))
        names = self._names(node)
        return tuple(
            other
            for other in range(len(graph))
            if other != node and any(mentions(self._words(other), name) for name in names)
        )

    def _names(self, node: int) -> list[str]:
        return [name for name in titles_of(self.page(node)) if not is_code(name)]

    def _page_words(self, node: int) -> str:
        page = self.page(node)
        return in_words("\n".join((page.lead, page.fact_box, page.body)))


@lru_cache(maxsize=2)
def certifier(graph: Graph) -> Certifier:
    """The certifier of a graph, kept with its caches."""
    return Certifier(graph)
