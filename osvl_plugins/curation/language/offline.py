"""Words by rule: grammatical, the same for the same seed, and only what the plan says."""

from __future__ import annotations

import random
from collections.abc import Sequence

from osvl_plugins.curation.forms import Line
from osvl_plugins.curation.language.phrases import named, phrase, pictured
from osvl_plugins.curation.language.protocol import Plan, Wording

VERSION = "offline-1"


class OfflineLanguage:
    """The default engine (``Language``). It never fails, and objects to nothing, as it has nothing to add."""

    @property
    def version(self) -> str:
        """As ``Language.version``."""
        return VERSION

    async def ask(self, plan: Plan) -> Wording:
        """As ``Language.ask``."""
        return Wording(question_text(plan), noun(plan, len(plan.places) - 1))

    async def rewrite(self, plan: Plan, question: str) -> Wording:
        """As ``Language.rewrite``; the question is worded anew."""
        return Wording(question_text(plan), noun(plan, plan.described))

    async def ground(self, plan: Plan, question: str, picture: str) -> Wording:
        """As ``Language.ground``."""
        shown = visual_expression(plan, picture)
        return Wording(question_text(plan._replace(shown=shown)), shown)

    async def objection(self, plan: Plan, question: str) -> str:
        """As ``Language.objection``."""
        return ""

    async def aclose(self) -> None:
        """Nothing is held."""


def question_text(plan: Plan) -> str:
    """The question of a plan: named steps as sentences, then what is asked.

    What is described at length gets a sentence of its own first.
    """
    first, last = max(1, plan.described), len(plan.places) - 1
    sentences = [statement(plan, index) for index in range(1, first)]
    middle = (first + last) // 2
    if last - first >= 2:
        # Three and more descriptions inside each other are hard to read.
        opening = _choice(plan, "opening", ("Find {}.", "Take {}.", "Start with {}."))
        sentences.append(opening.format(noun(plan, middle)))
        about = noun(plan, last, given=(middle, f"that {plan.places[middle].word.removesuffix(' of the world')}"))
    else:
        about = noun(plan, last)
    kind = plan.places[last].kind
    sentences.append(_choice(plan, "ask", phrase(plan.attribute, kind).ask).format(about))
    return " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences)


def statement(plan: Plan, index: int) -> str:
    """How the place before leads to place ``index``, by name: "The capital of Norway is Oslo."."""
    place, tie = plan.places[index], plan.forms[index - 1].tie
    before, name = noun(plan, index - 1), named(place.title, place.kind)
    if tie.direction == "forward":
        return f"{_described(plan, index, before)} is {name}."
    if tie.direction == "link":
        return f"{_article_on(plan, index - 1, before)} links to {name}."
    return f"{name} is {_with_article(place.word)} {_tied(plan, index, before)}."


def visual_expression(plan: Plan, picture: str) -> str:
    """Words for what the picture with that caption shows of the anchor."""
    place = plan.places[0]
    return _choice(plan, "picture", pictured(place.kind, picture, place.title))


def noun(plan: Plan, index: int, given: tuple[int, str] | None = None) -> str:
    """Place ``index`` as a noun phrase; ``given`` is a place that the text has named, and how."""
    if given is not None and index == given[0]:
        return given[1]
    place = plan.places[index]
    if index == 0 and plan.shown:
        return plan.shown
    if index < plan.described:
        return named(place.title, place.kind)
    return _described(plan, index, noun(plan, index - 1, given))


def _described(plan: Plan, index: int, known: str) -> str:
    place, before, form = plan.places[index], plan.places[index - 1], plan.forms[index - 1]
    if form.tie.direction == "forward":
        return _choice(plan, f"of {index}", phrase(form.tie.relation, before.kind).of).format(known)
    link = form.tie.direction == "link"
    tied = f"which is linked in {_article_on(plan, index - 1, known)}" if link else _tied(plan, index, known)
    # What only narrows down stands next to the word: "the city in Norway whose mayor is … and whose twin is …".
    broad = [_line(plan, line, place.kind) for line in form.lines if phrase(line.relation, place.kind).broad]
    rest = [_line(plan, line, place.kind) for line in form.lines if not phrase(line.relation, place.kind).broad]
    return " ".join([f"the {place.word}", *broad, " and ".join([*rest, tied])])


def _article_on(plan: Plan, index: int, words: str) -> str:
    is_named = index < plan.described and not (index == 0 and plan.shown)
    return f"the article “{plan.places[index].title}”" if is_named else f"the article on {words}"


def _tied(plan: Plan, index: int, known: str) -> str:
    words = phrase(plan.forms[index - 1].tie.relation, plan.places[index].kind)
    return _choice(plan, f"whose {index}", words.whose).format(known)


def _with_article(word: str) -> str:
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"


def _line(plan: Plan, line: Line, kind: str) -> str:
    words = phrase(line.relation, kind)
    value = line.value if line.target is None else named(line.value, "")
    return _choice(plan, f"line {line.relation}", words.whose).format(value)


def _choice(plan: Plan, about: str, texts: Sequence[str]) -> str:
    return random.Random(f"{plan.seed}/{about}").choice(list(texts))
