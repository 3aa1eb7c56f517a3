"""A case that is done, as one line of a run's ``cases.jsonl``.

Everything that a report says is computed from these lines; ``osvl view`` reads them too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from osvl_plugins.reward.composite import Reward
from osvl_plugins.rollout_dump import json_line
from osvl_plugins.trajectory import Trajectory

Fault = Literal[
    "data",  # the row is no question
    "policy",  # the model or its server gave no turn after all retries
    "judge",  # the judge gave no verdict after all its retries
    "case",  # something else broke while the case ran
]


class Key(NamedTuple):
    """What names a case of a run."""

    benchmark: str
    id: str
    sample: int
    """Counted from 0, of the run's samples of each question."""


class CaseError(NamedTuple):
    """Why a case has no verdict. It counts as wrong."""

    fault: Fault
    message: str


@dataclass(frozen=True)
class CaseRecord:
    """One case: a question, its ``sample``-th episode, and what became of it.

    ``reward`` and ``trajectory`` are None where ``error`` came before them.
    """

    key: Key
    index: int
    accepted: tuple[str, ...]
    hops: int | None
    category: str
    reward: Reward | None
    trajectory: Trajectory | None
    error: CaseError | None
    seconds: float
    """From the case's start to its verdict, retries included."""
    attempts: int

    @property
    def correct(self) -> float:
        """1 for a right answer, 0 for any other case; what lies between is the judge's."""
        if self.error is not None or self.reward is None:
            return 0.0
        return self.reward.accuracy or 0.0

    def to_line(self) -> str:
        """As a line of JSON, with its newline."""
        row: dict[str, Any] = {
            **self.key._asdict(),
            "index": self.index,
            "accepted": list(self.accepted),
            "hops": self.hops,
            "category": self.category,
            "reward": self.reward._asdict() if self.reward is not None else None,
            "trajectory": self.trajectory.to_dict() if self.trajectory is not None else None,
            "error": self.error._asdict() if self.error is not None else None,
            "seconds": self.seconds,
            "attempts": self.attempts,
        }
        return json_line(row)

    @classmethod
    def from_line(cls, line: str | bytes) -> CaseRecord:
        """Inverse of ``to_line``. Raises ``ValueError``, ``KeyError`` or ``TypeError`` when ``line`` is none."""
        row = json.loads(line)
        return cls(
            key=Key(row["benchmark"], row["id"], row["sample"]),
            index=row["index"],
            accepted=tuple(row["accepted"]),
            hops=row["hops"],
            category=row["category"],
            reward=Reward(**row["reward"]) if row["reward"] is not None else None,
            trajectory=Trajectory.from_dict(row["trajectory"]) if row["trajectory"] is not None else None,
            error=CaseError(**row["error"]) if row["error"] is not None else None,
            seconds=row["seconds"],
            attempts=row["attempts"],
        )
