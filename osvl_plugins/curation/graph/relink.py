"""Hyperlinks as a wiki's own link tables have them, which also know the links that templates make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.files import read_array, read_blob, write_array
from osvl_plugins.curation.graph.names import Ints, Longs, offsets_of
from osvl_plugins.curation.graph.nodes import Names
from osvl_plugins.curation.graph.tables import link_targets, page_links
from osvl_plugins.errors import CorpusError

BUCKETS = 64
"""Links are thrown into files by source; one at a time is sorted in memory."""


class LinkTables(NamedTuple):
    """The tables ``pagelinks`` and ``linktarget`` of the wiki whose dump is read."""

    pagelinks: Path
    linktarget: Path

    def replace(self, out: Path, names: Names, scratch: Path) -> int:
        """Put the tables' links in the place of those that were written to ``out``; returns how many there are.

        A link that the text has too keeps its anchor text and its position, and comes first.

        Raises ``CorpusError`` when a file is no such table or page ids are no numbers.
        """
        count = names.titles
        width = -(-count // BUCKETS)
        folder = scratch / "pagelinks"
        folder.mkdir()
        for sources, targets in self._pairs(out, names):
            buckets = sources // width
            order = np.argsort(buckets, kind="stable")
            bounds = np.searchsorted(buckets[order], np.arange(BUCKETS + 1))
            for filled in np.flatnonzero(np.diff(bounds)).tolist():
                chosen = order[bounds[filled] : bounds[filled + 1]]
                with (folder / str(filled)).open("ab") as thrown:
                    (sources[chosen].astype(np.int64) << 32 | targets[chosen]).tofile(thrown)
        merged = _Merged(out)
        for bucket in range(BUCKETS):
            file = folder / str(bucket)
            pairs = np.unique(np.fromfile(file, np.int64)) if file.exists() else np.empty(0, np.int64)
            merged.add(pairs, min(bucket * width, count), min((bucket + 1) * width, count))
        return merged.finish()

    def _pairs(self, out: Path, names: Names) -> Iterator[tuple[Ints, Ints]]:
        nodes = _Numbered(_page_numbers(out), np.arange(names.titles, dtype=np.int32))
        known: list[tuple[Longs, Ints]] = []
        for ids, hashes in link_targets(self.linktarget):
            found, _ = names.find(hashes)
            known.append((ids[found >= 0], found[found >= 0]))
        if not known:
            raise CorpusError(f"{self.linktarget}: the table is empty")
        targets = _Numbered(*(np.concatenate(column) for column in zip(*known, strict=True)))
        for rows in page_links(self.pagelinks):
            source, target = nodes.find(rows[:, 0]), targets.find(rows[:, 1])
            good = (source >= 0) & (target >= 0) & (source != target)
            yield source[good], target[good]


class _Numbered:
    """Nodes by a number of the wiki's."""

    def __init__(self, numbers: Longs, nodes: Ints) -> None:
        order = np.argsort(numbers)
        self._numbers, self._nodes = numbers[order], nodes[order]

    def find(self, numbers: Longs) -> Ints:
        """The node of each, −1 where there is none."""
        if not len(self._numbers):
            return np.full(len(numbers), -1, np.int32)
        places = np.searchsorted(self._numbers, numbers)
        places[places == len(self._numbers)] = 0
        return np.where(self._numbers[places] == numbers, self._nodes[places], np.int32(-1))


class _Merged:
    """The new rows, written beside the old ones until all are there."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._old = {name: read_array(out, name) for name in ("offsets", "targets", "anchors", "positions")}
        self._counts: list[NDArray[np.int64]] = []
        self._in_degree = np.zeros(len(self._old["offsets"]) - 1, np.int32)
        self._new = out / "new"
        self._new.mkdir()

    def add(self, pairs: Longs, first: int, last: int) -> None:
        """Take the sorted ``pairs`` (source << 32 | target) of the nodes ``first`` to ``last`` − 1."""
        offsets = self._old["offsets"][first : last + 1]
        start, stop = (int(offsets[0]), int(offsets[-1])) if last > first else (0, 0)
        sources = np.repeat(np.arange(first, last, dtype=np.int64), np.diff(offsets))
        written = sources << 32 | self._old["targets"][start:stop]
        order = np.argsort(written)
        places = np.searchsorted(written[order], pairs)
        places[places == len(written)] = 0
        in_text = written[order][places] == pairs if len(written) else np.zeros(len(pairs), np.bool_)
        edges = start + order[places[in_text]]
        anchors, positions = np.full(len(pairs), -1, np.int32), np.full(len(pairs), -1, np.int32)
        anchors[in_text], positions[in_text] = self._old["anchors"][edges], self._old["positions"][edges]
        arranged = np.lexsort((pairs, positions, positions < 0, pairs >> 32))
        targets = (pairs & (2**32 - 1)).astype(np.int32)
        for name, values in (("targets", targets), ("anchors", anchors), ("positions", positions)):
            write_array(self._new, name, values[arranged], append=True)
        self._counts.append(np.bincount((pairs >> 32) - first, minlength=last - first))
        linked, times = np.unique(targets, return_counts=True)
        self._in_degree[linked] += times.astype(np.int32)

    def finish(self) -> int:
        """Put the new rows in place; returns the number of links."""
        offsets = offsets_of(np.concatenate(self._counts))
        write_array(self._new, "offsets", offsets)
        write_array(self._new, "in_degree", self._in_degree)
        self._old.clear()
        for file in self._new.iterdir():
            file.replace(self._out / file.name)
        self._new.rmdir()
        return int(offsets[-1])


def _page_numbers(out: Path) -> Longs:
    try:
        return np.array([int(text) for text in read_blob(out, "ids").texts()], np.int64)
    except ValueError as error:
        raise CorpusError(f"link tables go with a dump, whose page ids are numbers: {error}") from error
