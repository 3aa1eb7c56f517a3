"""The second pass over the parts: links and facts, whose titles can now be looked up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.anchors import ranks
from osvl_plugins.curation.graph.files import write_array
from osvl_plugins.curation.graph.names import Hashes, Ints, offsets_of
from osvl_plugins.curation.graph.nodes import Names
from osvl_plugins.curation.graph.part import OWN_TITLE, Part


class LinkWriter:
    """Writes the hyperlinks, part by part."""

    def __init__(self, out: Path, names: Names, anchor_hashes: Hashes) -> None:
        self._out = out
        self._names = names
        self._anchor_hashes = anchor_hashes
        self._counts: list[NDArray[np.int64]] = []
        self._in_degree = np.zeros(names.titles, np.int32)
        self.dropped = {"link_dead": 0, "link_to_itself": 0, "link_repeated": 0}

    def add(self, part: Part, first: int) -> None:
        """Take the links of the next part, whose articles are the nodes from ``first`` on."""
        nodes, names = self._names.find(part.targets)
        sources = np.repeat(np.arange(first, first + len(part.flags), dtype=np.int64), part.link_counts)
        targets = nodes[part.link_targets]
        good = (targets >= 0) & (targets != sources)
        # Redirects make several titles one page: the first of its links stands.
        pairs = (sources << 32) | targets
        at = np.flatnonzero(good)
        at = at[np.sort(np.unique(pairs[at], return_index=True)[1])]
        self.dropped["link_dead"] += int((targets < 0).sum())
        self.dropped["link_to_itself"] += int((targets == sources).sum())
        self.dropped["link_repeated"] += int(good.sum()) - len(at)
        anchors = self._anchors(part, names[part.link_targets[at]], part.link_anchors[at])
        for name, values in (("targets", targets[at]), ("anchors", anchors), ("positions", part.link_positions[at])):
            write_array(self._out, name, values, append=True)
        self._counts.append(np.bincount(sources[at] - first, minlength=len(part.flags)))
        linked, times = np.unique(targets[at], return_counts=True)
        self._in_degree[linked] += times.astype(np.int32)

    def finish(self) -> int:
        """Write the offsets and degrees; returns the number of links."""
        offsets = offsets_of(np.concatenate(self._counts))
        write_array(self._out, "offsets", offsets)
        write_array(self._out, "in_degree", self._in_degree)
        return int(offsets[-1])

    def _anchors(self, part: Part, names: Ints, local: Ints) -> Ints:
        # From −1 down: a name of the target itself, and whether its first letter is small (``Graph.link``).
        anchors: Ints = (-1 - (2 * names + (local == OWN_TITLE - 1))).astype(np.int32)
        texts = ranks(self._anchor_hashes, part.anchor_hashes)
        other = local >= 0
        anchors[other] = texts[local[other]]
        return anchors


class FactWriter:
    """Gathers the labelled edges, part by part, and writes them in both directions."""

    def __init__(self, out: Path, names: Names) -> None:
        self._out = out
        self._names = names
        self._relations: dict[str, int] = {}
        self._sources: list[Ints] = []
        self._targets: list[Ints] = []
        self._numbers: list[Ints] = []
        self.dropped = {"fact_link_dead": 0}

    def add(self, part: Part, first: int) -> None:
        """Take the labelled edges of the next part, whose articles are the nodes from ``first`` on."""
        nodes, _ = self._names.find(part.targets)
        sources = np.repeat(np.arange(first, first + len(part.flags), dtype=np.int32), part.fact_counts)
        targets = nodes[part.fact_targets]
        good = (targets >= 0) & (targets != sources)
        self.dropped["fact_link_dead"] += len(good) - int(good.sum())
        numbers = [self._relations.setdefault(name, len(self._relations)) for name in part.relations.texts()]
        self._sources.append(sources[good])
        self._targets.append(targets[good])
        self._numbers.append(np.array(numbers, np.int32)[part.fact_relations[good]])

    def finish(self) -> tuple[list[str], int]:
        """Write both directions; returns the relations by number, and the number of labelled edges."""
        sources, targets = np.concatenate(self._sources), np.concatenate(self._targets)
        found = np.concatenate(self._numbers)
        used = set(np.unique(found).tolist())
        names = sorted(name for name, number in self._relations.items() if number in used)
        renumbered = np.zeros(len(self._relations) or 1, np.int32)
        for place, name in enumerate(names):
            renumbered[self._relations[name]] = place
        relations = renumbered[found]
        count = self._names.titles
        write_array(self._out, "fact_offsets", offsets_of(np.bincount(sources, minlength=count)))
        write_array(self._out, "fact_targets", targets)
        write_array(self._out, "fact_relations", relations)
        self._write_inverse(sources, targets, relations)
        return names, len(sources)

    def _write_inverse(self, sources: Ints, targets: Ints, relations: Ints) -> None:
        pairs = targets.astype(np.int64) << 32 | relations
        _, group, sizes = np.unique(pairs, return_inverse=True, return_counts=True)
        shared = sizes[group] > 1
        order = np.lexsort((sources, relations, shared, targets))
        count = self._names.titles
        write_array(self._out, "inverse_offsets", offsets_of(np.bincount(targets, minlength=count)))
        write_array(self._out, "inverse_sources", sources[order])
        write_array(self._out, "inverse_relations", relations[order])
        write_array(self._out, "inverse_unique", np.bincount(targets[~shared], minlength=count))
