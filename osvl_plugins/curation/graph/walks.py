"""Random paths under rules, many at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.curation.graph.names import Ints, Longs
from osvl_plugins.curation.graph.rules import PathRules
from osvl_plugins.curation.graph.sides import held_out_nodes
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.errors import OsvlError

BATCH = 65_536
"""Paths that grow together: enough that numpy's own cost vanishes, few enough to stay in the cache."""
CHOICES = 16
"""Links that are looked at in a hop; one of those that the rules allow is taken, by its weight."""


class Paths(NamedTuple):
    """``count`` paths, −1 behind the end of each. A path that was not found has its anchor alone and length 0.

    ``nodes`` (count, h + 1). ``edges`` (count, h): the place of each hop in ``Graph.targets`` or
    ``Graph.fact_targets``; of one that goes backwards −2 minus its place in ``Graph.inverse_sources``.
    """

    nodes: Ints
    edges: Longs
    lengths: NDArray[np.int8]


class _Hop(NamedTuple):
    nodes: Ints
    edges: Longs
    relations: Ints


class Walker:
    """Draws paths over one graph; what the rules say of nodes is computed once."""

    def __init__(self, graph: Graph, rules: PathRules) -> None:
        self._graph = graph
        self._rules = rules
        self._facts = rules.edges == "facts"
        self._offsets = graph.fact_offsets if self._facts else graph.offsets
        self._targets = graph.fact_targets if self._facts else graph.targets
        self.held_out = held_out_nodes(graph, rules)
        allowed = (graph.in_degree <= rules.hub_in_degree) & ((graph.flags & rules.excluded_flags) == 0)
        # Six digits, so that the last bit of a processor's power function decides nothing.
        weights = np.round(np.arange(1, rules.hub_in_degree + 2, dtype=np.float64) ** -rules.degree_bias, 6)
        degrees = np.clip(graph.in_degree, 1, rules.hub_in_degree)
        self._weights = np.where(allowed, weights[degrees - 1], 0).astype(np.float32)
        self._answers = (graph.flags & NodeFlag.INFOBOX) != 0
        self.anchors = self._anchors(allowed)

    def draw(self, rng: np.random.Generator, count: int) -> Paths:
        """``count`` paths from random anchors, each tried ``retries`` times more when it fails.

        Raises ``OsvlError`` when no page can be an anchor.
        """
        if not len(self.anchors):
            raise OsvlError(
                "no page of the graph can be an anchor; relax anchor_in_degree, min_image_side or anchor_infobox, "
                "or take the preset for small graphs"
            )
        drawn = [self._batch(rng, min(BATCH, count - start)) for start in range(0, count, BATCH)]
        if not drawn:
            return self._batch(rng, 0)
        return Paths(*(np.concatenate(column) for column in zip(*drawn, strict=True)))

    def _anchors(self, allowed: NDArray[np.bool_]) -> Ints:
        graph, rules = self._graph, self._rules
        needed = NodeFlag.PICTURE | (NodeFlag.INFOBOX if rules.anchor_infobox else NodeFlag(0))
        fewest, most = rules.anchor_in_degree
        good = allowed & ((graph.flags & needed) == needed) & (graph.image_side >= rules.min_image_side)
        good &= (graph.in_degree >= fewest) & (graph.in_degree <= most)
        anchors = np.flatnonzero(good).astype(np.int32)
        return anchors[self._degrees(anchors) > 0]

    def _degrees(self, nodes: Ints) -> Longs:
        """How many edges can be followed from each node."""
        degrees: Longs = self._offsets[nodes + 1] - self._offsets[nodes]
        return degrees + self._graph.inverse_unique[nodes] if self._facts and self._rules.inverse else degrees

    def _batch(self, rng: np.random.Generator, count: int) -> Paths:
        shares = np.cumsum(list(self._rules.hop_shares.values()))
        known = np.array(list(self._rules.hop_shares), np.int8)
        lengths = known[np.searchsorted(shares / shares[-1], rng.random(count), side="right").clip(max=len(known) - 1)]
        longest = int(known[-1])
        paths = Paths(np.full((count, longest + 1), -1, np.int32), np.full((count, longest), -1, np.int64), lengths)
        anchors = self.anchors[(rng.random(count) * len(self.anchors)).astype(np.int64)]
        paths.nodes[:, 0] = anchors
        left = np.arange(count)
        for _ in range(self._rules.retries + 1):
            if not len(left):
                break
            tried = self._attempt(rng, anchors[left], lengths[left])
            found = tried.nodes[np.arange(len(left)), lengths[left]] >= 0
            paths.nodes[left[found]], paths.edges[left[found]] = tried.nodes[found], tried.edges[found]
            left = left[~found]
        lengths[left] = 0
        return paths

    def _attempt(self, rng: np.random.Generator, anchors: Ints, lengths: NDArray[np.int8]) -> Paths:
        longest = int(lengths.max(initial=1))
        width = max(self._rules.hop_shares)
        nodes = np.full((len(anchors), width + 1), -1, np.int32)
        edges, relations = np.full((len(anchors), width), -1, np.int64), np.full((len(anchors), width), -1, np.int32)
        nodes[:, 0] = anchors
        alive = np.arange(len(anchors))
        for hop in range(longest):
            alive = alive[lengths[alive] > hop]
            taken = self._hop(rng, nodes[alive, : hop + 1], relations[alive, :hop], lengths[alive] == hop + 1)
            kept = taken.nodes >= 0
            alive = alive[kept]
            nodes[alive, hop + 1], edges[alive, hop] = taken.nodes[kept], taken.edges[kept]
            relations[alive, hop] = taken.relations[kept]
        return Paths(nodes, edges, lengths)

    def _hop(self, rng: np.random.Generator, before: Ints, used: Ints, last: NDArray[np.bool_]) -> _Hop:
        """One hop from the ends of the paths ``before`` (k, hops so far + 1); node −1 where the rules allow none.

        Of some random links one is taken by weight, which is cheaper than to weigh all links of a page and keeps
        the long rows of large pages from costing more.
        """
        at = before[:, -1]
        chances = rng.random((len(at), CHOICES + 1))
        degrees = self._degrees(at)
        places = (chances[:, :CHOICES] * degrees[:, None]).astype(np.int64)
        targets, edges, relations = self._ends(at, np.minimum(places, np.maximum(degrees - 1, 0)[:, None]))
        weights = self._weights[targets]
        weights *= self.held_out[targets] == self.held_out[at][:, None]
        weights *= self._answers[targets] | ~last[:, None]
        weights[degrees == 0] = 0
        for column in before.T:
            weights *= targets != column[:, None]
        if self._facts:
            for column in used.T:
                weights *= relations != column[:, None]
        sums = np.cumsum(weights, axis=1)
        chosen = np.argmax(sums > chances[:, CHOICES:] * sums[:, -1:], axis=1)
        rows = np.arange(len(at))
        found = np.where(sums[:, -1] > 0, targets[rows, chosen], -1)
        return _Hop(found, edges[rows, chosen], relations[rows, chosen])

    def _ends(self, at: Ints, places: Longs) -> tuple[Ints, Longs, Ints]:
        """(node, edge, relation) at the ``places`` (k, choices) among the edges of each node."""
        graph = self._graph
        edges = self._offsets[at][:, None] + places
        # Behind the row of a page without edges there may be nothing.
        forward = np.minimum(edges, len(self._targets) - 1)
        targets = self._targets[forward]
        if not self._facts:
            return targets, edges, np.full_like(targets, -1)
        relations = graph.fact_relations[forward]
        if self._rules.inverse:
            out = self._offsets[at + 1] - self._offsets[at]
            back = places >= out[:, None]
            inverse = ((graph.inverse_offsets[at] - out)[:, None] + places)[back]
            inverse = np.minimum(inverse, len(graph.inverse_sources) - 1)
            targets[back] = graph.inverse_sources[inverse]
            relations[back] = graph.inverse_relations[inverse]
            edges[back] = -2 - inverse
        return targets, edges, relations
