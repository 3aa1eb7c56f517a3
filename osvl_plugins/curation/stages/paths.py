"""The first stage: random paths through the graph, from a page with a picture to a page with a fact to ask for."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from osvl_plugins.curation.candidate import Candidate, Hop, Reject, Split, StageContext, StageResult, stable_id
from osvl_plugins.curation.graph.rules import PathRules
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.graph.walks import Paths, Walker

STAGE = "paths"

Reason = Literal[
    "dead_end",  # no path was found from the anchor, however often it was tried
    "duplicate",  # the shard has the path already
]
REASONS: tuple[str, ...] = get_args(Reason)


class Walk(NamedTuple):
    """A path: one hop fewer than nodes. One that was not found has its anchor alone."""

    nodes: tuple[int, ...]
    hops: tuple[Hop, ...]
    held_out: bool


def draw(shard: int, count: int, context: StageContext[PathRules]) -> StageResult:
    """``count`` random paths of a shard: a row each, or the reason why there is none.

    A row's id follows from its path alone, so that shards which draw the same path make the same row.

    Raises ``OsvlError`` when no page can be an anchor, ``SettingError`` when the rules do not fit the graph.
    """
    graph = context.graph
    result = StageResult([], [])
    seen: set[str] = set()
    for number, walk in enumerate(walks(graph, context.settings, shard_generator(context.seed, shard), count)):
        path = tuple(map(graph.id, walk.nodes))
        if not walk.hops:
            rejected = stable_id(context.seed, STAGE, shard, number)
            result.rejects.append(Reject(rejected, STAGE, "dead_end", f"from {graph.title(walk.nodes[0])}"))
            continue
        row_id = stable_id(path, walk.hops)
        if row_id in seen:
            result.rejects.append(Reject(row_id, STAGE, "duplicate"))
            continue
        seen.add(row_id)
        split: Split = "held_out" if walk.held_out else "train"
        result.rows.append(Candidate(row_id, split, path=path, hops=walk.hops, evidence=path, seed=context.seed))
    return result


def shard_generator(seed: int, shard: int) -> np.random.Generator:
    """The random numbers of a shard, which follow from the run's seed and the shard's number alone."""
    digest = hashlib.sha256(f"{seed}/{STAGE}/{shard}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))


def walks(graph: Graph, rules: PathRules, rng: np.random.Generator, count: int) -> list[Walk]:
    """``count`` random paths under the rules.

    Raises ``OsvlError`` when no page can be an anchor, ``SettingError`` when the rules do not fit the graph.
    """
    walker = _walker(graph, rules.model_dump_json())
    paths = walker.draw(rng, count)
    return [_walk(graph, rules, walker, paths, row) for row in range(count)]


@lru_cache(maxsize=2)
def _walker(graph: Graph, rules: str) -> Walker:
    return Walker(graph, PathRules.model_validate_json(rules))


def _walk(graph: Graph, rules: PathRules, walker: Walker, paths: Paths, row: int) -> Walk:
    length = int(paths.lengths[row])
    nodes = tuple(paths.nodes[row, : length + 1].tolist())
    facts = rules.edges == "facts"
    hops = tuple(
        _fact_hop(graph, source, edge) if facts else _link_hop(graph, source, edge)
        for source, edge in zip(nodes, paths.edges[row, :length].tolist(), strict=False)
    )
    return Walk(nodes, hops, bool(walker.held_out[nodes[0]]))


def _link_hop(graph: Graph, source: int, edge: int) -> Hop:
    link = graph.link(edge)
    row = slice(int(graph.fact_offsets[source]), int(graph.fact_offsets[source + 1]))
    named = graph.fact_relations[row][graph.fact_targets[row] == link.target]
    return Hop(graph.relations[named[0]] if len(named) else "", False, link.anchor, link.position)


def _fact_hop(graph: Graph, source: int, edge: int) -> Hop:
    if edge < 0:
        return Hop(graph.relations[graph.inverse_relations[-2 - edge]], True, "", -1)
    target = int(graph.fact_targets[edge])
    row = slice(int(graph.offsets[source]), int(graph.offsets[source + 1]))
    places = np.flatnonzero(graph.targets[row] == target)
    link = graph.link(row.start + int(places[0])) if len(places) else None
    relation = graph.relations[graph.fact_relations[edge]]
    return Hop(relation, False, link.anchor if link else "", link.position if link else -1)
