"""Numbers about SFT and RL data, subset by subset."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from osvl_plugins.data.parquet import Row
from osvl_plugins.data.pictures import peek
from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import ToolError
from osvl_plugins.protocol import parse_turn


class Spread:
    """Whole numbers, of which a few figures are wanted."""

    def __init__(self) -> None:
        self._values = array("q")

    def add(self, value: int) -> None:
        """Count ``value`` in."""
        self._values.append(value)

    def __str__(self) -> str:
        """``mean / median / 90 % / largest``; a dash for no values."""
        if not self._values:
            return "-"
        ordered = sorted(self._values)
        mean = sum(ordered) / len(ordered)
        ranked = (ordered[math.ceil(len(ordered) * part) - 1] for part in (0.5, 0.9, 1))
        return " / ".join([f"{mean:,.1f}", *(f"{value:,}" for value in ranked)])


@dataclass
class Stats:
    """What is in one subset."""

    rows: int = 0
    turns: Spread = field(default_factory=Spread)
    """Of the assistant, a row; SFT only."""
    pictures: Spread = field(default_factory=Spread)
    """A row."""
    pixels: Spread = field(default_factory=Spread)
    """A picture."""
    characters: Spread = field(default_factory=Spread)
    """Of all messages of a row."""
    answer: Spread = field(default_factory=Spread)
    """Characters of the final answer, or of the longest that is right."""
    calls: Counter[str] = field(default_factory=Counter)
    """By tool; ``(unreadable)`` counts turns without one readable call or answer."""

    def add(self, row: Row) -> None:
        """Count ``row`` in."""
        self.rows += 1
        messages = row.messages
        self.characters.add(sum(len(message.content) for message in messages))
        pictures = row.pictures
        self.pictures.add(len(pictures))
        for picture in pictures:
            with suppress(Rejected):  # osvl data validate names them
                image = peek(picture or b"")
                self.pixels.add(image.width * image.height)
        if row.kind == "rl":
            self.answer.add(max(map(len, row.accepted), default=0))
            return
        spoken = [message.content for message in messages if message.role == "assistant"]
        self.turns.add(len(spoken))
        for text in spoken:
            self._add_turn(text)

    def lines(self) -> Iterator[str]:
        """Everything but the number of rows, for a person."""
        for name in ("turns", "pictures", "pixels", "characters", "answer"):
            yield f"{name:<10} {getattr(self, name)}"
        if self.calls:
            yield "calls      " + ", ".join(f"{name} {count:,}" for name, count in self.calls.most_common())

    def _add_turn(self, text: str) -> None:
        try:
            turn = parse_turn(text)
        except ToolError:
            self.calls["(unreadable)"] += 1
            return
        if turn.call is not None:
            self.calls[turn.call.name] += 1
        elif turn.answer is not None:
            self.answer.add(len(turn.answer))


def measure(rows: Iterable[Row]) -> dict[str, Stats]:
    """The numbers of each subset in ``rows``; one of SFT and one of RL are two, ``sft fvqa`` and ``rl fvqa``."""
    subsets: dict[str, Stats] = {}
    for row in rows:
        subsets.setdefault(f"{row.kind} {row.subset}", Stats()).add(row)
    return dict(sorted(subsets.items()))
