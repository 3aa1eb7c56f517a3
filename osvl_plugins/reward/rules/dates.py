"""Dates and times of day: reading them, and whether one says at least what another does."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import NamedTuple

from osvl_plugins.reward.rules.numerals import han_value, read_number
from osvl_plugins.reward.rules.text import numbered, plain


class Date(NamedTuple):
    """What is known of a date; a year before Christ is negative. A decade is its first year, a century its number."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    decade: int | None = None
    century: int | None = None
    minute: int | None = None
    """Of the day, for a time."""


_MONTHS = (
    numbered("january february march april may june july august september october november december")
    | numbered("jan feb mar apr may jun jul aug sep oct nov dec")
    | {"sept": 9}
)
_DECADES = numbered("twenties thirties forties fifties sixties seventies eighties nineties", 2)
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{1,4})"
_HAN = "[\\d〇零一二三四五六七八九十廿]"

_WEEKDAY = re.compile(r"^(?:on )?(?:mon|tues|wednes|thurs|fri|satur|sun)day,? |[,(]? ?星期[一二三四五六日天]\)?")
_LEAD = re.compile(r"^(?:in |on |at |the year |year |circa |c\. ?|ca\.? |about |around |the (?=\d))+")
_AFTER_CHRIST = re.compile(r"^(?:ad|a\.d\.) | (?:ad|a\.d\.|ce|c\.e\.)$")
_BEFORE_CHRIST = re.compile(r"(?:(?<=\d)| )(?:bc|b\.c\.|bce|b\.c\.e\.)$")
_FORMS = (
    re.compile(rf"{_DAY} (?:day )?(?:of )?{_MONTH},?(?: (?:of )?{_YEAR})?"),
    re.compile(rf"{_MONTH} (?:the )?{_DAY}(?:,? {_YEAR})?"),
    re.compile(rf"{_MONTH},? (?:of )?(?P<year>\d{{3,4}})"),
    re.compile(rf"{_DAY}-{_MONTH}-(?P<year>\d{{4}})"),
)
_ISO = re.compile(r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})(?:\2(?P<day>\d{1,2}))?")
_NUMERIC = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})")
_DECADE = re.compile(r"(\d{2,3}0)'?s")
_CENTURY = re.compile(r"(.{1,24}?)[ -](?:century|cent\.?|c\.?)")
_TIME = re.compile(
    r"(\d{1,2})[:.](\d{2})(?: ?(am|pm|a\.m\.?|p\.m\.?|o'clock|h|hours?))?|(\d{1,2}) ?(am|pm|a\.m\.?|p\.m\.?)"
)
_HAN_DATE = re.compile(
    rf"(?P<bc>公元前|前)?(?:公元)?(?:(?P<year>{_HAN}{{1,5}})年)?(?:(?P<month>{_HAN}{{1,3}})月(?:份)?)?(?:(?P<day>{_HAN}{{1,3}})[日号號])?"
)
_HAN_DECADE = re.compile(rf"(?:({_HAN}{{1,3}})世纪)?({_HAN}{{2,5}})年代")
_HAN_CENTURY = re.compile(rf"(公元前|前)?({_HAN}{{1,3}})世[纪紀]")
_ORDINAL_WORD = re.compile(r"\b(?:[a-z]+-)?(?:[a-z]+th|first|second|third)\b")


def read_dates(text: str) -> tuple[Date, ...]:
    """What ``text`` may mean as one date or time, all of it: two dates for 3/4/1952, none for no date."""
    if len(text) > 80:
        return ()
    line = _WEEKDAY.sub(
        "", plain(text).strip(" \"'“”.。,;!()").lower().rstrip(".") + ("." if text.endswith("c.") else "")
    )
    line = _LEAD.sub("", line)
    before = _BEFORE_CHRIST.search(line) is not None
    known = before or _AFTER_CHRIST.search(line) is not None
    line = _AFTER_CHRIST.sub("", _BEFORE_CHRIST.sub("", line)).strip()
    found = list(dict.fromkeys(_read(_ORDINAL_WORD.sub(_in_figures, line.removeprefix("the ")), known)))
    return tuple(_before_christ(date) for date in found) if before else tuple(found)


