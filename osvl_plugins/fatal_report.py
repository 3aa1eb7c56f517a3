"""Where trajectories die: counts over the fatal ones, by tool, error kind, turn and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from osvl_plugins.trajectory import Trajectory, Turn

AFTER_THE_LAST = "after the last"
"""In ``FatalReport.by_turn``: fatal for how the trajectory ended, not for one of its turns."""
NONE = "none"
"""The tool of a turn without a readable call, and the kind of a turn without an error."""


@dataclass(frozen=True)
class Share:
    """``count`` of the fatal trajectories, and their share of all of those."""

    count: int
    share: float


@dataclass(frozen=True)
class FatalReport:
    """Of ``trajectories``, ``fatal`` died and ``failed`` were ended by the infrastructure (never fatal).

    The tables count each fatal trajectory once, at its fatal step: ``by_tool`` the tool called there (``unknown`` for
    a tool that does not exist), ``by_kind`` the error's kind, ``by_turn`` the step's 0-based index, ``by_end`` how
    the episode ended. ``masked_tokens`` is the mean over ``with_spans`` fatal trajectories of the tokens sampled from
    the fatal step on, which the fatal masks take out; None when no fatal trajectory knows its spans.
    """

    trajectories: int
    fatal: int
    fatal_rate: float
    failed: int
    with_spans: int
    masked_tokens: float | None
    by_tool: Mapping[str, Share]
    by_kind: Mapping[str, Share]
    by_turn: Mapping[str, Share]
    by_end: Mapping[str, Share]


class FatalTally:
    """Takes trajectories one by one and keeps only counts."""

    def __init__(self) -> None:
        self._trajectories = self._failed = self._with_spans = self._masked = 0
        self._tools: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._turns: Counter[int | None] = Counter()
        self._ends: Counter[str] = Counter()

    def add(self, trajectory: Trajectory) -> None:
        """Count ``trajectory``."""
        self._trajectories += 1
        self._failed += trajectory.end == "policy_error"
        step, turns = trajectory.fatal_step, trajectory.turns
        if step is None:
            return
        turn = turns[step] if step < len(turns) else None
        self._tools[tool_label(turn) if turn is not None else NONE] += 1
        error = turn.observation.error if turn is not None and turn.observation is not None else None
        self._kinds[error.kind if error is not None else NONE] += 1
        self._turns[step if turn is not None else None] += 1
        self._ends[trajectory.end] += 1
        spans = [turn.span for turn in turns if turn.span is not None]
        if spans and len(spans) == len(turns):
            self._with_spans += 1
            self._masked += sum(span.end - span.start for span in spans[step:])

    def report(self) -> FatalReport:
        """The report over what was added. Raises ``ValueError`` when nothing was."""
        if not self._trajectories:
            raise ValueError("there are no trajectories to report on")
        fatal = self._turns.total()

        def shares(counts: Mapping[str, int]) -> dict[str, Share]:
            return {name: Share(count, count / fatal) for name, count in counts.items()}

        in_order = sorted(self._turns, key=lambda step: (step is None, step or 0))
        return FatalReport(
            trajectories=self._trajectories,
            fatal=fatal,
            fatal_rate=fatal / self._trajectories,
            failed=self._failed,
            with_spans=self._with_spans,
            masked_tokens=self._masked / self._with_spans if self._with_spans else None,
            by_tool=shares(dict(self._tools.most_common())),
            by_kind=shares(dict(self._kinds.most_common())),
            by_turn=shares({AFTER_THE_LAST if s is None else str(s): self._turns[s] for s in in_order}),
            by_end=shares(dict(self._ends.most_common())),
        )


def tool_label(turn: Turn) -> str:
    """The tool that ``turn`` called; ``unknown`` for names that the model invented, ``none`` without a call."""
    if turn.call is None:
        return NONE
    error = turn.observation.error if turn.observation is not None else None
    # The model may invent names without end; a logger keeps a series for each.
    return "unknown" if error is not None and error.kind == "unknown_tool" else turn.call.name
