"""Expert trajectories: an expert answers in the agent's own tools, and judges decide what is kept of that.

Of several trajectories that both judges accept, the one with the fewest errors and turns is kept with the row. A row
without one stays a question for RL; why it is no example for SFT is noted as a reject of a row that stays.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from osvl_plugins.backends.budget import FileBudgets
from osvl_plugins.backends.completion import ModelSettings
from osvl_plugins.backends.http import Http
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, Reject, StageContext, StageResult
from osvl_plugins.curation.certify import certifier
from osvl_plugins.curation.examples import Example, question_task
from osvl_plugins.curation.path_expert import Guide, PathExpert
from osvl_plugins.curation.process import ProcessJudge, ProcessRules, ServerProcessJudge
from osvl_plugins.episode import EpisodeSettings, Policy, run_episode
from osvl_plugins.errors import JudgeFailed, SettingError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.inference.chat import ChatPolicy
from osvl_plugins.inference.completions import ChatClient, ChatModel
from osvl_plugins.reward.judge import AccuracyJudge
from osvl_plugins.reward.judges.openai import JudgeSettings, accuracy_judge
from osvl_plugins.reward.judges.rules import RuleJudge
from osvl_plugins.settings import Settings
from osvl_plugins.tools.build import ToolSettings, build_toolset
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory

STAGE = "trajectories"
PARALLEL = 16
"""Rows under way at a time."""
PUBLISHED_N = 5


class ExpertSettings(ModelSettings):
    """Who shows how questions are answered."""

    engine: Literal["scripted", "server"] = "scripted"
    """scripted: follows the known path, through the tools. server: a model behind an OpenAI-compatible server."""
    deadline_s: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    """Seconds for one turn, with all retries."""
    max_tokens: int = Field(default=4096, ge=32)
    """Most tokens of a turn."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """0 is greedy."""


class TrajectoriesSettings(Settings):
    """Who answers, with what, and who judges."""

    expert: ExpertSettings = ExpertSettings()
    n: int | None = Field(default=None, ge=1, le=64)
    """Trajectories for each question; None: 5 by a server (arXiv 2605.05185, section 3), 1 by the script."""
    answers: Literal["rules", "server"] = "rules"
    """Who judges answers. server: ``judge``, where the rules cannot tell."""
    process: Literal["rules", "server"] = "rules"
    """Who judges tool use, logical consistency and needless repetition. server: ``judge``, after the rules."""
    judge: JudgeSettings = JudgeSettings()
    tools: ToolSettings = ToolSettings()
    """The agent's tools. Without an embedded corpus behind the graph, those that search need live services."""
    episode: EpisodeSettings = EpisodeSettings()

    @property
    def attempts(self) -> int:
        """Trajectories for each question."""
        return self.n or (PUBLISHED_N if self.expert.engine == "server" else 1)


@dataclass(frozen=True)
class Crew:
    """Who works in the stage: ``model`` answers, or the script where that is None."""

    answers: AccuracyJudge
    process: ProcessJudge
    http: Http
    model: ChatModel | None


def build_crew(settings: TrajectoriesSettings, http: Http, recorder: Recorder) -> Crew:
    """Expert and judges that ``settings`` name. Raises ``SettingError`` for a server without an address or a model."""
    answers: AccuracyJudge = RuleJudge()
    if settings.answers == "server":
        answers = RuleJudge(accuracy_judge(settings.judge, http, recorder, "curate.trajectories.judge"))
    process: ProcessJudge = ProcessRules()
    if settings.process == "server":
        process = ServerProcessJudge(settings.judge, http, recorder)
    return Crew(answers, process, http, _model(settings.expert))


def _model(expert: ExpertSettings) -> ChatModel | None:
    if expert.engine == "scripted":
        return None
    expert.require("curate.trajectories.expert")
    return ChatModel(
        expert.url,
        expert.model,
        expert.key_env,
        temperature=expert.temperature,
        max_turn=expert.max_tokens,
        deadline_s=expert.deadline_s,
    )


class _Stand(NamedTuple):
    """What belongs to the running event loop."""

    tools: ToolSet
    client: ChatClient | None


class _Failure(NamedTuple):
    rank: int
    """How far it came."""
    reason: str
    detail: str


