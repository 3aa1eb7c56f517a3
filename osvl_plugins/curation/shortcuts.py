"""How many questions are solved with less than they are meant to take, and what the pipeline does about it.

The same questions are asked in four wordings, with and without rewriting and grounding, and then once more without
those that the filter dropped. The solver is ``RetrievalSolver``, so that the figures need no model: they are a
lower bound of what a question's own words give away, and say nothing of what a model may happen to know.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import GRAPH_SOURCE, Candidate
from osvl_plugins.curation.folder import RunFolder
from osvl_plugins.curation.leaks import names_of, without
from osvl_plugins.curation.solver import IMAGE_SEARCH, NO_TOOLS, TEXT_SEARCH, Budget, RetrievalSolver
from osvl_plugins.curation.stages.filter import is_judgeable, is_right
from osvl_plugins.errors import OsvlError
from osvl_plugins.judge_eval import Rate, wilson

MAX_HOPS = 4
ATTACKS: dict[str, Budget] = {
    "the question alone": NO_TOOLS,
    "one image search": IMAGE_SEARCH,
    "one text search": TEXT_SEARCH,
    **{
        f"image search, {hops} hop{'s' if hops > 1 else ''}": Budget(image_search=True, hops=hops)
        for hops in range(1, MAX_HOPS + 1)
    },
}
"""Each solver's budget, by what it is called in the report."""
CANONICAL, REWRITTEN, GROUNDED = "neither", "rewritten, not grounded", "grounded, not rewritten"
BOTH, FILTERED = "rewritten and grounded", "rewritten, grounded and filtered"
VARIANTS = (CANONICAL, REWRITTEN, GROUNDED, BOTH, FILTERED)


class Asked(NamedTuple):
    """A question as it is asked; ``image`` is empty where it names its anchor."""

    question: str
    image: bytes


class Solved(NamedTuple):
    """How many of how many questions were solved."""

    solved: int
    asked: int

    @property
    def rate(self) -> Rate:
        """The share with its 95 % Wilson interval."""
        return wilson(self.solved, self.asked)


@dataclass(frozen=True)
class Shortcuts:
    """What was solved, by variant and attack, and of the final questions by the length of the path and hops followed.

    An image search is missing where a variant has no image; hops then start from what the question names.
    """

    solver: str
    corpus: str
    solved: Mapping[str, Mapping[str, Solved]]
    by_length: Mapping[int, Mapping[int, Solved]]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON: each share with its interval."""
        return {
            "solver": self.solver,
            "corpus": self.corpus,
            "solved": {variant: _shares(found) for variant, found in self.solved.items()},
            "by_length": {str(length): _shares(found) for length, found in self.by_length.items()},
        }

    def to_markdown(self) -> str:
        """The report as two tables."""
        heads = [f"{variant} (n = {_asked(self.solved[variant])})" for variant in VARIANTS]
        first = [[attack, *(_cell(self.solved[variant].get(attack)) for variant in VARIANTS)] for attack in ATTACKS]
        second = [
            [f"{length} hops (n = {_asked(found)})", *(_cell(found[hops]) for hops in found)]
            for length, found in self.by_length.items()
        ]
        lines = [
            "# Shortcuts",
            "",
            f"Share of questions that {self.solver} solves over the corpus {self.corpus[:12]}, with 95 % Wilson "
            "intervals. The same questions stand in every column but the last, which has those that the filter kept; "
            "the filter itself uses the first two rows, which are therefore 0 there.",
            "",
            *_table(["solved by", *heads], first),
            "",
            "## By the length of the path",
            "",
            "Final questions, by one image search and the links that are followed after it.",
            "",
            *_table(["path", *(f"{hops} followed" for hops in range(MAX_HOPS + 1))], second),
        ]
        return "\n".join(lines) + "\n"


def measure(
    folder: RunFolder, corpus: Corpus, limit: int | None = None, progress: Callable[[str], None] = lambda message: None
) -> Shortcuts:
    """The shortcuts of a run's questions of the graph, or of the first ``limit`` that were grounded.

    Raises ``OsvlError`` when the run is of another corpus, is not finished, or has no questions.
    """
    if folder.manifest.corpus != corpus.fingerprint:
        raise OsvlError(f"{folder.path}: the run is not of the corpus {corpus.folder}; name its own with --corpus")
    return asyncio.run(_measure(folder, RetrievalSolver(corpus), corpus, limit, progress))


async def _measure(
    folder: RunFolder, solver: RetrievalSolver, corpus: Corpus, limit: int | None, progress: Callable[[str], None]
) -> Shortcuts:
    rewritten = {row.id: row.question for row in folder.rows("rewrite")}
    kept = {row.id for row in folder.rows("filter")}
    counts = {variant: {attack: [0, 0] for attack in ATTACKS} for variant in VARIANTS}
    lengths: dict[int, dict[int, list[int]]] = {}
    number = 0
    for number, row in enumerate(islice(_of_graph(folder.rows("ground")), limit), 1):
        progress(f"{number} questions")
        variants = wordings(row, rewritten[row.id], corpus)
        for variant, asked in variants.items():
            for attack, budget in ATTACKS.items():
                if attack == "one image search" and not asked.image:
                    continue
                right = is_right(row, await solver.solve(asked.question, asked.image, budget))
                _tally(counts[variant][attack], right)
                if variant != BOTH or row.id not in kept:
                    continue
                _tally(counts[FILTERED][attack], right)
                if budget.image_search:
                    found = lengths.setdefault(len(row.hops), {hops: [0, 0] for hops in range(MAX_HOPS + 1)})
                    _tally(found[budget.hops], right)
    if not number:
        raise OsvlError(f"{folder.path}: the run has no questions of the graph")
    solved = {
        variant: {attack: Solved(*count) for attack, count in found.items() if attack != "one image search" or count[1]}
        for variant, found in counts.items()
    }
    by_length = {
        length: {hops: Solved(*count) for hops, count in found.items()} for length, found in sorted(lengths.items())
    }
    return Shortcuts(solver.version, corpus.fingerprint, solved, by_length)


def wordings(row: Candidate, rewritten: str, corpus: Corpus) -> dict[str, Asked]:
    """A grounded question with and without either measure; grounded alone, "…" stands for the anchor's name."""
    anchor = names_of(corpus.pages[row.path[0]])
    return {
        CANONICAL: Asked(row.canonical, b""),
        REWRITTEN: Asked(rewritten, b""),
        GROUNDED: Asked(without(row.canonical, anchor), row.image),
        BOTH: Asked(row.question, row.image),
    }


def _of_graph(rows: Iterable[Candidate]) -> Iterator[Candidate]:
    return (row for row in rows if row.source == GRAPH_SOURCE and is_judgeable(row))


def _tally(count: list[int], right: bool) -> None:
    count[0] += right
    count[1] += 1


def _asked(found: Mapping[Any, Solved]) -> int:
    return max(count.asked for count in found.values())


def _shares(found: Mapping[Any, Solved]) -> dict[str, Any]:
    return {
        str(key): {
            "solved": count.solved,
            "asked": count.asked,
            **{name: None if math.isnan(value) else value for name, value in count.rate._asdict().items()},
        }
        for key, count in found.items()
    }


def _cell(count: Solved | None) -> str:
    if count is None or not count.asked:
        return "–"
    share, low, high = (100 * value for value in count.rate)
    return f"{share:.1f} % [{low:.1f}, {high:.1f}]"


def _table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
