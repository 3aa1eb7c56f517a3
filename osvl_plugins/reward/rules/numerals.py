"""Numbers in figures and in words, English and Chinese, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from osvl_plugins.reward.rules.text import numbered

MAX_DIGITS = 60
MAX_EXPONENT = 100
"""Longer numbers are not read: no answer has them, and exact arithmetic on them takes time."""

_SMALL = numbered(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen",
    0,
)
_TENS = {word: 10 * tens for word, tens in numbered("twenty thirty forty fifty sixty seventy eighty ninety", 2).items()}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ORDINALS = {
    "first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine",
    "twelfth": "twelve", "twentieth": "twenty", "thirtieth": "thirty", "fortieth": "forty", "fiftieth": "fifty",
    "sixtieth": "sixty", "seventieth": "seventy", "eightieth": "eighty", "ninetieth": "ninety",
}  # fmt: skip
_HAN_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {
    "〇": 0, "两": 2, "兩": 2, "壹": 1, "贰": 2, "叁": 3, "肆": 4, "伍": 5, "陆": 6, "柒": 7, "捌": 8, "玖": 9,
}  # fmt: skip
_HAN_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_HAN_SCALES = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}

HAN_NUMBER = "[零〇一二两兩三四五六七八九十百千壹贰叁肆伍陆柒捌玖拾佰仟万萬亿億]"
_FIGURES = re.compile(
    r"(?P<sign>[+-]\s?)?(?P<whole>\d{1,3}(?: \d{3})+(?![\d])|\d{1,60})(?P<decimals>\.\d{1,60})?"
    r"(?:\s?(?:[x×*·]|\\times)\s?10\s?(?:\^|\*\*)\s?\(?(?P<power>[+-]?\d{1,3})\)?|[eE](?P<exponent>[+-]?\d{1,3})(?![\w.]))?"
    r"(?![\d])"
)
_OVER = re.compile(r"\s?/\s?(\d{1,12})(?![\d/.])")
_TEN_POWER = re.compile(r"(?P<base>\d{1,9})\s?(?:\^|\*\*)\s?(?P<power>-?\d{1,3})(?!\d)")
_MIXED = re.compile(r"(\d{1,12}) (\d{1,6})/(\d{1,6})(?![\d/.])")
_SCALE = re.compile(r"\s?(thousand|million|billion|trillion|dozen|万|萬|亿|億|千万|百万)(?![a-z])", re.IGNORECASE)
_WORDS = re.compile(r"(?:minus |negative )?[a-z]+(?:[ -][a-z]+){0,15}", re.IGNORECASE)
_NTH = re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE)
_HAN = re.compile(HAN_NUMBER + "{1,24}")
_SIGNED = re.compile(r"(?:minus|negative|负|負)\s?(?=\d)", re.IGNORECASE)
_SCALED = {**_SCALES, **_HAN_SCALES, "dozen": 12, "千万": 10**7, "百万": 10**6}


class Number(NamedTuple):
    """A number as it was written."""

    value: Fraction
    step: Fraction
    """What one more in the last written digit would add."""
    rounded: bool
    """Whether it was written with decimals, an exponent or a scale word, so that more digits may exist."""
    figures: int
    """Written digits that count."""
    ordinal: bool = False
    end: int = 0
    """Where in the text it ends."""


def read_number(text: str, start: int = 0) -> Number | None:
    """The number that ``text`` (after ``plain``) has at ``start``, or None."""
    signed = _SIGNED.match(text, start)
    if signed:
        number = _figures(text, signed.end())
        return number and number._replace(value=-number.value)
    return _figures(text, start) or _han(text, start) or _words(text, start)


def _figures(text: str, start: int) -> Number | None:
    mixed = _MIXED.match(text, start)
    if mixed and int(mixed[3]):
        value = int(mixed[1]) + Fraction(int(mixed[2]), int(mixed[3]))
        return Number(value, Fraction(0), False, 9, end=mixed.end())
    power = _TEN_POWER.match(text, start)
    if power and abs(int(power["power"])) <= MAX_EXPONENT and int(power["base"]) in range(2, 1001):
        value = Fraction(int(power["base"])) ** int(power["power"])
        return Number(value, Fraction(0), False, 9, end=power.end())
    match = _FIGURES.match(text, start)
    if match is None:
        return None
    whole, decimals = match["whole"].replace(" ", ""), (match["decimals"] or ".")[1:]
    if len(whole) > 1 and whole[0] == "0":  # a code: "007"
        return None
    exponent = int(match["power"] or match["exponent"] or 0)
    if len(whole) > MAX_DIGITS or abs(exponent) > MAX_EXPONENT:
        return None
    shift = Fraction(10) ** exponent
    value, step = Fraction(int(whole + decimals), 10 ** len(decimals)) * shift, shift / 10 ** len(decimals)
    rounded = bool(decimals or exponent)
    end = match.end()
    over = _OVER.match(text, end)
    if over and not decimals and int(over[1]):
        value, step, end = value / int(over[1]), Fraction(0), over.end()
    elif nth := _NTH.match(text, end):
        return Number(value, step, False, len(whole), True, nth.end())
    if (match["sign"] or "").startswith("-"):
        value = -value
    while scale := _SCALE.match(text, end):
        value, step, end = value * _SCALED[scale[1].lower()], step * _SCALED[scale[1].lower()], scale.end()
        rounded = True
        if abs(value) > 10**80:
            return None
    return Number(value, step, rounded, len((whole + decimals).lstrip("0")), end=end)


def _words(text: str, start: int) -> Number | None:
    """The longest run of number words from ``start``: "two hundred and six", "fifteen hundred", "a dozen"."""
    match = _WORDS.match(text, start)
    if match is None:
        return None
    pieces = [(word[0].lower(), start + word.end()) for word in re.finditer("[A-Za-z]+", match[0])]
    sign = 1
    if pieces[0][0] in ("minus", "negative"):
        sign, pieces = -1, pieces[1:]
    best: Number | None = None
    total = current = 0
    previous = ""
    for at, (word, end) in enumerate(pieces):
        ordinal = word in _ORDINALS or (word.endswith("th") and word[:-2] in {**_SMALL, "hundred": 1, "thousand": 1})
        base = _ORDINALS.get(word, word[:-2] if ordinal else word)
        if base in _SMALL and previous in ("", "and", "hundred", "scale", "tens"):
            if previous == "tens" and not 0 < _SMALL[base] < 10:
                break
            current, previous = current + _SMALL[base], "small"
        elif base in _TENS and previous in ("", "and", "hundred", "scale"):
            current, previous = current + _TENS[base], "tens"
        elif base == "hundred" and (previous in ("small", "tens", "a") and current < 100):
            current, previous = max(current, 1) * 100, "hundred"
        elif base in _SCALES and previous in ("small", "tens", "hundred", "a") and current < 1000:
            total, current, previous = total + max(current, 1) * _SCALES[base], 0, "scale"
        elif base == "dozen" and previous in ("", "a", "small"):
            return Number(Fraction(sign * max(current, 1) * 12), Fraction(1), False, 2, end=end)
        elif base in ("half", "quarter") and previous in ("", "a", "small") and current <= 3:
            return Number(Fraction(sign * max(current, 1), 2 if base == "half" else 4), Fraction(0), False, 9, end=end)
        elif word in ("a", "an") and at == 0:
            previous = "a"
            continue
        elif word == "and" and previous in ("hundred", "scale"):
            previous = "and"
            continue
        else:
            break
        best = Number(Fraction(sign * (total + current)), Fraction(1), False, 9, ordinal, end)
        if ordinal:
            break
    return best


def _han(text: str, start: int) -> Number | None:
    """A Chinese numeral from ``start``: 一百二十三, 一亿二千万, 一九五二."""
    sign = -1 if text[start : start + 1] in ("负", "負") else 1
    match = _HAN.match(text, start + (sign < 0))
    if match is None or match[0][0] in _HAN_SCALES or match[0][0] in "百千佰仟":
        return None
    value = han_value(match[0])
    return None if value is None else Number(Fraction(sign * value), Fraction(1), False, 9, end=match.end())


def han_value(text: str) -> int | None:
    """The value of a Chinese numeral, positional (一九五二) or with units (一百二十三); None for nonsense."""
    if text and all(char in _HAN_DIGITS for char in text):
        return int("".join(str(_HAN_DIGITS[char]) for char in text)) if len(text) <= 12 else None
    for scales, scale in (("亿億", 10**8), ("万萬", 10**4)):
        at = max(map(text.rfind, scales))
        if at >= 0:
            head, tail = han_value(text[:at]), _han_rest(text[at + 1 :], scale)
            return None if head is None or tail is None else head * scale + tail
    for at, char in enumerate(text):
        if char in _HAN_UNITS:
            head = 1 if at == 0 and _HAN_UNITS[char] == 10 else _HAN_DIGITS.get(text[:at]) if at == 1 else None
            tail = _han_rest(text[at + 1 :], _HAN_UNITS[char])
            return None if head is None or tail is None or tail >= _HAN_UNITS[char] else head * _HAN_UNITS[char] + tail
    return None


def _han_rest(text: str, unit: int) -> int | None:
    """What follows a unit: 五 after 万 is 5,000, after 万零 it is 5."""
    if len(text) == 1 and text in _HAN_DIGITS:
        return _HAN_DIGITS[text] * unit // 10
    rest = text.lstrip("零〇")
    return han_value(rest) if rest else 0
