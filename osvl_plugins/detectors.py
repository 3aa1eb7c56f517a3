"""Where a trajectory died: detectors of the fatal step, and their combination for one episode.

A detector names a step and knows nothing of masks; what follows is ``algorithm.fatal.mode``. With ``hard_mask``,
``errors`` is the mask of Vision-DeepResearch, ``void_turn`` the filter of SimpleTIR (arXiv 2509.02479) and
``overlong`` that of DAPO (arXiv 2503.14476, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, get_args

from osvl_plugins.errors import ErrorKind
from osvl_plugins.fatal import AT_THE_END, DetectorName, FatalAt, FatalSettings, RepetitionSettings, fatal_step
from osvl_plugins.trajectory import Trajectory, Turn


class Detector(Protocol):
    """A way to die."""

    def __call__(self, trajectory: Trajectory, /) -> int | None:
        """0-based index of the turn at which ``trajectory`` died, its number of turns for after the last, or None."""


@dataclass(frozen=True)
class ConsecutiveErrors:
    """``errors``: a run of ``k`` error steps (arXiv 2605.05185, section 4.2); the step is the one that ``at`` names.

    Only errors of ``kinds`` count. One of another kind is a clean step and ends a run: with the kinds of an outage
    (``timeout``, ``unavailable``, ``rate_limited``) a run is then an outage without a break, and the tokens from the
    fatal step on hold none that another error explains.
    """

    k: int = 3
    at: FatalAt = "first"
    kinds: tuple[ErrorKind, ...] = get_args(ErrorKind)

    def __call__(self, trajectory: Trajectory, /) -> int | None:
        """The fatal step of the first run of errors."""
        return fatal_step([self._counts(turn) for turn in trajectory.turns], self.k, self.at)

    def _counts(self, turn: Turn) -> bool:
        error = turn.observation.error if turn.observation is not None else None
        return error is not None and error.kind in self.kinds


def void_turn(trajectory: Trajectory, /) -> int | None:
    """``void_turn``: the first turn with neither a readable call nor an answer."""
    void = (index for index, turn in enumerate(trajectory.turns) if turn.call is None and turn.answer is None)
    return next(void, None)


def overlong(trajectory: Trajectory, /) -> int | None:
    """``overlong``: the last turn of an episode that the turn or the context limit ended."""
    return max(0, len(trajectory.turns) - 1) if trajectory.end in ("turn_limit", "context_limit") else None


def no_answer(trajectory: Trajectory, /) -> int | None:
    """``no_answer``: after the last turn of an episode without an answer, so that only the clamp acts on it."""
    return len(trajectory.turns) if trajectory.answer is None else None


class Repetition:
    """``repetition``: the first turn that says the same over and over.

    Turns are only ever appended, so when the same trajectory comes again, only its new turns are read.
    """

    def __init__(self, settings: RepetitionSettings) -> None:
        self._settings = settings
        self._trajectory: Trajectory | None = None
        self._read = 0
        self._found: int | None = None

    def __call__(self, trajectory: Trajectory, /) -> int | None:
        """The first repetitive turn."""
        if trajectory is not self._trajectory:
            self._trajectory, self._read, self._found = trajectory, 0, None
        while self._found is None and self._read < len(trajectory.turns):
            if self._repeats(trajectory.turns[self._read].text):
                self._found = self._read
            self._read += 1
        return self._found

    def _repeats(self, text: str) -> bool:
        length = self._settings.ngram
        count = len(text) - length + 1
        if count < 1 or len(text.split()) <= self._settings.min_words:
            return False
        return len({text[start : start + length] for start in range(count)}) < self._settings.min_ratio * count


_BUILD: dict[DetectorName, Callable[[FatalSettings], Detector]] = {
    "errors": lambda settings: ConsecutiveErrors(settings.k, settings.at, settings.kinds),
    "void_turn": lambda settings: void_turn,
    "overlong": lambda settings: overlong,
    "repetition": lambda settings: Repetition(settings.repetition),
    "no_answer": lambda settings: no_answer,
}


class FatalDetector:
    """The detectors that ``settings`` name, as one. Make one for each episode: it remembers what it has read."""

    def __init__(self, settings: FatalSettings) -> None:
        self._all = {name: _BUILD[name](settings) for name in settings.detectors}

    def __call__(self, trajectory: Trajectory, /) -> int | None:
        """The earliest step at which an episode that has ended died.

        A failure of the infrastructure (``policy_error``) is never fatal, whatever came before it.
        """
        if trajectory.end == "policy_error":
            return None
        return min((step for detect in self._all.values() if (step := detect(trajectory)) is not None), default=None)

    def so_far(self, trajectory: Trajectory, /) -> bool:
        """Whether an episode that is still running has died; more turns never change a yes."""
        running = (detect for name, detect in self._all.items() if name not in AT_THE_END)
        return any(detect(trajectory) is not None for detect in running)
