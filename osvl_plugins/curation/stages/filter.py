"""The difficulty filter: what a solver answers without tools goes, then what one image search solves.

Both verdicts stay with the row. A right answer is one that the rules of the reward accept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from osvl_plugins.curation.candidate import Candidate, Reject, StageContext, StageResult
from osvl_plugins.curation.language.protocol import PARALLEL
from osvl_plugins.curation.model_solver import SolverSettings
from osvl_plugins.curation.solver import IMAGE_SEARCH, NO_TOOLS, Budget, Solver
from osvl_plugins.curation.wording import sorted_out
from osvl_plugins.errors import ToolError
from osvl_plugins.reward.rules import Rules
from osvl_plugins.reward.rules.compare import normalised
from osvl_plugins.settings import Settings

STAGE = "filter"
_RULES = Rules()


class FilterSettings(Settings):
    """What is too easy, and for whom."""

    no_tools: bool = True
    """Drop what the solver answers without tools."""
    one_image_search: bool = True
    """Drop what one image search solves."""
    solver: SolverSettings = SolverSettings()

    @property
    def tests(self) -> Iterator[tuple[str, Budget]]:
        """Each test that is asked for: its name, and what the solver may use."""
        if self.no_tools:
            yield "no_tools", NO_TOOLS
        if self.one_image_search:
            yield "one_image_search", IMAGE_SEARCH


def run(rows: list[Candidate], context: StageContext[FilterSettings], solver: Solver | None) -> StageResult:
    """The rows that are hard enough; all of them without a solver.

    Reasons of rejects: ``no_tools`` and ``one_image_search``, with what solves it, and ``solver_`` with a kind of
    ``ToolError`` when the solver failed, and ``unjudgeable`` when the rules cannot read the answer that is right: what
    was not tested is not kept.
    """
    if solver is None:
        return StageResult(rows, [])
    tests = list(context.settings.tests)

    async def every() -> list[Candidate | Reject]:
        turns = asyncio.Semaphore(PARALLEL)

        async def one(row: Candidate) -> Candidate | Reject:
            async with turns:
                return await _tested(row, solver, tests)

        try:
            return await asyncio.gather(*map(one, rows))
        finally:
            await solver.aclose()

    return sorted_out(asyncio.run(every()))


def is_judgeable(row: Candidate) -> bool:
    """Whether the rules can read an answer that is right."""
    return any(map(normalised, row.accepted))


def is_right(row: Candidate, answer: str) -> bool:
    """Whether the rules accept an answer. Raises ``ValueError`` for a row that is not judgeable."""
    return _RULES.compare(row.question, row.accepted, answer).right is True


async def _tested(row: Candidate, solver: Solver, tests: list[tuple[str, Budget]]) -> Candidate | Reject:
    if not is_judgeable(row):
        return Reject(row.id, STAGE, "unjudgeable", row.answer)
    verdicts = dict(row.verdicts)
    for name, budget in tests:
        try:
            answer = await solver.solve(row.question, row.image, budget)
        except ToolError as error:
            return Reject(row.id, STAGE, f"solver_{error.kind}", str(error)[:500])
        verdicts[name] = is_right(row, answer)
        if verdicts[name]:
            return Reject(row.id, STAGE, name, f"{solver.version}: {answer}"[:500])
    return replace(row, verdicts=verdicts)
