"""What a judge is asked and what it says, whoever it is: rules, a language model, a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from osvl_plugins.trajectory import Trajectory


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right; ``reason`` is what the judge says about it, for a person."""

    right: bool
    reason: str = ""


@dataclass(frozen=True)
class QueryVerdict:
    """How good the searches of a trajectory were, each dimension in [0, 1] (arXiv 2605.05185, section 4.3)."""

    relevance: float
    """Whether the queries ask for what the question needs."""
    progression: float
    """Whether each search builds on what the ones before it found."""
    signal: float
    """How much of what came back helps, against noise and repetition."""
    modalities: float
    """Whether pictures and text are both used where the question needs them."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a dimension outside [0, 1]."""
        for field in fields(self):
            if not 0.0 <= getattr(self, field.name) <= 1.0:
                raise ValueError(f"{field.name} must lie in [0, 1], got {getattr(self, field.name)}")

    @property
    def score(self) -> float:
        """Mean of the four dimensions."""
        return (self.relevance + self.progression + self.signal + self.modalities) / 4


class AccuracyJudge(Protocol):
    """Tells whether an answer is right. Any exception but ``JudgeFailed`` is a mistake of the program."""

    @property
    def name(self) -> str:
        """What judges, for reports: ``rules``, or a model's name."""

    @property
    def version(self) -> str:
        """Equal versions of an equal name judge alike: the rules' version, or the prompt's and its settings'."""

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        """Whether ``answer`` says the same as one of ``accepted``.

        Raises ``JudgeFailed`` without a verdict, and ``ValueError`` when nothing is accepted.
        """


class QueryJudge(Protocol):
    """Rates the searches of a trajectory. Any exception but ``JudgeFailed`` is a mistake of the program."""

    @property
    def name(self) -> str:
        """What judges, for reports."""

    @property
    def version(self) -> str:
        """Equal versions of an equal name judge alike."""

    async def rate(self, question: str, accepted: Sequence[str], trajectory: Trajectory) -> QueryVerdict:
        """How good the searches of ``trajectory`` are, of a fatal one those before its fatal step.

        Raises ``JudgeFailed`` without a verdict, and ``ValueError`` when nothing is accepted.
        """
