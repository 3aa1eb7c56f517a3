"""Short trajectories and judges for the tests of rewards."""

from __future__ import annotations

from collections.abc import Sequence

from osvl_plugins.errors import JudgeFailed
from osvl_plugins.reward.judge import QueryVerdict, Verdict
from osvl_plugins.trajectory import EndReason, ImageRecord, Observation, StepError, ToolCall, Trajectory, Turn

QUESTION = "What is the capital of the country on the stamp?"
CALL = ToolCall("text_search", {"q": "Oslo"})


def found(*pages: str) -> Turn:
    """A search that showed ``pages``."""
    return Turn("search", call=CALL, observation=Observation("found", pages=pages))


def error(kind: str = "timeout") -> Turn:
    """A call that failed, or, for ``parse``, a turn without a readable one."""
    call = None if kind == "parse" else CALL
    return Turn(kind, call=call, observation=Observation("", error=StepError(kind, "")))  # type: ignore[arg-type]


def cropped() -> Turn:
    """A crop of ``img_1`` to ``img_2``."""
    return Turn("crop", ToolCall("crop", {"image": "img_1"}), observation=Observation("", ("img_2",)))


def looked_up(*pages: str) -> Turn:
    """A search by ``img_2`` that showed ``pages``."""
    return Turn("look", ToolCall("image_search", {"url": "img_2"}), observation=Observation("", pages=pages))


def answered(text: str) -> Turn:
    return Turn(text, answer=text)


def trajectory(*turns: Turn, fatal_step: int | None = None, end: EndReason | None = None) -> Trajectory:
    images = [ImageRecord("img_1", 9, 9), ImageRecord("img_2", 9, 9, "crop", "img_1")]
    ended = end or ("answer" if turns and turns[-1].answer is not None else "turn_limit")
    return Trajectory(QUESTION, list(turns), images, ended, fatal_step)


class Answers:
    """A judge of answers (``AccuracyJudge``) that keeps what it was asked; "?" makes it fail."""

    name = "answers"
    version = "1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def judge(self, question: str, accepted: Sequence[str], answer: str) -> Verdict:
        self.asked.append(answer)
        if answer == "?":
            raise JudgeFailed("answers: no verdict within 1 s")
        return Verdict(answer in accepted, f"{answer} it is")


class Searches:
    """A judge of searches (``QueryJudge``): 0.5 on average. It fails where nothing was searched."""

    name = "searches"
    version = "1"

    def __init__(self) -> None:
        self.asked: list[Trajectory] = []

    async def rate(self, question: str, accepted: Sequence[str], trajectory: Trajectory) -> QueryVerdict:
        self.asked.append(trajectory)
        if not any(turn.call for turn in trajectory.turns):
            raise JudgeFailed("searches: status 500")
        return QueryVerdict(1.0, 0.5, 0.25, 0.25)
