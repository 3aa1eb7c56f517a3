"""The composite reward as a function: for stock verl, and for whoever has a trajectory and its task.

In a stock verl launch it is ``compute_score`` of ``pkg://osvl_plugins.reward.custom``::

    reward.custom_reward_function.path=pkg://osvl_plugins.reward.custom
    '+reward.custom_reward_function.reward_kwargs={osvl: {reward: {gate: none}}, fatal: {k: 3}}'

``osvl`` and ``fatal`` are the groups ``osvl`` and ``algorithm.fatal`` of a config; a launch that has these groups hands
them over as ``{osvl: ${osvl}, fatal: ${algorithm.fatal}}``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from osvl_plugins.agent import AgentSettings
from osvl_plugins.backends.services import ServiceSettings
from osvl_plugins.detectors import FatalDetector
from osvl_plugins.errors import ERROR_KINDS, ErrorKind, JudgeFailed, ToolError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.protocol import parse_turn
from osvl_plugins.reward.build import build_scorer
from osvl_plugins.reward.composite import Reward, Sample, Scorer, parts
from osvl_plugins.reward.settings import RewardSettings
from osvl_plugins.settings import read
from osvl_plugins.tools.toolset import render_error
from osvl_plugins.trajectory import Observation, StepError, Trajectory, Turn

RECORD = "osvl"
"""Under this key of ``extra_info`` the agent loops of this package leave what they recorded."""

KWARGS = "reward.custom_reward_function.reward_kwargs"

_TAG = re.compile(r"(</?tool_response>)")
_ERROR = re.compile(rf"Error \(({'|'.join(ERROR_KINDS)})\): (.*)", re.DOTALL)


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    osvl: Mapping[str, Any] | None = None,
    fatal: Mapping[str, Any] | None = None,
    **unused: Any,
) -> dict[str, Any]:
    """The reward function of verl: ``score`` and the parts of the reward (``osvl_plugins.reward.composite.parts``).

    ``extra_info``: ``evidence`` and ``question`` of the row, and the record of the trajectory where an agent loop of
    this package left one. Elsewhere the turns are read from ``solution_str`` (``read_text``). What a tool brought is
    then not known: the policy could have written it. The reward is r_fmt · r_acc.

    Raises ``SettingError`` for a wrong setting, ``ValueError`` without a ground truth, and ``JudgeFailed`` for a sample
    that is unscored: verl's V1 trainers then leave its group of samples out, the others end.
    """
    extra = extra_info or {}
    agent = read(AgentSettings, _plain(osvl), f"{KWARGS}.osvl")
    fatality = read(FatalSettings, _plain(fatal), f"{KWARGS}.fatal")
    record = extra.get(RECORD)
    settings = agent.reward
    if record is not None:
        trajectory = Trajectory.from_dict(record["trajectory"])
    else:
        trajectory = read_text(solution_str, fatality)
        settings = settings.model_copy(update={"query": "none", "visual": "none"})
    scorer = _scorer(settings, agent.services.model_dump_json(), fatality.score_answer)
    reward = await scorer.score(Sample.of_row(trajectory, ground_truth, extra))
    if reward.unscored:
        raise JudgeFailed(reward.failure)
    return parts(reward, trajectory)


def evaluate(
    trajectory: Mapping[str, Any],
    task: Mapping[str, Any],
    osvl: Mapping[str, Any] | None = None,
    fatal: Mapping[str, Any] | None = None,
) -> Reward:
    """The reward of a trajectory as ``Trajectory.to_dict`` gives it.

    ``task``: ``ground_truth`` (a text, or a list of accepted ones), and perhaps ``evidence`` and ``question``. ``osvl``
    and ``fatal`` are the groups ``osvl`` and ``algorithm.fatal`` of a config. Not for a running event loop: await
    ``Scorer.score`` there. Raises as that does, and ``KeyError`` or ``TypeError`` for what is no trajectory.
    """
    agent = read(AgentSettings, _plain(osvl), "osvl")
    score_answer = read(FatalSettings, _plain(fatal), "algorithm.fatal").score_answer
    sample = Sample.of_row(Trajectory.from_dict(dict(trajectory)), task["ground_truth"], task)

    async def score() -> Reward:
        scorer = build_scorer(agent.reward, agent.services, score_fatal_answer=score_answer)
        try:
            return await scorer.score(sample)
        finally:
            await scorer.aclose()

    return asyncio.run(score())


@lru_cache(maxsize=4)
def _scorer(settings: RewardSettings, services: str, score_fatal_answer: bool) -> Scorer:
    asked = ServiceSettings.model_validate_json(services)
    return build_scorer(settings, asked, score_fatal_answer=score_fatal_answer)


def _plain(value: Any) -> Any:
    """``value`` with dicts and lists in place of whatever a launcher's config is made of."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def read_text(text: str, fatal: FatalSettings) -> Trajectory:
    """The trajectory that a decoded response tells of: turns of ``osvl_plugins.protocol`` and what came back.

    An observation is what stands in ``<tool_response>``; one that starts with "Error (kind): " of a known kind is a
    failed call. What follows an answer is not read. There are no pages, pictures or token spans.
    """
    trajectory = Trajectory(question="")
    for said, seen in _said_and_seen(text):
        turn = _turn(said, seen)
        trajectory.turns.append(turn)
        if turn.answer is not None:
            trajectory.end = "answer"
            break
    trajectory.fatal_step = FatalDetector(fatal)(trajectory)
    return trajectory


def _said_and_seen(text: str) -> Iterator[tuple[str, str]]:
    said, seen, inside = "", "", False
    for piece in _TAG.split(text):  # every second one is a tag
        if piece == "<tool_response>" and not inside:
            inside = True
        elif piece == "</tool_response>" and inside:
            inside = False
        elif inside:
            seen += piece
        else:
            # The marks of a chat template's roles stay behind when its special tokens are left out.
            bare = piece.strip().removesuffix("\nuser").removeprefix("assistant\n").strip()
            if seen and bare not in ("", "user", "assistant"):
                if said:
                    yield said, seen.strip()
                said, seen = bare, ""
            elif not seen:
                said += bare
    if said:
        yield said, seen.strip()


def _turn(said: str, seen: str) -> Turn:
    try:
        parsed = parse_turn(said)
    except ToolError as error:
        message = str(error)
        return Turn(said, observation=Observation(render_error(error.kind, message), error=StepError("parse", message)))
    if parsed.call is None:
        return Turn(said, answer=parsed.answer)
    failed = _ERROR.match(seen)
    failure = StepError(cast(ErrorKind, failed[1]), failed[2]) if failed else None
    return Turn(said, call=parsed.call, observation=Observation(seen, error=failure))
