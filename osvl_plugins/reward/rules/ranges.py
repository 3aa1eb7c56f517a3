"""Two numbers that are one answer: a range, a score, a ratio."""

from __future__ import annotations

import re
from dataclasses import replace

from osvl_plugins.reward.rules.quantities import MAX_QUANTITY_CHARS, Quantity, read_quantities
from osvl_plugins.reward.rules.text import plain

_SPLIT = (
    re.compile(r"^(?:between) (?P<low>[^;]{1,60}?) and (?P<high>[^;]{1,60})$", re.IGNORECASE),
    re.compile(r"^(?:from )?(?P<low>[^;]{1,60}?) (?:to|until|till|through) (?P<high>[^;]{1,60})$", re.IGNORECASE),
    re.compile(r"^[从從]?(?P<low>[^;]{1,30}?)[到至](?P<high>[^;]{1,30})$"),
    re.compile(r"^(?P<low>[$€£]?\d[^;:-]{0,40}?)\s?[-:~]\s?(?P<high>[$€£]?\d[^;:-]{0,40})$"),
)
Range = tuple[Quantity, Quantity]


def read_ranges(text: str) -> tuple[Range, ...]:
    """What ``text`` may mean as two numbers in their order: "40-50 km", "between 40 and 50 km", "3:2"."""
    if len(text) > MAX_QUANTITY_CHARS:
        return ()
    line = plain(text).strip(" .。,;!")
    for pattern in _SPLIT:
        match = pattern.match(line)
        if match:
            lows, highs = read_quantities(match["low"]), read_quantities(match["high"])
            return tuple((_with_unit(low, high), high) for low in lows for high in highs if _alike(low, high))
    return ()


def _alike(low: Quantity, high: Quantity) -> bool:
    dimensions = [low.unit and low.unit.dimension, high.unit and high.unit.dimension]
    return not (low.bound or high.bound) and (low.unit is None or dimensions[0] == dimensions[1])


def _with_unit(low: Quantity, high: Quantity) -> Quantity:
    """``low`` in the unit that stands only after ``high``."""
    if low.unit is not None or high.unit is None:
        return low
    unit = high.unit
    return replace(low, value=low.value * unit.factor + unit.offset, step=low.step * unit.factor, unit=unit)
