"""The fatal step of a trajectory and the token mask that follows from it (arXiv 2605.05185, section 4.2).

A step is one turn of the policy; its error flag says that its tool call could not be read or did not succeed. A run
of ``k`` consecutive error steps is fatal; any clean step resets the count. Other ways to die are in
``osvl_plugins.detectors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field, StrictBool, StrictInt, ValidationInfo, field_validator, model_validator

from osvl_plugins.errors import ErrorKind
from osvl_plugins.settings import Settings
from osvl_plugins.trajectory import Span

FatalAt = Literal["first", "last"]
FatalMode = Literal["vanilla", "hard_mask", "fatal_mask", "fatal_mask_clamp"]
MODES: tuple[FatalMode, ...] = ("vanilla", "hard_mask", "fatal_mask", "fatal_mask_clamp")
DetectorName = Literal["errors", "void_turn", "overlong", "repetition", "no_answer"]
AT_THE_END: frozenset[DetectorName] = frozenset({"overlong", "no_answer"})
"""Detectors that know only when the episode has ended; the others can end it."""
Profile = Literal["paper", "reference"]
PROFILES: dict[Profile, dict[str, Any]] = {
    "paper": {"k": 3, "at": "first", "detectors": ("errors",), "on_fatal": "stop", "score_answer": False},
    "reference": {
        "k": 3,
        "at": "first",
        "detectors": ("errors", "no_answer"),
        "on_fatal": "continue",
        "score_answer": True,
    },
}
T = TypeVar("T")


class RepetitionSettings(Settings):
    """When a turn repeats itself: few of its character n-grams are different (GitHub shawn0728/OpenSearch-VL)."""

    ngram: StrictInt = Field(default=30, ge=1)
    """Characters of an n-gram."""
    min_words: StrictInt = Field(default=2500, ge=0)
    """Only turns of more whitespace-separated words are looked at; 0 for every turn."""
    min_ratio: float = Field(default=0.5, gt=0, le=1)
    """Fewer different n-grams than this share of all is repetition."""


def _of_profile(name: str) -> Callable[[dict[str, Any]], Any]:
    # A profile that does not exist is an error of its own; whatever stands here then is never seen.
    return lambda given: PROFILES[given.get("profile", "paper")][name]


class FatalSettings(Settings):
    """What stands under ``algorithm.fatal``.

    A setting that is left out or null has its default. ``profile`` chooses the defaults of ``detectors``, ``k``,
    ``at``, ``on_fatal`` and ``score_answer`` and nothing else: one that is given wins over the profile, so
    ``{profile: reference, on_fatal: stop}`` is the reference but for the episode's end. A setting that is given and
    could have no effect is refused; one that comes from a profile is not.
    """

    profile: Profile = "paper"
    """paper: the text's formula, no accuracy for a fatal trajectory; reference: what the released code does, which
    also clamps every trajectory without an answer, never stops an episode and scores the answer of a fatal one."""
    detectors: tuple[DetectorName, ...] = Field(default_factory=_of_profile("detectors"), min_length=1)
    """What makes a trajectory fatal (``osvl_plugins.detectors``); the earliest step wins."""
    k: StrictInt = Field(default_factory=_of_profile("k"), ge=1)
    """Consecutive error steps that make a trajectory fatal (``errors``)."""
    at: FatalAt = Field(default_factory=_of_profile("at"))
    """Which error of the run is the fatal step: the paper's formula and the reference code take the first."""
    kinds: tuple[ErrorKind, ...] = Field(default=get_args(ErrorKind), min_length=1)
    """Kinds of error that count; an error of another kind is a clean step, which ends a run (``errors``)."""
    repetition: RepetitionSettings = RepetitionSettings()
    """Bounds of ``repetition``."""
    mode: FatalMode = "fatal_mask_clamp"
    """vanilla: nothing; hard_mask: a fatal trajectory trains nothing; fatal_mask: only the turns before the fatal
    step train; fatal_mask_clamp: the same, and their advantage is never negative."""
    on_fatal: Literal["stop", "continue"] = Field(default_factory=_of_profile("on_fatal"))
    """Whether the episode ends as soon as it is fatal or goes on."""
    score_answer: StrictBool = Field(default_factory=_of_profile("score_answer"))
    """Whether the answer of a fatal trajectory can earn accuracy."""
    is_error: str | None = None
    """The function that tells a failed call to agents on verl's ``ToolAgentLoop``: ``package.module.function``."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, values: Any) -> Any:
        # Hydra overrides only keys that stand in a config, so a recipe lists them all.
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None}

    # The validators run only for settings that are given, in the order of the fields; ``info.data`` has those before.

    @field_validator("detectors", "kinds")
    @classmethod
    def _no_name_twice(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("names one twice")
        return names

    @field_validator("k", "at", "kinds")
    @classmethod
    def _errors_are_looked_for(cls, value: T, info: ValidationInfo) -> T:
        return _used_by("errors", value, info)

    @field_validator("repetition")
    @classmethod
    def _repetition_is_looked_for(cls, value: T, info: ValidationInfo) -> T:
        return _used_by("repetition", value, info)

    @field_validator("mode")
    @classmethod
    def _mode_acts(cls, mode: FatalMode, info: ValidationInfo) -> FatalMode:
        if mode == "fatal_mask" and info.data.get("detectors") == ("no_answer",):
            raise ValueError("no_answer leaves nothing to mask, so without the clamp nothing happens")
        return mode

    @field_validator("on_fatal")
    @classmethod
    def _something_can_stop(cls, on_fatal: str, info: ValidationInfo) -> str:
        detectors = set(info.data.get("detectors", ()))
        if on_fatal == "stop" and detectors and detectors <= AT_THE_END:
            raise ValueError(f"{' and '.join(sorted(detectors))} can tell only at the end, so there is nothing to stop")
        return on_fatal

    @field_validator("score_answer")
    @classmethod
    def _a_fatal_trajectory_can_answer(cls, score: bool, info: ValidationInfo) -> bool:
        detectors = set(info.data.get("detectors", ()))
        goes_on = info.data.get("on_fatal") == "continue" and not detectors <= AT_THE_END
        # An answer itself can be repetitive.
        if score and detectors and not goes_on and "repetition" not in detectors:
            raise ValueError("with these detectors and on_fatal no fatal trajectory has an answer to score")
        return score


def _used_by(detector: DetectorName, value: T, info: ValidationInfo) -> T:
    detectors = info.data.get("detectors")
    if detectors is not None and detector not in detectors:
        raise ValueError(f"only the detector {detector} uses it, and the detectors are {', '.join(detectors)}")
    return value


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

    ``spans[s]`` is where turn s was sampled; ``fatal`` is the trajectory's fatal step, None for one that is not
    fatal, and ``len(spans)`` for one that is fatal after its last turn, of which the fatal masks take nothing.
    Raises ``ValueError`` for an unknown mode, a fatal step beyond that, or a span outside the tokens.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if fatal is not None and not 0 <= fatal <= len(spans):
        raise ValueError(f"the fatal step {fatal} lies outside the {len(spans)} turns")
    kept = len(spans)
    if fatal is not None and mode != "vanilla":
        kept = 0 if mode == "hard_mask" else fatal
    mask = [0] * length
    for span in spans[:kept]:
        if not 0 <= span.start <= span.end <= length:
            raise ValueError(f"span {span.start}:{span.end} lies outside the {length} tokens")
        mask[span.start : span.end] = [1] * (span.end - span.start)
    return mask
