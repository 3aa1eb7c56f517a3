"""Numbers with and without units: reading them, and whether two are the same quantity."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from osvl_plugins.reward.rules.numerals import Number, read_number
from osvl_plugins.reward.rules.text import is_han, plain, stem, tokens, vocabulary
from osvl_plugins.reward.rules.units import LONGEST_UNIT, Unit, units_named

ROUNDING_LIMIT = Fraction(1, 50)
"""However coarsely the accepted answer is written, a rounded value differs from it by at most this share."""
MAX_QUANTITY_CHARS = 200
_MIN_FIGURES = 3
"""Written digits from which a converted value says the original one."""

_ABOUT = re.compile(
    r"^(?:(?:it is |is )?(?:about|approximately|approx\.?|around|roughly|circa|ca\.?|c\.|some|nearly|almost|exactly)\s?"
    r"|[~≈]\s?|大约|约|大概|差不多|共有|共|有)",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"^(more than|over|above|at least|no less than|less than|fewer than|under|below|at most|up to|no more than"
    r"|not more than|[<>≤≥]=?|超过|不到|不足|至少|至多|最多|多于|少于)\s?",
    re.IGNORECASE,
)
_PREFIXED = re.compile(r"^(-?)((?:US|A|C)?\$|[€£¥₹₽₩])\s?(?=\d)")
_PERCENT_HAN = re.compile(r"^百分之")
_UNIT_WORD = re.compile(r"[\w°%‰$€£¥₹₽₩µμ″′\"'/^·-]+")
_JOIN = re.compile(r",? ?(?:and )?")
_AFTER = re.compile(
    r"^(?:tall|high|long|wide|deep|away|old|in (?:height|length|width|area|total|all)|above sea level|a\.s\.l\.)$"
)
_AFTER_HAN = ("高", "长", "宽", "深", "远", "重", "左右")
_MAGNITUDE = re.compile(r"^(k|K|m|M|mn|bn|B|b|mio)\b\.?")
_MAGNITUDES = {"k": 10**3, "m": 10**6, "mn": 10**6, "mio": 10**6, "bn": 10**9, "b": 10**9}
_NOUN = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*(?: [^\W\d_]+(?:['-][^\W\d_]+)*){0,3}")
_NO_NOUN = vocabulary(
    "or and to not plus minus times more less dozen hundred thousand million billion trillion percent if but than maybe"
    " at least most max min per over under above below out of half"
)
_CLASSIFIERS = frozenset("个個名位级級座条條人只隻本张張层層种種次岁歲号號路块枚艘架辆家所")
_ASKED_UNIT = re.compile(
    r"\b(?:in|how many|number of|what) ((?:[a-z]+ ){0,3}?[a-zA-Z/°^]+)|\(([^()]{1,20})\)|[多几幾]少?([^\W\d_？?]{1,5})",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A number as an answer gives it: ``value`` in the base unit of ``unit``'s dimension, or bare."""

    value: Fraction
    step: Fraction
    """What one more in the last written digit would add, in the base unit."""
    rounded: bool
    figures: int
    unit: Unit | None = None
    bound: str = ""
    """What limits it: "more than"."""
    noun: str = ""
    """What is counted: "bones"."""
    ordinal: bool = False


def read_quantities(text: str) -> tuple[Quantity, ...]:
    """What ``text`` may mean as one quantity, all of it; empty when it is something else. "Pounds" weigh and pay."""
    if len(text) > MAX_QUANTITY_CHARS:
        return ()
    text = plain(text).strip(" “”.。,;:")
    text = text if re.search(r"\d['\"]$", text) else text.strip("\"'")
    bound = _BOUND.match(text)
    rest = text[bound.end() :] if bound else text
    rest = _ABOUT.sub("", rest, count=1)
    mark = bound[1].lower() if bound else ""
    if rest.endswith("+"):
        mark, rest = mark or "+", rest[:-1]
    return tuple(replace(read, bound=mark) for read in _whole(rest))


def _whole(text: str) -> list[Quantity]:
    share = _PERCENT_HAN.match(text)
    money = _PREFIXED.match(text)
    start = share.end() if share else money.end() if money else 0
    number = read_number(text, start)
    if number is None:
        return []
    if money and money[1]:
        number = number._replace(value=-number.value)
    rest = text[number.end :]
    if share:
        return [_of(number, unit) for unit in units_named("%")] if not rest else []
    if money:
        scaled = _magnified(number, rest)
        number, rest = (scaled[0], scaled[1]) if scaled else (number, rest)
        if not rest or rest.strip().lower() in ("usd", "eur", "gbp", "us dollars", "dollars", "euros"):
            return [_of(number, unit) for unit in units_named(money[2].replace("US$", "us$"))]
        return []
    return _tailed(number, rest)


def _tailed(number: Number, rest: str) -> list[Quantity]:
    """``number`` with all that may follow it: nothing, k or bn, a unit with more parts, a noun."""
    if not rest.strip():
        return [_of(number, None)]
    found = []
    scaled = _magnified(number, rest)
    if scaled:
        found += [replace(read, rounded=True) for read in _tailed(scaled[0], scaled[1])]
    for end, units in _unit_at(rest):
        for unit in units:
            found += _parts(_of(number, unit), rest[end:])
    noun = rest.strip(" .")
    words = noun.lower().split()
    if not found and _NOUN.fullmatch(noun) and not (_NO_NOUN & set(words)) and (is_han(noun) or rest[0] in " -"):
        found.append(replace(_of(number, None), noun=noun))
    return found