def run(rows: list[Candidate], context: StageContext[TrajectoriesSettings], crew: Crew) -> StageResult:
    """All rows, with a trajectory where one was accepted.

    Reasons of rejects, whose rows stay as questions, by the attempt that came furthest: ``no_script`` (a row without
    a path), ``expert_failed``, ``no_answer``, ``wrong_answer``, ``judge_failed``, and those of ``ProcessRules`` and
    ``ServerProcessJudge``.

    Raises ``SettingError`` when a tool searches a corpus and there is none.
    """
    return asyncio.run(_run(rows, context, crew))


async def _run(rows: list[Candidate], context: StageContext[TrajectoriesSettings], crew: Crew) -> StageResult:
    turns = asyncio.Semaphore(PARALLEL)
    budgets = FileBudgets(Path(tempfile.gettempdir()), {})
    client = ChatClient(crew.model, crew.http.settings, budgets) if crew.model is not None else None
    tools = build_toolset(context.settings.tools, context.corpus or _no_corpus)

    async def one(row: Candidate) -> Candidate | Reject:
        async with turns:
            return await _shown(row, context, crew, _Stand(tools, client))

    try:
        found = await asyncio.gather(*map(one, rows))
    finally:
        await tools.aclose()
        await crew.http.aclose()
        if client is not None:
            await client.aclose()
    rejects = [result for result in found if isinstance(result, Reject)]
    kept = [row if isinstance(result, Reject) else result for row, result in zip(rows, found, strict=True)]
    return StageResult(kept, rejects)


async def _shown(
    row: Candidate, context: StageContext[TrajectoriesSettings], crew: Crew, stand: _Stand
) -> Candidate | Reject:
    """The row with its best trajectory, or why there is none."""
    if crew.model is None and not row.path:
        return Reject(row.id, STAGE, "no_script", row.source)
    tried = [await _tried(row, attempt, context, crew, stand) for attempt in range(context.settings.attempts)]
    good = [result for result in tried if isinstance(result, Example)]
    if not good:
        furthest = max((result for result in tried if isinstance(result, _Failure)), key=lambda failed: failed.rank)
        return Reject(row.id, STAGE, furthest.reason, furthest.detail[:500])
    best = min(good, key=lambda example: (sum(example.trajectory.errors), len(example.trajectory.turns)))
    return replace(row, trajectories=(best.to_json(),))


async def _tried(
    row: Candidate, attempt: int, context: StageContext[TrajectoriesSettings], crew: Crew, stand: _Stand
) -> Example | _Failure:
    settings = context.settings
    task = question_task(row, settings.episode.images, f"{context.seed}/{row.id}/{attempt}")
    policy = _scripted(row, attempt, context) if stand.client is None else ChatPolicy(stand.client)
    trajectory = await run_episode(task, policy, stand.tools, settings.episode, FatalSettings())
    failure = await _judged(row, trajectory, crew)
    return failure or Example.of(task, trajectory)


async def _judged(row: Candidate, trajectory: Trajectory, crew: Crew) -> _Failure | None:
    if trajectory.end == "policy_error":
        return _Failure(0, "expert_failed", trajectory.failure or "")
    if trajectory.answer is None:
        return _Failure(1, "no_answer", trajectory.end)
    try:
        verdict = await crew.answers.judge(row.question, row.accepted, trajectory.answer)
        if not verdict.right:
            return _Failure(2, "wrong_answer", f"{trajectory.answer}: {verdict.reason}")
        flaw = await crew.process.flaw(row, trajectory)
    except JudgeFailed as error:
        return _Failure(3, "judge_failed", str(error))
    return None if flaw is None else _Failure(4, *flaw)


def _scripted(row: Candidate, attempt: int, context: StageContext[TrajectoriesSettings]) -> Policy:
    found = certifier(context.graph)
    titles: Sequence[str] = [found.page(found.node(page)).title for page in row.path]
    return PathExpert(Guide.of(row, titles), context.rng(f"{STAGE}/{attempt}", row))


def _no_corpus() -> Corpus:
    raise SettingError(
        "curate.trajectories.tools.backends", "must name live services: there is no embedded corpus behind the graph"
    )
