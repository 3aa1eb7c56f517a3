"""Trajectories as strings: one letter a turn, such as ``"c e e e c A"``."""

from __future__ import annotations

from osvl_plugins.errors import ErrorKind
from osvl_plugins.trajectory import EndReason, Observation, Span, StepError, ToolCall, Trajectory, Turn

KINDS: dict[str, ErrorKind] = {
    "e": "timeout",
    "u": "unavailable",
    "r": "rate_limited",
    "n": "not_found",
    "b": "bad_arguments",
    "k": "unknown_tool",
    "p": "parse",
}
"""Letters of error steps. A turn that could not be parsed (``p``) has no call."""
ANSWERS = {"A": "right", "X": "wrong"}


def turn(letter: str, start: int = 0) -> Turn:
    """The turn that ``letter`` stands for (``c`` is a clean call); two sampled tokens from ``start`` on."""
    span = Span(start, start + 2)
    if letter in ANSWERS:
        return Turn(letter, answer=ANSWERS[letter], span=span)
    error = None if letter == "c" else StepError(KINDS[letter], "")
    call = None if letter == "p" else ToolCall("step", {})
    return Turn(letter, call=call, observation=Observation("", error=error, pages=("page",)), span=span)


def trajectory(script: str, end: EndReason = "turn_limit") -> Trajectory:
    """The trajectory of ``script``, each turn followed by one token that was not sampled."""
    letters = script.split()
    answered = bool(letters) and letters[-1] in ANSWERS
    return Trajectory("?", [turn(letter, 3 * n) for n, letter in enumerate(letters)], end="answer" if answered else end)


def trained(mask: list[int]) -> str:
    """``mask`` over the tokens of a trajectory as one 0 or 1 a turn, which is the same for a turn's tokens."""
    turns = [mask[start : start + 3] for start in range(0, len(mask), 3)]
    assert all(tokens in ([1, 1, 0], [0, 0, 0]) for tokens in turns)
    return "".join(str(tokens[0]) for tokens in turns)
