"""The vocabulary: what an episode leaves behind.

A ``Trajectory`` is a list of turns; a turn is what the policy wrote, read as one tool call, or an answer, or
neither, and what came back. Everything downstream (fatal step, reward, SFT data, reports) reads this and nothing
else. It is plain data: ``to_dict`` gives JSON without loss, ``Trajectory.from_dict`` reads it back.

Pictures are not part of it. They are named by id (``img_1``, …) and kept by the episode, which is the only owner
of the bytes; ``Trajectory.images`` says where each came from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from osvl_plugins.errors import ErrorKind

EndReason = Literal[
    "answer",  # the policy answered
    "fatal",  # stopped because it was fatal, as a rule at the K-th consecutive error
    "unread",  # a turn held neither a readable call nor an answer, and the wire profile ends there
    "turn_limit",  # no turns left
    "context_limit",  # no room left for another turn
    "policy_error",  # the rollout server failed: not the policy's doing, trains nothing
]


class Span(NamedTuple):
    """Half-open range of token offsets, counted from the first token after the prompt."""

    start: int
    end: int


@dataclass(frozen=True)
class ToolCall:
    """A call as the policy wrote it: the name may be unknown and the arguments wrong."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class StepError:
    """Why a step failed. ``message`` is what the policy read."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True)
class ImageRecord:
    """Provenance of one image of the episode.

    ``width`` and ``height`` are the pixels of the stored original, in which crops are given.
    """

    id: str
    width: int
    height: int
    tool: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Observation:
    """What came back from a tool call: text, new images by id, or an error."""

    text: str
    image_ids: tuple[str, ...] = ()
    error: StepError | None = None
    pages: tuple[str, ...] = ()
    """Ids of the corpus pages or the addresses that the text was made from."""
    latency_s: float = 0.0
    backend: str = ""


@dataclass
class Turn:
    """One turn of the policy and what it led to."""

    text: str
    call: ToolCall | None = None
    answer: str | None = None
    observation: Observation | None = None
    span: Span | None = None
    """Where the turn's sampled tokens lie; None where the policy works on text."""

    @property
    def is_error(self) -> bool:
        """True for an error step: a call that failed, or a turn from which nothing could be read."""
        return self.observation is not None and self.observation.error is not None

    @property
    def well_formed(self) -> bool:
        """True when the turn holds exactly one readable call or an answer (the per-turn format score)."""
        error = self.observation.error if self.observation is not None else None
        return error is None or error.kind != "parse"


@dataclass
class Trajectory:
    """One episode.

    ``fatal_step`` is the index of the turn at which it died, or None; the number of turns when it died after the last
    one (``osvl_plugins.detectors``).
    """

    question: str
    turns: list[Turn] = field(default_factory=list)
    images: list[ImageRecord] = field(default_factory=list)
    end: EndReason = "turn_limit"
    fatal_step: int | None = None
    failure: str | None = None
    """What went wrong outside the policy, for ``end == "policy_error"``."""
    found: str = ""
    """What searches brought before the first turn, as the prompt had it (``osvl_plugins.evaluation.modes``)."""

    @property
    def answer(self) -> str | None:
        """The final answer, or None when the episode ended without one."""
        return self.turns[-1].answer if self.turns else None

    @property
    def errors(self) -> list[bool]:
        """Error flag of each step, in order."""
        return [turn.is_error for turn in self.turns]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Trajectory:
        """Inverse of ``to_dict``.

        Raises ``KeyError`` or ``TypeError`` when ``data`` was not written by ``to_dict``.
        """
        return cls(
            question=data["question"],
            turns=[_turn(turn) for turn in data["turns"]],
            images=[ImageRecord(**image) for image in data["images"]],
            end=data["end"],
            fatal_step=data["fatal_step"],
            failure=data["failure"],
            found=data.get("found", ""),
        )


def _turn(data: dict[str, Any]) -> Turn:
    observation = data["observation"]
    if observation is not None:
        error = observation["error"]
        observation = Observation(
            **{
                **observation,
                "image_ids": tuple(observation["image_ids"]),
                "pages": tuple(observation["pages"]),
                "error": StepError(**error) if error is not None else None,
            }
        )
    return Turn(
        text=data["text"],
        call=ToolCall(**data["call"]) if data["call"] is not None else None,
        answer=data["answer"],
        observation=observation,
        span=Span(*data["span"]) if data["span"] is not None else None,
    )
