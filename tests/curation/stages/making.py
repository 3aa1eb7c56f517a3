"""Rows of the atlas on their way through the stages, and checks of them that share no code with what made them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.curation.candidate import Candidate, Hop, StageContext, StageResult, stable_id
from osvl_plugins.curation.forms import Form
from osvl_plugins.curation.graph.rules import PRESETS
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.offline import OfflineLanguage
from osvl_plugins.curation.language.protocol import Language
from osvl_plugins.curation.stages import question, rewrite
from osvl_plugins.curation.stages.paths import shard_generator, walks
from osvl_plugins.settings import Settings

S = TypeVar("S", bound=Settings)
Pages = Mapping[str, Page]


def drawn(graph: Graph, count: int, seed: int = 0) -> list[Candidate]:
    """Different rows of ``count`` random paths."""
    rows: dict[str, Candidate] = {}
    for walk in walks(graph, PRESETS["small"], shard_generator(seed, 0), count):
        if len(walk.nodes) > 1:
            row = row_of([graph.id(node) for node in walk.nodes], [Hop(*hop) for hop in walk.hops])
            rows[row.id] = row
    return list(rows.values())


def row_of(path: Sequence[str], hops: Sequence[Hop]) -> Candidate:
    return Candidate(stable_id("graph", path, hops), "train", path=tuple(path), hops=tuple(hops))


def context(
    graph: Graph, settings: S, corpus: Corpus | None = None, language: Language | None = None, seed: int = 0
) -> StageContext[S]:
    return StageContext(seed, settings, graph, language or OfflineLanguage(), corpus)


def asked(graph: Graph, rows: list[Candidate]) -> StageResult:
    return question.run(rows, context(graph, question.QuestionSettings()))


def rewritten(graph: Graph, rows: list[Candidate]) -> StageResult:
    return rewrite.run(asked(graph, rows).rows, context(graph, rewrite.RewriteSettings()))


class BruteForce:
    """Reads forms against every page of a corpus, one after the other."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self._texts = {page.id: folded(f"{page.lead} {page.fact_box} {page.body}") for page in pages.values()}
        self.fitting = lru_cache(maxsize=None)(self._fitting)

    def _fitting(self, form: Form, known: str, strict: bool) -> set[str]:
        """Ids of the pages that state the form, or with ``strict`` False leave it open."""
        return {page_id for page_id in self.pages if self._fits(self.pages[page_id], form, known, strict)}

    def chain(self, anchor: str, forms: Sequence[Form], strict: bool) -> set[str]:
        reached = {anchor}
        for form in forms:
            reached = {end for start in reached for end in self.fitting(form, start, strict)}
        return reached

    def _fits(self, page: Page, form: Form, known: str, strict: bool) -> bool:
        if form.tie.direction == "forward":
            tied = any(
                fact.relation == form.tie.relation and fact.target == page.id for fact in self.pages[known].facts
            )
        elif form.tie.direction == "inverse":
            tied = page.id != known and self._holds(page, form.tie.relation, known, strict)
        else:
            tied = page.id != known and any(fact.target == page.id for fact in self.pages[known].facts)
        kinds = {"painter": "artist", "region of the world": "region"}
        if not tied or (form.kind and page.kind != kinds.get(form.kind, form.kind)):
            return False
        return all(self._line(page, line.relation, line.value, line.target, strict) for line in form.lines)

    def _line(self, page: Page, relation: str, value: str, target: str | None, strict: bool) -> bool:
        if target is not None:
            return self._holds(page, relation, target, strict)
        return any((fact.relation, fact.value) == (relation, value) for fact in page.facts)

    def _holds(self, page: Page, relation: str, target: str, strict: bool) -> bool:
        facts: list[Fact] = [fact for fact in page.facts if fact.relation == relation]
        if any(fact.target == target for fact in facts):
            return True
        if strict or any(fact.target is not None for fact in facts):
            return False
        text = folded(facts[0].value) if facts else self._texts[page.id]
        return any(stands_in(text, name) for name in titles(self.pages[target]))


def titles(page: Page) -> list[str]:
    plain = re.sub(r" \([^)]*\)$", "", page.title)
    return [page.title, plain, plain.split(", ")[0], *page.aliases]


def folded(text: str) -> str:
    text = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(char for char in text if not unicodedata.combining(char)).split())


def stands_in(text: str, name: str) -> bool:
    """Whether a name, at least four characters long, stands in a folded text between what are no letters."""
    wanted = folded(name)
    return len(wanted) > 3 and re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", text) is not None


def forms_of(row: Candidate) -> list[Form]:
    """The forms of a row in the order of its path."""
    return [Form.from_json(rewrite.form) for rewrite in reversed(row.rewrites)]
