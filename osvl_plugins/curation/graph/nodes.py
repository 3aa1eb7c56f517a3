"""The first pass over the parts: articles become nodes, names are sorted so that titles can be looked up."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.files import (
    append_string_data,
    read_strings,
    write_array,
    write_string_lengths,
    write_strings,
)
from osvl_plugins.curation.graph.names import Blob, Hashes, HashIndex, Ints, Longs, offsets_of
from osvl_plugins.curation.graph.part import Part
from osvl_plugins.curation.graph.redirects import resolve
from osvl_plugins.curation.graph.tables import ImageSizes
from osvl_plugins.errors import CorpusError

MAX_NODES = 2**30
MAX_SIDE = 65_535


class Names(NamedTuple):
    """What titles and redirects mean. ``numbers`` gives a node below ``titles``, an alias from there on."""

    numbers: HashIndex
    titles: int
    alias_nodes: Ints

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """(node or −1, 0 for its title or 1 + the alias) of each hash of a title."""
        numbers = self.numbers.find(hashes)
        aliases = numbers - self.titles
        by_alias = aliases >= 0
        nodes = numbers.copy()
        nodes[by_alias] = self.alias_nodes[aliases[by_alias]]
        return nodes, np.where(by_alias, aliases + 1, 0).astype(np.int32)


class NodeWriter:
    """Writes everything of the nodes but their edges, part by part."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lengths: dict[str, list[Longs]] = {"ids": [], "titles": [], "pages": []}
        self._title_hashes: list[Hashes] = []
        self._id_hashes: list[Hashes] = []
        self._image_hashes: list[Hashes] = []
        self._image_sizes: list[Ints] = []
        self._redirects: list[Blob] = []
        self._redirect_hashes: list[Hashes] = []
        self._redirect_targets: list[Hashes] = []
        self._redirect_partial: list[NDArray[np.bool_]] = []

    def add(self, part: Part) -> None:
        """Take the next articles and redirects."""
        for name, lengths in self._lengths.items():
            lengths.append(append_string_data(self._out, name, getattr(part, name)))
        write_array(self._out, "flags", part.flags, append=True)
        self._title_hashes.append(part.title_hashes)
        self._id_hashes.append(part.id_hashes)
        self._image_hashes.append(part.image_hashes)
        self._image_sizes.append(part.image_sizes)
        self._redirects.append(part.redirects)
        self._redirect_hashes.append(part.redirect_hashes)
        self._redirect_targets.append(part.redirect_targets)
        self._redirect_partial.append(part.redirect_partial)

    def finish(self, sizes: ImageSizes | None) -> tuple[Names, dict[str, int]]:
        """Write what needs all of them; returns the names, and how many of them were dropped by reason.

        Of articles with one title the first is found by it. Raises ``CorpusError`` when an id occurs twice, or there
        are no articles.
        """
        for name, lengths in self._lengths.items():
            write_string_lengths(self._out, name, lengths)
        self._write_images(sizes)
        titles = np.concatenate(self._title_hashes) if self._title_hashes else np.empty(0, np.uint64)
        if not 0 < len(titles) < MAX_NODES:
            raise CorpusError(f"{len(titles)} articles were read; a graph has 1 to {MAX_NODES}")
        ids = HashIndex.of(np.concatenate(self._id_hashes))
        twins = np.flatnonzero(ids.hashes[1:] == ids.hashes[:-1])
        if len(twins):
            twin = read_strings(self._out, "ids").text(int(ids.numbers[twins[0]]))
            raise CorpusError(f"{len(twins)} articles share an id with another, {twin!r} for one; give each file once")
        write_array(self._out, "id_hashes", ids.hashes)
        write_array(self._out, "id_numbers", ids.numbers)
        return self._write_names(titles)

    def _write_names(self, titles: Hashes) -> tuple[Names, dict[str, int]]:
        redirects = np.concatenate(self._redirect_hashes)
        index = HashIndex.of(np.concatenate([titles, redirects]))
        aliases = resolve(index, len(titles), np.concatenate(self._redirect_targets))
        index = HashIndex.of(np.concatenate([titles, redirects[aliases.order]]))
        data = np.concatenate([blob.data for blob in self._redirects])
        lengths = np.concatenate([np.diff(blob.offsets) for blob in self._redirects])
        write_strings(self._out, "aliases", Blob(data, offsets_of(lengths)).take(aliases.order))
        write_array(self._out, "alias_partial", np.concatenate(self._redirect_partial)[aliases.order])
        write_array(self._out, "alias_offsets", aliases.offsets)
        write_array(self._out, "name_hashes", index.hashes)
        write_array(self._out, "name_numbers", index.numbers)
        shadowed = len(titles) - len(np.unique(titles))
        return Names(index, len(titles), aliases.nodes), {"title_twice": shadowed, **aliases.dropped}

    def _write_images(self, sizes: ImageSizes | None) -> None:
        known = np.concatenate([np.empty((0, 2), np.int32), *self._image_sizes])
        if sizes is not None:
            known = sizes.fill(np.concatenate(self._image_hashes), known)
        write_array(self._out, "image_sizes", known)
        write_array(self._out, "image_side", np.minimum(known.min(axis=1), MAX_SIDE))
