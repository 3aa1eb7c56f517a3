"""The third stage, fuzzy entity rewriting: from the farthest bridge back to the first, names give way to descriptions.

One name at a time is replaced by what relates its page to the page before it. A rewrite stands only under a
certificate: of all pages of the graph only this one fits the description, the whole still leads to the same answer, and
the text gives away no name that it has replaced, nor the answer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pydantic import Field

from osvl_plugins.curation.candidate import Candidate, Reject, Rewrite, StageContext, StageResult
from osvl_plugins.curation.certify import Certifier, certifier
from osvl_plugins.curation.descriptions import Route, describe, make_plan, wording_seed
from osvl_plugins.curation.forms import Form
from osvl_plugins.curation.language.protocol import Plan, Wording, for_each
from osvl_plugins.curation.wording import Refusal, Rules, checked, last_sentence, sorted_out
from osvl_plugins.settings import Settings

STAGE = "rewrite"


class RewriteSettings(Settings):
    """How hard a rewrite is tried."""

    attempts: int = Field(default=3, ge=1)
    """Wordings of one description that are tried until one passes."""
    max_lines: int = Field(default=2, ge=0)
    """Most facts that narrow a description down to its page."""


def run(rows: list[Candidate], context: StageContext[RewriteSettings]) -> StageResult:
    """Rows in which only the anchor is named.

    Reasons of rejects: ``no_description`` (no description fits the page alone), ``other_answer`` (the whole no longer
    leads to the answer page alone), and those of ``osvl_plugins.curation.wording.checked``.

    Raises ``CorpusError`` when a row is of another graph.
    """
    return sorted_out(for_each(context.language, partial(_rewrite, context, certifier(context.graph)), rows))


async def _rewrite(context: StageContext[RewriteSettings], found: Certifier, row: Candidate) -> Candidate | Reject:
    route, rng = Route.of(row, found), context.rng(STAGE, row)
    seed = wording_seed(context.seed, row)
    avoid = (*route.names(0), *row.accepted)
    forms = [Form.from_json(rewrite.form) for rewrite in row.rewrites]
    for index in range(len(row.path) - 2, 0, -1):
        form = describe(route, found, index, avoid, rng, context.settings.max_lines)
        if form is None:
            return Reject(row.id, STAGE, "no_description", f"{row.path[index]} by {row.path[index - 1]}")
        forms.insert(0, form)
        reached = found.chain(row.path[index - 1], forms)
        if reached != [route.nodes[-1]]:
            return Reject(row.id, STAGE, "other_answer", ", ".join(map(context.graph.id, reached))[:500])
        rules = Rules(
            tuple(place.title for place in route.places[:index]),
            route.names(index),
            row.accepted,
            last_sentence(row.question),
            route.places[index].title,
        )
        plan = make_plan(route, found, row.attribute, forms, seed)
        wording = await _worded(context, row.question, plan, rules)
        if isinstance(wording, Refusal):
            return Reject(row.id, STAGE, *wording)
        rewrite = Rewrite(row.path[index], wording.phrase, form.to_json(), len(found.fitting(form)))
        row = replace(row, question=wording.question, rewrites=(*row.rewrites, rewrite))
    return row


async def _worded(context: StageContext[RewriteSettings], question: str, plan: Plan, rules: Rules) -> Wording | Refusal:
    """The first wording that stands, or why the last one does not."""
    attempt = 0
    while True:
        tried = plan._replace(seed=f"{plan.seed}/{attempt}") if attempt else plan
        found = await checked(context.language, tried, context.language.rewrite(tried, question), rules)
        attempt += 1
        if isinstance(found, Wording) or attempt == context.settings.attempts:
            return found
