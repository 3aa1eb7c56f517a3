"""The fatal step of a trajectory and the token mask that follows from it (arXiv 2605.05185, section 4.2).

A step is one turn of the policy; its error flag says that its tool call could not be read or did not succeed. A run
of ``k`` consecutive error steps is fatal; any clean step resets the count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, StrictInt

from osvl_plugins.settings import Settings
from osvl_plugins.trajectory import Span

FatalAt = Literal["first", "last"]
FatalMode = Literal["vanilla", "hard_mask", "fatal_mask", "fatal_mask_clamp"]
MODES: tuple[FatalMode, ...] = ("vanilla", "hard_mask", "fatal_mask", "fatal_mask_clamp")


class FatalSettings(Settings):
    """What stands under ``algorithm.fatal``."""

    k: StrictInt = Field(default=3, ge=1)
    """Consecutive error steps that make a trajectory fatal."""
    at: FatalAt = "first"
    """Which error of the run is the fatal step: the paper's formula and the reference code take the first."""
    mode: FatalMode = "fatal_mask_clamp"
    """vanilla: nothing; hard_mask: a fatal trajectory trains nothing; fatal_mask: only the turns before the fatal
    step train; fatal_mask_clamp: the same, and their advantage is never negative."""
    on_fatal: Literal["stop", "continue"] = "stop"
    """Whether the episode ends at the k-th error or goes on."""


def fatal_step(errors: Sequence[bool], k: int = 3, at: FatalAt = "first") -> int | None:
    """0-based index of the fatal step: of the first run of ``k`` errors its first (or ``at="last"``, its k-th) step.

    None when there is no such run. Raises ``ValueError`` for ``k`` < 1 or an unknown ``at``.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if at not in ("first", "last"):
        raise ValueError(f"at must be 'first' or 'last', got {at!r}")
    run = 0
    for step, error in enumerate(errors):
        run = run + 1 if error else 0
        if run == k:
            return step - k + 1 if at == "first" else step
    return None


def token_mask(length: int, spans: Sequence[Span], fatal: int | None, mode: FatalMode) -> list[int]:
    """Training mask over the ``length`` tokens after the prompt: 1 for sampled tokens that train.

    ``spans[s]`` is where turn s was sampled; ``fatal`` is the trajectory's fatal step or None.
    Raises ``ValueError`` when a span lies outside the tokens.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    kept = len(spans)
    if fatal is not None and mode != "vanilla":
        kept = 0 if mode == "hard_mask" else fatal
    mask = [0] * length
    for span in spans[:kept]:
        if not 0 <= span.start <= span.end <= length:
            raise ValueError(f"span {span.start}:{span.end} lies outside the {length} tokens")
        mask[span.start : span.end] = [1] * (span.end - span.start)
    return mask