def _in_figures(word: re.Match[str]) -> str:
    number = read_number(word[0])
    return f"{number.value}th" if number and number.ordinal and number.end == len(word[0]) else word[0]


def _before_christ(date: Date) -> Date:
    """``date`` with its year and century counted before Christ."""
    return date._replace(year=date.year and -date.year, century=date.century and -date.century)


def _read(line: str, era: bool) -> Iterator[Date]:
    if re.fullmatch(r"[1-9]\d{0,3}", line) and (era or len(line) >= 3):
        yield Date(year=int(line))
    for form in _FORMS:
        match = form.fullmatch(line)
        if match and match["month"] in _MONTHS:
            parts = {name: int(part) for name, part in match.groupdict().items() if part and name != "month"}
            yield from _valid(parts.get("year"), _MONTHS[match["month"]], parts.get("day"))
    if match := _ISO.fullmatch(line):
        yield from _valid(int(match["year"]), int(match["month"]), int(match["day"]) if match["day"] else None)
    if match := _NUMERIC.fullmatch(line):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        yield from _valid(year, second, first)
        yield from _valid(year, first, second)
    if line in _MONTHS:
        yield Date(month=_MONTHS[line])
    yield from _spans(line)
    yield from _times(line)
    yield from _chinese(line)


def _valid(year: int | None, month: int, day: int | None) -> Iterator[Date]:
    try:
        datetime.date(year or 2000, month, day or 1)
    except ValueError:
        return
    yield Date(year, month, day)


def _spans(line: str) -> Iterator[Date]:
    """Decades and centuries."""
    if match := _DECADE.fullmatch(line):
        yield Date(decade=int(match[1]) + (1900 if len(match[1]) == 2 else 0))
    if line in _DECADES:
        yield Date(decade=1900 + 10 * _DECADES[line])
    if match := _CENTURY.fullmatch(line):
        number = read_number(match[1])
        if number and number.ordinal and number.end == len(match[1]) and 0 < number.value <= 99:
            yield Date(century=int(number.value))


def _times(line: str) -> Iterator[Date]:
    match = _TIME.fullmatch(line)
    if match is None:
        return
    hour, minute, half = int(match[1] or match[4]), int(match[2] or 0), (match[3] or match[5] or "")[:1]
    if half in ("a", "p") and 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    if hour < 24 and minute < 60 and (half or ":" in line):
        yield Date(minute=60 * hour + minute)


def _chinese(line: str) -> Iterator[Date]:
    """1952年5月5日, 20世纪50年代, 公元前3世纪, in figures or Chinese numerals."""
    match = _HAN_DATE.fullmatch(line)
    if match and (match["year"] or match["month"]) and not (match["bc"] and not match["year"]):
        year, month, day = (_number(match[part]) for part in ("year", "month", "day"))
        dates = [Date(year)] if year and not month else list(_valid(year, month or 0, day))
        yield from (date._replace(year=date.year and -date.year) if match["bc"] else date for date in dates)
    if match := _HAN_DECADE.fullmatch(line):
        century, decade = _number(match[1]), _number(match[2])
        if decade is not None and decade % 10 == 0 and (century or decade >= 1000 or not match[1]):
            yield Date(decade=decade if decade >= 1000 else 100 * ((century or 20) - 1) + decade)
    if match := _HAN_CENTURY.fullmatch(line):
        century = _number(match[2])
        if century:
            yield Date(century=-century if match[1] else century)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    return int(text) if text.isdecimal() else han_value(text)


def says_date(gold: Date, said: Date) -> bool:
    """Whether ``said`` has all that ``gold`` has: 5 May 1952 says 1952, and not the reverse."""
    return all(part is None or part == other for part, other in zip(gold, said, strict=True))


def lies_within(gold: Date, said: Date) -> bool:
    """Whether ``said`` has a year of the decade or century that ``gold`` is: it may be meant, or another year of it."""
    if said.year is None:
        return False
    if gold.decade is not None:
        return gold.decade <= said.year < gold.decade + 10
    return gold.century is not None and said.year > 0 and (said.year - 1) // 100 + 1 == gold.century
