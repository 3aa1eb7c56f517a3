"""The second stage: an attribute of the last page of a path, and a canonical question that names the path.

The last page is never named: it is described from the start, by the page before it, under a certificate.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.curation.candidate import Candidate, Reject, Rewrite, StageContext, StageResult
from osvl_plugins.curation.certify import Certifier, certifier
from osvl_plugins.curation.descriptions import Route, describe, make_plan, wording_seed
from osvl_plugins.curation.language.phrases import readable
from osvl_plugins.curation.language.protocol import for_each
from osvl_plugins.curation.leaks import first_leak, titles_of
from osvl_plugins.curation.wording import Refusal, Rules, checked, sorted_out
from osvl_plugins.reward.rules.text import normalise, vocabulary
from osvl_plugins.settings import Settings

STAGE = "question"

_LIST_TITLE = re.compile(r"(?:lists?|index|outline) of ", re.IGNORECASE)
_NO_ANSWERS = vocabulary("yes no true false none unknown n/a na nil null - – — ? tba tbd various present")
_LIST = re.compile(r"[;\n•·|]|,(?!\d{3})\s*\w.*,|\band\b.*,|,.*\band\b| / ")


class QuestionSettings(Settings):
    """What makes an answer."""

    max_answer_chars: int = Field(default=60, ge=1)
    max_answer_words: int = Field(default=8, ge=1)
    max_lines: int = Field(default=2, ge=0)
    """Most facts that narrow the description of the last page down to it."""


def run(
    rows: list[Candidate], context: StageContext[QuestionSettings], held_out: NDArray[np.bool_] | None = None
) -> StageResult:
    """Rows with attribute, answer and canonical question.

    ``held_out``: (n,) the side of each page; with it no answer is a page of the other side than its path's.

    Reasons of rejects: ``shortcut`` (the path has a hop that a fact of an earlier page saves), ``no_attribute``,
    ``no_description`` (no description fits the last page alone), and those of
    ``osvl_plugins.curation.wording.checked``.

    Raises ``CorpusError`` when a row is of another graph.
    """
    return sorted_out(for_each(context.language, partial(_ask, context, certifier(context.graph), held_out), rows))


async def _ask(
    context: StageContext[QuestionSettings], found: Certifier, held_out: NDArray[np.bool_] | None, row: Candidate
) -> Candidate | Reject:
    settings, rng = context.settings, context.rng(STAGE, row)
    route = Route.of(row, found)
    shortcut = find_shortcut(route)
    if shortcut:
        return Reject(row.id, STAGE, "shortcut", shortcut)
    facts = [
        fact
        for fact in route.pages[-1].facts
        if is_attribute(fact, route, settings) and (held_out is None or _on_side(fact, row, found, held_out))
    ]
    if not facts:
        return Reject(row.id, STAGE, "no_attribute", row.path[-1])
    fact = rng.choice(facts)
    answers = accepted_answers(fact, found)
    last = len(route.pages) - 1
    form = describe(route, found, last, (*route.names(0), *answers), rng, settings.max_lines)
    if form is None:
        return Reject(row.id, STAGE, "no_description", f"{row.path[-1]} by {row.path[-2]}")
    plan = make_plan(route, found, fact.relation, [form], wording_seed(context.seed, row))
    rules = Rules(tuple(place.title for place in plan.places[:-1]), route.names(last), answers)
    wording = await checked(context.language, plan, context.language.ask(plan), rules)
    if isinstance(wording, Refusal):
        return Reject(row.id, STAGE, *wording)
    return replace(
        row,
        attribute=fact.relation,
        answer=fact.value,
        accepted=answers,
        canonical=wording.question,
        question=wording.question,
        rewrites=(Rewrite(row.path[-1], wording.phrase, form.to_json(), len(found.fitting(form))),),
        evidence=row.path,
        seed=context.seed,
    )


def find_shortcut(route: Route) -> str:
    """A fact of a page on the path that leads over the next page to a later one, in words, or ""."""
    ids = [page.id for page in route.pages]
    for at, page in enumerate(route.pages):
        for fact in page.facts:
            if fact.target in ids[at + 2 :]:
                return f"{page.id} has {fact.relation}: {fact.target}"
    return ""


def is_attribute(fact: Fact, route: Route, settings: QuestionSettings) -> bool:
    """Whether a question can ask for a fact of the last page: short, one value, and new on the path.

    New: no link back, in no title of the path, and stated by no earlier page, from which it could be had with fewer
    hops.
    """
    value = fact.value.strip()
    words = normalise(value).split()
    if not value or value.casefold() in _NO_ANSWERS or len(value) > settings.max_answer_chars:
        return False
    if len(words) > settings.max_answer_words or (fact.target is None and _LIST.search(value)):
        return False
    if _LIST_TITLE.match(value) or not readable(fact.relation) or fact.relation in {hop.relation for hop in route.hops}:
        return False
    if fact.target in {page.id for page in route.pages}:
        return False
    if any(first_leak(page.title, [value]) is not None for page in route.pages):
        return False
    return not any(_states(page, fact) for page in route.pages[:-1])


def accepted_answers(fact: Fact, found: Certifier) -> tuple[str, ...]:
    """The value of a fact and the names of the page that it leads to."""
    names = titles_of(found.page(found.node(fact.target))) if fact.target is not None else ()
    return tuple(dict.fromkeys([fact.value, *names]))


def _on_side(fact: Fact, row: Candidate, found: Certifier, held_out: NDArray[np.bool_]) -> bool:
    return fact.target is None or bool(held_out[found.node(fact.target)]) == (row.split == "held_out")


def _states(page: Page, fact: Fact) -> bool:
    if fact.target is not None:
        return any(own.target == fact.target for own in page.facts)
    return any((own.relation, own.value) == (fact.relation, fact.value) for own in page.facts)
