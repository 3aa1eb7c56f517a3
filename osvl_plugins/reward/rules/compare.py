"""Whether an answer is one of the accepted ones, by rules alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from osvl_plugins.reward.answer import MAX_ANSWER_CHARS, final_answer
from osvl_plugins.reward.rules.choices import options_of, picks
from osvl_plugins.reward.rules.dates import lies_within, read_dates, says_date
from osvl_plugins.reward.rules.frames import MAX_CORE_CHARS, cores
from osvl_plugins.reward.rules.names import same_name
from osvl_plugins.reward.rules.polarity import abstains, is_polar, polarity
from osvl_plugins.reward.rules.quantities import read_quantities, same_quantity
from osvl_plugins.reward.rules.ranges import read_ranges
from osvl_plugins.reward.rules.text import key, plain, stem, token_f1, tokens

MAX_QUESTION_CHARS = 4000
"""What of a question is read: its frame and its options stand there."""
MAX_GOLD_WORDS = 12
"""A longer accepted answer is free text: only equality tells."""

_LIST = re.compile(r",? and |, ?|;|、|&|和|与|及|/")
_EITHER = re.compile(r"\bor\b|\bvs\b|;|、|\||/|,|\band\b|或|还是|和|\s\d\.\s", re.IGNORECASE)
_NEGATED = re.compile(
    r"\b(?:not|never|no|non|isn't|wasn't|except|anything but|wrong|incorrect)\b|不|没|非", re.IGNORECASE
)
_SEVERAL_ASKED = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|both|list|duo|pair|couple|are|were)\b|哪些|[两三四五六几]", re.IGNORECASE
)
_CODE_ASKED = re.compile(
    r"\b(?:version|release|code|serial|chapter|section|postcode|zip|phone|address)\b|版本|编号", re.IGNORECASE
)
_FORMULA = re.compile(r"(?!.*[^\W\d_]{2})(?=.*[!*/|()\[\]^+=<>-])(?=.*[^\W_]).{1,80}")
_ASIDE = re.compile(
    r"^([^()]{1,200})\((?:formerly|previously|also|also known as|aka|a\.k\.a\.|born|real name|i\.e\.)?:? ?"
    r"([^()]{1,200})\)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Comparison:
    """What the rules found. ``f1`` is the share of words in common, a figure for reports that decides nothing."""

    right: bool | None
    """None: the rules cannot tell."""
    why: str
    f1: float = 0.0


class Rules:
    """The rule-based comparison: the same texts give the same result, in any process and in bounded time.

    It knows spelling, aliases, numbers with units, dates, choices, yes and no, names, lists in any order and short
    sentences around any of them, in English and Chinese. It knows no synonyms beyond the accepted answers, and neither
    converts currencies nor traditional to simplified Chinese.
    """

    name = "rules"
    version = "2"

    def compare(self, question: str, accepted: Sequence[str], answer: str) -> Comparison:
        r"""Whether ``answer`` says the same as one of ``accepted``, of which a ``\boxed{…}`` counts alone.

        Right when one of them is matched, wrong when it contradicts them all, None when the rules cannot tell. Raises
        ``ValueError`` when nothing is accepted: a question without an answer cannot be judged.
        """
        # Answers of the released RL data are prose around a box.
        read = [final_answer(gold) if "boxed{" in gold else gold for gold in accepted]
        golds = [gold for gold in read if normalised(gold)]
        if not golds:
            raise ValueError("there is no accepted answer to compare with")
        if len(answer) > MAX_ANSWER_CHARS:
            return Comparison(False, f"longer than {MAX_ANSWER_CHARS} characters")
        said = final_answer(answer)
        f1 = max(token_f1(gold, said) for gold in golds)
        if not normalised(said):
            return Comparison(False, "says nothing", f1)
        asked = question[:MAX_QUESTION_CHARS]
        found = [_compare(asked, gold, said) for gold in golds]
        if right := next((each for each in found if each.right), None):
            return Comparison(True, right.why, f1)
        if _by_two_names(asked, golds, said):
            return Comparison(True, "two accepted answers, one in brackets", f1)
        rest = next((each for each in found if each.right is None), found[0])
        return Comparison(rest.right, rest.why, f1)


def normalised(text: str) -> str:
    """What is compared of ``text``; empty when there is nothing to compare."""
    return key(text[:MAX_ANSWER_CHARS])


def _compare(question: str, gold: str, said: str) -> Comparison:
    options = options_of(question)
    chosen = picks(options, gold) if options else None
    framed = cores(question, said)
    if chosen:
        return _choice(options, chosen, framed)
    if is_polar(question, gold):
        return _polar(gold, said)
    verdicts: list[Comparison] = []
    for core in framed:
        for rule in _RULES:
            found = rule(question, gold, core)
            if found is not None and found.right:
                return found
            if found is not None:
                verdicts.append(found)
    if len(tokens(gold)) > MAX_GOLD_WORDS:
        return Comparison(None, "a long accepted answer that is not repeated")
    return _mismatch(gold, said, verdicts)


def _choice(options: dict[str, str], chosen: frozenset[str], framed: list[str]) -> Comparison:
    for core in framed:
        letters = picks(options, core)
        if letters is not None:
            return Comparison(
                letters == chosen, f"picks {', '.join(sorted(letters)) or 'letter and text of two options'}"
            )
    return Comparison(None, "picks no option that can be read")


def _polar(gold: str, said: str) -> Comparison:
    side = polarity(said)
    if side is None:
        return Comparison(False if abstains(said) else None, "takes no side that can be read")
    return Comparison(side == polarity(gold), f"says {'yes' if side else 'no'}")


def _text_rule(question: str, gold: str, core: str) -> Comparison | None:
    if normalised(gold) != normalised(core):
        return None
    symbols = _symbols(gold)
    if symbols != _symbols(core) and (_FORMULA.fullmatch(symbols) or _FORMULA.fullmatch(_symbols(core))):
        return None
    return Comparison(True, "the same words")


def _symbols(text: str) -> str:
    """``text`` without spaces and without the brackets and stops around it, for formulas: a*b is not a/b."""
    line = "".join(plain(text).casefold().split()).rstrip(".,;:")
    return line[1:-1] if re.fullmatch(r"\([^()]*\)", line) else line.rstrip(")") if "(" not in line else line


def _date_rule(question: str, gold: str, core: str) -> Comparison | None:
    golds, dates = read_dates(gold), read_dates(core)
    if not dates and "century" in question.lower():
        dates = read_dates(f"{core} century")
    if len(golds) != 1 or not dates:
        return None
    says = [says_date(golds[0], date) for date in dates]
    if any(says) and not all(says):
        return Comparison(None, "day and month may be either way round")
    if lies_within(golds[0], dates[0]):
        return Comparison(None, "a year of it")
    return Comparison(says[0], "the same date" if says[0] else "another date")


def _number_rule(question: str, gold: str, core: str) -> Comparison | None:
    if _CODE_ASKED.search(question):
        return None  # version 3.10 is not 3.1
    results = [same_quantity(question, one, other) for one in read_quantities(gold) for other in read_quantities(core)]
    if not results:
        return None
    if any(results):
        return Comparison(True, "the same quantity")
    return Comparison(None if None in results else False, "another number or unit")


def _range_rule(question: str, gold: str, core: str) -> Comparison | None:
    golds, ranges = read_ranges(gold), read_ranges(core)
    if not golds:
        return Comparison(False, "a range for one number") if ranges and read_quantities(gold) else None
    if not ranges:
        return Comparison(False, "one number for two") if read_quantities(core) else None
    same = any(
        all(same_quantity(question, one, other) for one, other in zip(pair, said, strict=True))
        for pair in golds
        for said in ranges
    )
    return Comparison(same, "the same two numbers" if same else "other numbers")


def _list_rule(question: str, gold: str, core: str) -> Comparison | None:
    if max(len(gold), len(core)) > MAX_CORE_CHARS:
        return None
    expected = [normalised(part) for part in _LIST.split(plain(gold))]
    given = [normalised(part) for part in _LIST.split(plain(core))]
    if len(expected) < 2 or len(given) < 2 or not all(expected) or not all(given):
        return None
    if expected != given and not _SEVERAL_ASKED.search(question):
        return None  # War and Peace
    return Comparison(True, "the same list") if sorted(expected) == sorted(given) else None


def _name_rule(question: str, gold: str, core: str) -> Comparison | None:
    same = same_name(gold, core)
    return None if same is None else Comparison(same, "the same name" if same else "another first name")


_RULES: tuple[Callable[[str, str, str], Comparison | None], ...] = (
    _text_rule, _date_rule, _range_rule, _number_rule, _list_rule, _name_rule,
)  # fmt: skip


def _by_two_names(question: str, golds: Sequence[str], said: str) -> bool:
    """Whether ``said`` is one accepted answer with another in brackets."""
    aside = _ASIDE.match(plain(said).rstrip(" .。"))
    return aside is not None and all(
        any(_text_rule(question, gold, core) for gold in golds for core in cores(question, part))
        for part in aside.groups()
    )


def _mismatch(gold: str, said: str, verdicts: list[Comparison]) -> Comparison:
    """Wrong where that is certain; otherwise the rules cannot tell."""
    if any(verdict.right is None for verdict in verdicts):
        return next(verdict for verdict in verdicts if verdict.right is None)
    if verdicts:
        return verdicts[0]
    line = plain(said)
    parts = [normalised(part) for part in _EITHER.split(line) if normalised(part)]
    if len(parts) > 1 and normalised(gold) in parts:
        # "Oslo, not Bergen" is one answer.
        return Comparison(None if _NEGATED.search(line) else False, "several answers")
    expected, given = {stem(word) for word in tokens(gold)}, [stem(word) for word in tokens(said)]
    if len(given) <= MAX_GOLD_WORDS and _NEGATED.search(line) and expected <= set(given) and len(parts) == 1:
        return Comparison(False, "denies it")
    # Holland and the Netherlands have no word in common.
    return Comparison(None, "not an accepted answer, though it may say the same")
