"""Reading what a judge wrote.

A verdict is one JSON object that is the whole text, but for reasoning before it and a fence around it. Nothing is
looked for in prose: "Incorrect: yes" holds the word "correct", a judge may quote the object that an answer tells it to
write, and what was cut off may have meant the contrary.
"""

from __future__ import annotations

import json
from typing import Any

from osvl_plugins.backends.search import clean
from osvl_plugins.errors import ToolError
from osvl_plugins.reward.judge import QueryVerdict, Verdict

DECISIONS = ("correct", "incorrect")
DIMENSIONS = ("relevance", "progression", "signal", "modalities")
RATINGS = (1, 2, 3, 4, 5)
MAX_CHARS = 50_000
"""A longer text holds no verdict."""
MAX_REASON_CHARS = 1000
"""What is kept of a reason."""


def read_verdict(text: str) -> Verdict:
    """The verdict that ``text`` is. Raises ``ToolError`` of kind ``failed`` when it is none, or not clearly one."""
    values = _object(text, ("verdict",))
    decision = values["verdict"].strip().lower() if isinstance(values["verdict"], str) else ""
    if decision not in DECISIONS:
        raise _unreadable(f"verdict is neither {' nor '.join(DECISIONS)}")
    reason = values.get("reason")
    return Verdict(decision == "correct", clean(reason)[:MAX_REASON_CHARS] if isinstance(reason, str) else "")


def read_ratings(text: str) -> QueryVerdict:
    """The ratings that ``text`` is, 1 as 0.0 and 5 as 1.0. Raises as ``read_verdict``."""
    values = _object(text, DIMENSIONS)
    lowest, highest = RATINGS[0], RATINGS[-1]
    for name in DIMENSIONS:
        # By type, as true == 1 and 3.0 == 3.
        if type(values[name]) is not int or values[name] not in RATINGS:
            raise _unreadable(f"{name} is no whole number from {lowest} to {highest}")
    return QueryVerdict(**{name: (values[name] - lowest) / (highest - lowest) for name in DIMENSIONS})


def _object(text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The one object, with ``keys``, perhaps ``reason``, and no other that could say something else."""
    if len(text) > MAX_CHARS:
        raise _unreadable(f"it wrote {len(text)} characters")
    try:
        values = json.loads(_unfenced(text), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        # Only now, as a reason may quote the mark.
        try:
            values = json.loads(_unfenced(text.rpartition("</think>")[2]), object_pairs_hook=_once)
        except (ValueError, RecursionError):
            raise _unreadable("it wrote no JSON object, or more than one") from None
    if not isinstance(values, dict) or not set(keys) <= set(values) <= {*keys, "reason"}:
        raise _unreadable(f"it wrote another object than one of reason, {', '.join(keys)}")
    return values


def _unfenced(text: str) -> str:
    text = text.strip()
    if len(text) >= 6 and text.startswith("```") and text.endswith("```"):
        return text[3:-3].strip().removeprefix("json")
    return text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _unreadable(problem: str) -> ToolError:
    return ToolError("failed", f"no verdict can be read: {problem}")