def _magnified(number: Number, rest: str) -> tuple[Number, str] | None:
    """``number`` in thousands, millions or billions where a letter glued to it may say so, and what follows."""
    letter = _MAGNITUDE.match(rest)
    if letter is None or number.ordinal:
        return None
    scale = _MAGNITUDES[letter[1].lower()]
    return number._replace(value=number.value * scale, step=number.step * scale), rest[letter.end() :]


def _unit_at(rest: str) -> Iterable[tuple[int, tuple[Unit, ...]]]:
    """The longest unit at the start of ``rest``, and where it ends."""
    begin = len(rest) - len(rest.lstrip(" -"))
    for end in range(min(len(rest), begin + LONGEST_UNIT + 1), begin, -1):
        name = rest[begin:end]
        units = units_named(name) or units_named(name.rstrip("."))
        cut = end == len(rest) or not (rest[end].isalnum() and name[-1].isascii() and name[-1].isalpha())
        if units and cut and not rest[end : end + 1].startswith(("^", "/", "²", "³")):
            yield end, units
            return


def _parts(read: Quantity, rest: str) -> list[Quantity]:
    """``read`` and the smaller parts after it: "2 h 22 min", "6 ft 2 in", "6'2"."""
    rest = rest.strip(" .")
    if not rest or _AFTER.match(rest) or rest in _AFTER_HAN:
        return [read]
    join = _JOIN.match(rest)
    number = read_number(rest, join.end() if join else 0)
    assert read.unit is not None
    if number is None or read.unit.dimension not in ("length", "time", "span", "mass"):
        return []
    after = rest[number.end :]
    options = [(end, unit) for end, units in _unit_at(after) for unit in units]
    if not after.strip() and read.unit == units_named("ft")[0]:
        options = [(len(after), units_named("in")[0])]
    found = []
    for end, unit in options:
        if unit.dimension == read.unit.dimension and unit.factor < read.unit.factor:
            part = _of(number, unit)
            whole = replace(part, value=read.value + part.value, figures=read.figures + part.figures, rounded=False)
            found += _parts(whole, after[end:])
    return found


def _of(number: Number, unit: Unit | None) -> Quantity:
    factor, offset = (unit.factor, unit.offset) if unit else (Fraction(1), Fraction(0))
    value = number.value * factor + offset
    return Quantity(value, number.step * factor, number.rounded, number.figures, unit, ordinal=number.ordinal)


def asked_units(question: str) -> tuple[Unit, ...]:
    """The units that the question asks for: "in metres", "how many years", 多少米."""
    found: list[Unit] = []
    if re.search(r"percent|per cent|%|百分", question, re.IGNORECASE):
        found += units_named("%")
    for asked in _ASKED_UNIT.finditer(plain(question)):
        words = (asked[1] or asked[2] or asked[3]).strip()
        for end in range(len(words), 0, -1):
            if units_named(words[:end]):
                found += units_named(words[:end])
                break
    return tuple(found)


def same_quantity(question: str, gold: Quantity, said: Quantity) -> bool | None:
    """Whether ``said`` is ``gold``; None when a unit is missing on one side and the question does not name it.

    Equal is equal after conversion; or nearer to ``gold`` than half of its last written digit (and than 2 %) where gold
    is a rounded or measured value and ``said`` is written with more digits or in another unit.
    """
    if gold.bound != said.bound:
        return None if gold.bound else False
    if gold.unit is None and said.unit is None:
        return _same_count(question, gold, said)
    if gold.unit is None or said.unit is None:
        return _with_asked_unit(question, gold, said)
    if gold.unit.dimension != said.unit.dimension:
        return False
    return _close(gold, said)


def _same_count(question: str, gold: Quantity, said: Quantity) -> bool | None:
    if not _close(gold, said) or (said.ordinal and not gold.ordinal):
        return False
    nouns = {stem(word) for word in tokens(said.noun)}
    known = {stem(word) for word in tokens(f"{question} {gold.noun}")} | _CLASSIFIERS | {"the"}
    if nouns <= known or (gold.ordinal and not gold.noun and nouns <= known):
        return True
    return None


def _with_asked_unit(question: str, gold: Quantity, said: Quantity) -> bool | None:
    """One of them is bare: it counts the unit that the question asks for, or it is a share of one."""
    bare, full = (gold, said) if gold.unit is None else (said, gold)
    assert full.unit is not None
    if bare.noun:
        return None
    if full.unit.dimension == "share" and bare.value == full.value and abs(bare.value) <= 1:
        return True
    asked = [unit for unit in asked_units(question) if unit.dimension == full.unit.dimension]
    if not asked:
        return None if abs(full.value - bare.value * full.unit.factor - full.unit.offset) <= full.step else False
    unit = asked[0]
    meant = replace(bare, value=bare.value * unit.factor + unit.offset, step=bare.step * unit.factor, unit=unit)
    return _close(meant, said) if gold.unit is None else _close(gold, meant)


def _close(gold: Quantity, said: Quantity) -> bool:
    if gold.value == said.value:
        return True
    gap = abs(gold.value - said.value)
    scale = abs(gold.value - (gold.unit.offset if gold.unit else 0))
    if gap > ROUNDING_LIMIT * scale:
        return False
    if not (gold.rounded or (gold.unit is not None and gold.step)):
        return False
    converted = gold.unit != said.unit
    if said.step < gold.step or converted:
        return gap <= gold.step / 2 or (converted and said.figures >= _MIN_FIGURES and gap <= said.step / 2)
    return False
