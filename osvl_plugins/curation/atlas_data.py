"""The atlas as training data: expert trajectories for SFT, questions for RL and for evaluation.

SFT trajectories run in counterfactual worlds over the training side of the split, a few in each; questions for RL
and evaluation are about the corpus as it is, on disjoint sets of pages.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from osvl_plugins.agent import AgentSettings, build_tools, open_corpus
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.expert import Expert
from osvl_plugins.curation.exposures import Anchor, Exposure, expose
from osvl_plugins.curation.questions import Chain, anchors_of, sample_chain, split_pages
from osvl_plugins.curation.rows import make_task, rl_row, sft_row
from osvl_plugins.curation.views import VIEW_SHARES
from osvl_plugins.curation.worlds import counterfactual
from osvl_plugins.episode import run_episode
from osvl_plugins.errors import OsvlError
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.settings import Settings
from osvl_plugins.tools.faults import FaultSettings
from osvl_plugins.wire import build_wire


class DataSettings(Settings):
    """How much of what."""

    system_prompt: str
    sft_rows: int = Field(default=6000, ge=1)
    rows_per_world: int = Field(default=40, ge=1)
    """Trajectories in one counterfactual world."""
    expert_faults: FaultSettings = FaultSettings(start=0.08, stay=0.3)
    """Failures during expert trajectories, so that going on after one is learned."""
    train_questions: int = Field(default=2000, ge=1)
    held_out_questions: int = Field(default=200, ge=1)
    relations: tuple[str, ...] | None = None
    """Relations that questions follow and ask for; None for all."""
    held_out_share: float = Field(default=0.25, gt=0, lt=1)
    seed: int = 0
    workers: int = Field(default=2, ge=1)


@dataclass(frozen=True)
class Side:
    """One side of the split: the ids of its pages and the proven exposures of its pictures."""

    pages: frozenset[str]
    exposures: dict[Anchor, list[Exposure]]


class QuestionSampler:
    """Draws questions about one side, with the text of ``corpus`` and only over ``relations`` (None for all)."""

    def __init__(self, side: Side, corpus: Corpus, relations: Sequence[str] | None) -> None:
        self._exposures = side.exposures
        self._pages = {page_id: _only(corpus.pages[page_id], relations) for page_id in sorted(side.pages)}
        self._anchors = {
            view: [anchor for anchor, shown in side.exposures.items() if any(e.view == view for e in shown)]
            for view in VIEW_SHARES
        }

    def draw(self, rng: random.Random) -> tuple[Chain, Exposure]:
        """A random question, and the picture that asks it.

        Raises ``OsvlError`` when the side is too small for any chain.
        """
        for _ in range(100):
            view = rng.choices(list(VIEW_SHARES), list(VIEW_SHARES.values()))[0]
            anchors = self._anchors[view]
            chain = sample_chain(self._pages, anchors, rng) if anchors else None
            if chain is not None:
                shown = self._exposures[chain.pages[0], chain.picture]
                return chain, rng.choice([exposure for exposure in shown if exposure.view == view])
        raise OsvlError("no chain of links starts at any picture of this side of the split")


def _only(page: Page, relations: Sequence[str] | None) -> Page:
    if relations is None:
        return page
    return replace(page, facts=tuple(fact for fact in page.facts if fact.relation in relations))


def split_sides(agent: AgentSettings, settings: DataSettings) -> tuple[Side, Side]:
    """(train, held out), with the exposures of every usable picture proven with the real tools.

    Raises ``OsvlError`` when a side has no usable picture.
    """
    corpus = open_corpus(agent.corpus)
    train, held_out = split_pages(corpus.pages, settings.held_out_share, settings.seed)
    sides = []
    with ProcessPoolExecutor(settings.workers) as pool:
        for name, pages in (("training", train), ("held-out", held_out)):
            anchors = anchors_of(corpus.pages, pages, corpus.ambiguous_pictures)
            prove = partial(_expose, agent.corpus, anchors, settings.seed)
            exposures = dict(zip(anchors, pool.map(prove, anchors, chunksize=8), strict=True))
            usable = {anchor: shown for anchor, shown in exposures.items() if shown}
            if not usable:
                raise OsvlError(f"the {name} side of the split has no picture that image search finds")
            sides.append(Side(frozenset(pages), usable))
    return sides[0], sides[1]


def _expose(corpus: str, anchors: Sequence[Anchor], seed: int, anchor: Anchor) -> list[Exposure]:
    return expose(open_corpus(corpus), anchor, anchors, seed)


def questions(agent: AgentSettings, settings: DataSettings, side: Side, count: int, split: str) -> list[dict[str, Any]]:
    """``count`` different questions about ``side`` as RL rows."""
    sampler = QuestionSampler(side, open_corpus(agent.corpus), settings.relations)
    rng = random.Random(f"{settings.seed}/{split}")
    rows: list[dict[str, Any]] = []
    seen: set[tuple[Chain, str]] = set()
    for _ in range(50 * count):
        if len(rows) == count:
            return rows
        chain, exposure = sampler.draw(rng)
        if (chain, exposure.view) not in seen:
            seen.add((chain, exposure.view))
            task = make_task(chain, exposure, settings.system_prompt)
            rows.append(rl_row(task, chain, exposure, len(rows), split))
    raise OsvlError(f"the corpus gives only {len(rows)} different questions for {split}, {count} were asked for")


def expert_rows(agent: AgentSettings, settings: DataSettings, side: Side) -> Iterator[list[dict[str, Any]]]:
    """SFT rows, some worlds at a time, until there are about ``settings.sft_rows``."""
    worlds = range(-(-settings.sft_rows // settings.rows_per_world))
    # The side's pictures travel to a worker with each portion.
    portions = [worlds[start : start + 8] for start in range(0, len(worlds), 8)]
    with ProcessPoolExecutor(settings.workers) as pool:
        yield from pool.map(partial(_run_worlds, agent, settings, side), portions)


def _run_worlds(agent: AgentSettings, settings: DataSettings, side: Side, worlds: range) -> list[dict[str, Any]]:
    return [row for world in worlds for row in asyncio.run(_run_world(agent, settings, side, world))]


async def _run_world(agent: AgentSettings, settings: DataSettings, side: Side, world: int) -> list[dict[str, Any]]:
    rng = random.Random(f"{settings.seed}/world/{world}")
    atlas = open_corpus(agent.corpus)
    corpus = atlas.derive(counterfactual(atlas.pages, rng))
    sampler = QuestionSampler(side, corpus, settings.relations)
    tools = build_tools(agent, corpus)
    wire = build_wire(agent.wire, agent.date)
    episode = agent.episode.model_copy(update={"faults": settings.expert_faults})
    rows: list[dict[str, Any]] = []
    for attempt in range(10 * settings.rows_per_world):
        if len(rows) == settings.rows_per_world:
            break
        chain, exposure = sampler.draw(rng)
        expert = Expert(
            chain, corpus.pages, exposure.view, rng, quadrant=exposure.quadrant, sharpen_amount=exposure.amount
        )
        task = make_task(chain, exposure, settings.system_prompt, f"{settings.seed}/{world}/{attempt}")
        trajectory = await run_episode(task, expert, tools, episode, FatalSettings())
        if trajectory.answer == chain.answer:
            rows.append(sft_row(task, trajectory, tools, wire))
    return rows


def names_and_values(agent: AgentSettings) -> list[str]:
    """All titles and all values of facts that are not numbers."""
    corpus = open_corpus(agent.corpus)
    texts = {page.title for page in corpus.pages.values()}
    texts |= {fact.value for page in corpus.pages.values() for fact in page.facts if not fact.value[:1].isdigit()}
    return sorted(texts)


def relation_names(corpus_path: Path) -> list[str]:
    """All relations of the corpus."""
    corpus = open_corpus(str(corpus_path))
    return sorted({fact.relation for page in corpus.pages.values() for fact in page.facts})
