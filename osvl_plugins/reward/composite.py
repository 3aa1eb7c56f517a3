"""The composite reward r = r_fmt · (0.8 r_acc + 0.2 r_query) (arXiv 2605.05185, section 4.3).

It depends on a trajectory, its task, ``osvl.reward`` and the judges alone, so that trainer, evaluation and a stock
launch's reward function say the same of the same trajectory.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from osvl_plugins.errors import JudgeFailed, OsvlError
from osvl_plugins.reward.format import format_score
from osvl_plugins.reward.judge import AccuracyJudge, QueryJudge
from osvl_plugins.reward.query import evidence_score
from osvl_plugins.reward.settings import RewardSettings, Weights
from osvl_plugins.reward.visual import visual_score
from osvl_plugins.trajectory import Trajectory

logger = logging.getLogger(__name__)

SHARES = ("score", "format", "accuracy", "query", "visual", "relevance", "progression", "signal", "modalities")
"""The numbers of a ``Reward``."""


@dataclass(frozen=True)
class Sample:
    """A trajectory and what its task knows: the ``accepted`` answers and the ids of the pages with the ``evidence``."""

    trajectory: Trajectory
    accepted: Sequence[str]
    evidence: Sequence[str] = ()
    question: str = ""
    """What is asked, where the trajectory does not hold it."""

    @classmethod
    def of_row(cls, trajectory: Trajectory, ground_truth: Any, extra: Mapping[str, Any] | None) -> Sample:
        """From a row in verl's RL format.

        ``ground_truth`` is a text, or several accepted ones; ``extra`` its ``extra_info``, which may have ``evidence``
        and ``question``.
        """
        accepted = [ground_truth] if isinstance(ground_truth, str) else [str(text) for text in ground_truth]
        evidence = (extra or {}).get("evidence")
        question = (extra or {}).get("question")
        return cls(trajectory, accepted, [] if evidence is None else list(evidence), str(question or ""))

    @property
    def asked(self) -> str:
        """The question."""
        return self.trajectory.question or self.question


class Reward(NamedTuple):
    """The reward and its parts, each in [0, 1]; a part that says nothing about the sample is None."""

    score: float
    """0.0 in place of a reward for a sample that is ``unscored``."""
    format: float
    accuracy: float | None
    query: float | None = None
    visual: float | None = None
    relevance: float | None = None
    progression: float | None = None
    signal: float | None = None
    modalities: float | None = None
    """What ``query`` is the mean of, where a judge rates the searches (``QueryVerdict``)."""
    reason: str = ""
    """What the judge of the answer says about it."""
    unscored: bool = False
    """A judge gave no verdict: the sample trains nothing and enters no statistic."""
    failure: str = ""
    """Which judge failed, and how."""


def parts(reward: Reward, trajectory: Trajectory) -> dict[str, float | str]:
    """What is logged and dumped of a sample: numbers, NaN where there is none, and the judges' words.

    ``unscored`` says why the sample has no score, and is empty where it has one. ``failed``: by the infrastructure.
    """
    shares = (getattr(reward, name) for name in SHARES)
    numbers: dict[str, float | str] = {
        name: float("nan") if value is None else value for name, value in zip(SHARES, shares, strict=True)
    }
    if reward.unscored:
        numbers["score"] = float("nan")
    return {
        **numbers,
        "answered": float(trajectory.answer is not None),
        "fatal": float(trajectory.fatal_step is not None),
        "failed": float(trajectory.end == "policy_error"),
        "error_steps": float(sum(trajectory.errors)),
        "steps": float(len(trajectory.turns)),
        "reason": reward.reason,
        "unscored": reward.failure if reward.unscored else "",
    }


def check_unscored(failures: Sequence[str], samples: int, limit: float) -> None:
    """Stop a run whose judges fail too often.

    ``failures``: why each of the ``samples`` without a score has none. Raises ``OsvlError`` when they are more than the
    share ``limit`` of all.
    """
    if len(failures) > limit * samples:
        why, times = Counter(failures).most_common(1)[0]
        raise OsvlError(
            f"{len(failures)} of {samples} samples have no score, over osvl.reward.unscored_limit = {limit:g}; "
            f"{times} of them because of: {why}"
        )


class _Part(NamedTuple):
    """What is known of one part of a reward."""

    value: float | None
    reason: str = ""
    failure: str = ""
    ratings: Mapping[str, float] = {}


class Scorer:
    """Rewards as ``settings`` have them, by the judges that ``osvl_plugins.reward.build`` makes of them.

    No judge is asked where its word could not change anything: about a trajectory that the format gate makes 0, that
    failed for want of a rollout server, or whose answer is missing or does not count. Rules and evidence cost nothing
    and are reported all the same.
    """

    def __init__(
        self,
        settings: RewardSettings,
        answers: AccuracyJudge,
        searches: QueryJudge | None = None,
        *,
        score_fatal_answer: bool = False,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``answers`` judges them; ``searches`` rates them, for ``query: judge``.

        ``score_fatal_answer``: as ``algorithm.fatal.score_answer``. ``close`` ends what the judges stand on.
        """
        if (searches is not None) != (settings.query == "judge"):
            raise ValueError(f"a judge of searches belongs to query: judge, and query is {settings.query}")
        self.settings = settings
        self._answers = answers
        self._searches = searches
        self._score_fatal_answer = score_fatal_answer
        self._close = close

    async def score(self, sample: Sample) -> Reward:
        """The reward of one sample.

        A fatal trajectory's parts are those before its fatal step; it has accuracy 0, whatever it answered, unless
        ``score_fatal_answer``. Raises ``ValueError`` without accepted answers, and ``OsvlError`` when the run cannot go
        on, such as a replay that misses; a judge that fails is part of the reward.
        """
        return (await self.score_group([sample]))[0]

    async def score_group(self, samples: Sequence[Sample]) -> list[Reward]:
        """The rewards of ``samples`` in their order, all at once; what is equal is asked once. Raises as ``score``."""
        asked = _Asked()
        try:
            return list(await asyncio.gather(*(self._score(sample, asked) for sample in samples)))
        finally:
            await asked.cancel()

    async def aclose(self) -> None:
        """Close the running event loop's connections; every loop that scored awaits it before it ends."""
        if self._close is not None:
            await self._close()

    async def _score(self, sample: Sample, asked: _Asked) -> Reward:
        if not any(text.strip() for text in sample.accepted):
            raise ValueError("there is no accepted answer to compare with")
        settings, trajectory = self.settings, sample.trajectory
        well_formed = format_score(trajectory)
        gate = well_formed if settings.gate == "multiply" else 1.0
        worth_asking = gate > 0 and trajectory.end != "policy_error"
        accuracy, query = await asyncio.gather(
            self._accuracy(sample, asked, worth_asking), self._query(sample, asked, worth_asking)
        )
        visual = None
        if settings.visual == "evidence":
            visual = visual_score(trajectory, sample.evidence, sample.asked)
        weights = settings.weights.of_sample(query.value, visual)
        unscored = any(
            part.failure and part.value is None and weight > 0
            for part, weight in ((accuracy, weights.accuracy), (query, settings.weights.query))
        )
        return Reward(
            score=0.0 if unscored else combine(weights, gate, accuracy.value, query.value, visual),
            format=well_formed,
            accuracy=accuracy.value,
            query=query.value,
            visual=visual,
            reason=accuracy.reason,
            unscored=unscored,
            failure="; ".join(part.failure for part in (accuracy, query) if part.failure),
            **query.ratings,
        )

    async def _accuracy(self, sample: Sample, asked: _Asked, worth_asking: bool) -> _Part:
        trajectory = sample.trajectory
        answer = trajectory.answer
        if answer is None or (trajectory.fatal_step is not None and not self._score_fatal_answer):
            return _Part(0.0)
        if not worth_asking and self.settings.accuracy != "rules":
            return _Part(None)
        question, accepted = sample.asked, tuple(sample.accepted)

        async def ask() -> _Part:
            if not question and self.settings.accuracy != "rules":
                raise JudgeFailed("there is no question to judge the answer by")
            verdict = await self._answers.judge(question, accepted, answer)
            return _Part(float(verdict.right), verdict.reason)

        key = ("answer", question, accepted, answer)
        return await self._asked("accuracy", asked, key, ask)

    async def _query(self, sample: Sample, asked: _Asked, worth_asking: bool) -> _Part:
        trajectory, judge = sample.trajectory, self._searches
        if self.settings.query == "evidence" and sample.evidence:
            return _Part(evidence_score(trajectory, sample.evidence))
        if judge is None or not worth_asking:
            return _Part(None)
        question, accepted = sample.asked, tuple(sample.accepted)

        async def ask() -> _Part:
            if not question:
                raise JudgeFailed("there is no question to rate the searches by")
            ratings = await judge.rate(question, accepted, trajectory)
            return _Part(ratings.score, ratings=asdict(ratings))

        said = tuple((turn.text, turn.observation and turn.observation.text) for turn in trajectory.turns)
        key = ("searches", question, accepted, trajectory.fatal_step, said)
        return await self._asked("query", asked, key, ask)

    async def _asked(self, name: str, asked: _Asked, key: Hashable, ask: Callable[[], Awaitable[_Part]]) -> _Part:
        try:
            return await asked.once(key, ask)
        except JudgeFailed as error:
            failure = f"{name}: {error}"
        logger.warning("no verdict: %s", failure)
        return _Part(0.0 if self.settings.on_judge_failure == "zero" else None, failure=failure)


class _Asked:
    """What a group's judges were asked, each once."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, asyncio.Task[_Part]] = {}

    async def once(self, key: Hashable, ask: Callable[[], Awaitable[_Part]]) -> _Part:
        if key not in self._answers:
            self._answers[key] = asyncio.ensure_future(ask())
        return await self._answers[key]

    async def cancel(self) -> None:
        """End what still runs because something else went wrong."""
        for task in self._answers.values():
            task.cancel()
        await asyncio.gather(*self._answers.values(), return_exceptions=True)


def question_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """The last text of the user's last message: what the agent loops take for the question."""
    texts = [""]
    for message in messages:
        if message["role"] == "user":
            content = message["content"]
            pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
            texts = [""] + [piece["text"] for piece in pieces if piece["type"] == "text"]
    return str(texts[-1])


def combine(weights: Weights, gate: float, accuracy: float | None, query: float | None, visual: float | None) -> float:
    """The reward, in [0, 1]: ``gate`` times the weighted parts.

    Accuracy that is None is that of an answer which the gate makes worthless, and counts as 0.
    """
    parts = (accuracy or 0.0, query or 0.0, visual or 0.0)
    return gate * sum(weight * part for weight, part in zip(weights, parts, strict=True))
