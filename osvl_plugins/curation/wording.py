"""What any wording of a question must hold to, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable
from typing import Literal, NamedTuple

from osvl_plugins.curation.candidate import Candidate, Reject, StageResult
from osvl_plugins.curation.language.protocol import Language, Plan, Wording
from osvl_plugins.curation.leaks import first_leak, in_words, mentions, without
from osvl_plugins.errors import ToolError

_SENTENCE = re.compile(r"(?<=[.!?:]) (?=[^a-z])")
Fault = Literal["malformed", "phrase_missing", "name_missing", "other_question", "answer_shown", "name_shown"]
MAX_CHARS = 1000
MAX_PHRASE_CHARS = 400
MAX_DETAIL_CHARS = 500
MIN_KEPT = 0.5
"""Share of the words of the question before that stand in the new one, the replaced name apart."""


class Rules(NamedTuple):
    """``named``: titles that the question must still name. ``hidden``: names that it must not give away.

    ``answers``: what it must not say either, not even as a part of a title that it names. ``before``: the sentence
    that asked before, "" for a first wording; ``replaced``: the name in it that gives way.
    """

    named: tuple[str, ...]
    hidden: tuple[str, ...]
    answers: tuple[str, ...]
    before: str = ""
    replaced: str = ""


def find_fault(wording: Wording, rules: Rules) -> tuple[Fault, str] | None:
    """The first rule that a wording breaks, with what breaks it, or None."""
    text, phrase = wording
    if not text.endswith("?") or "\n" in text or not text.isprintable() or len(text) > MAX_CHARS:
        return "malformed", text[:200]
    if not phrase or len(phrase) > MAX_PHRASE_CHARS or in_words(phrase) not in in_words(text):
        return "phrase_missing", phrase[:200]
    missing = next((title for title in rules.named if not mentions(in_words(text), title)), None)
    if missing is not None:
        return "name_missing", missing
    kept = _kept(text, rules)
    if kept < MIN_KEPT:
        return "other_question", f"{kept:.0%} of the words are left"
    said = first_leak(text, rules.answers)
    if said is not None:
        return "answer_shown", said
    # A name that still stands there may hold one that is gone: Mexico City stands for Mexico no longer.
    leaked = first_leak(without(text, rules.named), rules.hidden)
    return ("name_shown", leaked) if leaked is not None else None


def last_sentence(question: str) -> str:
    """The sentence of a question that asks."""
    return _SENTENCE.split(question)[-1]


def _kept(text: str, rules: Rules) -> float:
    words = set(in_words(rules.before).split()) - set(in_words(rules.replaced).split())
    return len(words & set(in_words(text).split())) / len(words) if words else 1.0


class Refusal(NamedTuple):
    """Why no wording stands: reason and detail of a ``Reject``."""

    reason: str
    detail: str


async def checked(language: Language, plan: Plan, wording: Awaitable[Wording], rules: Rules) -> Wording | Refusal:
    """The wording, if the engine gives one, it holds to the rules, and the engine finds that it says the plan.

    Reasons otherwise: a ``Fault``, ``objection``, or ``language_`` with the kind of a ``ToolError``.
    """
    try:
        found = await wording
        fault = find_fault(found, rules)
        if fault is not None:
            return Refusal(*fault)
        meant = plan if plan.described else plan._replace(shown=found.phrase)
        objection = await language.objection(meant, found.question)
    except ToolError as error:
        return Refusal(f"language_{error.kind}", str(error)[:MAX_DETAIL_CHARS])
    return Refusal("objection", objection[:MAX_DETAIL_CHARS]) if objection else found


def sorted_out(results: Iterable[Candidate | Reject]) -> StageResult:
    """Rows and rejects apart, each in their order."""
    listed = list(results)
    rows = [result for result in listed if isinstance(result, Candidate)]
    return StageResult(rows, [result for result in listed if isinstance(result, Reject)])
