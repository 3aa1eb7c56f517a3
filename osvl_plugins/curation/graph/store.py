"""The graph of a wiki: articles, hyperlinks, labelled edges. Read only, memory-mapped, opened once in each process.

A node is a number from 0 to ``len(graph) − 1``. Hyperlinks and labelled edges are compressed sparse rows: those of
node ``v`` stand at ``offsets[v]`` to ``offsets[v + 1]``. Arrays are mapped and texts read from disk when asked for,
so that processes on one machine share what they touch and a walk holds only the arrays it needs.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from osvl_plugins.corpus.page import Page
from osvl_plugins.curation.graph.files import (
    ARRAYS,
    IMAGES,
    RELATIONS,
    Manifest,
    read_array,
    read_index,
    read_strings,
)
from osvl_plugins.curation.graph.names import Ints, Longs, normal_title
from osvl_plugins.curation.graph.pages import read_record
from osvl_plugins.curation.graph.pictures import read_picture
from osvl_plugins.errors import CorpusError


class Link(NamedTuple):
    """A hyperlink: the node it leads to, its text, and where it stands in the article.

    ``position``: characters from the start of the article's source, −1 when the wiki's link tables alone have the link
    (a template made it) and the text is the target's title. Positions compare inside one article only.
    """

    target: int
    anchor: str
    position: int


class Graph:
    """A graph on disk. Using it from several threads is safe; pickling it pickles its path.

    ``offsets`` (n + 1,) and ``targets`` (edges,): hyperlinks in the order of the text, one for each pair of articles.
    ``in_degree`` (n,): articles that link to a node. ``fact_offsets`` (n + 1,), ``fact_targets`` and
    ``fact_relations`` (facts,): labelled edges, an infobox line whose value is one page; at most one of a relation in
    a row. ``inverse_offsets`` (n + 1,), ``inverse_sources``, ``inverse_relations`` (facts,): the same edges by the
    node that they lead to, of which the first ``inverse_unique`` (n,) of a row are those that no other page shares,
    so that relation and node name the source. ``flags`` (n,): bits of ``NodeFlag``. ``image_side`` (n,): shorter side
    of the lead picture in pixels, 0 for none or not known.
    """

    offsets: Longs
    targets: Ints
    in_degree: Ints
    fact_offsets: Longs
    fact_targets: Ints
    fact_relations: Ints
    inverse_offsets: Longs
    inverse_sources: Ints
    inverse_relations: Ints
    inverse_unique: Ints
    flags: NDArray[np.uint16]
    image_side: NDArray[np.uint16]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        for name in ARRAYS:
            if name in Graph.__annotations__:
                setattr(self, name, read_array(folder, name))
        self._anchors, self._positions = read_array(folder, "anchors"), read_array(folder, "positions")
        self._sizes = read_array(folder, "image_sizes").reshape(-1, 2)
        self._alias_offsets, self._partial = read_array(folder, "alias_offsets"), read_array(folder, "alias_partial")
        self._names, self._id_index = read_index(folder, "name"), read_index(folder, "id")
        self._ids, self._titles = read_strings(folder, "ids"), read_strings(folder, "titles")
        self._aliases, self._texts = read_strings(folder, "aliases"), read_strings(folder, "anchor_texts")
        self._pages = read_strings(folder, "pages")
        if len(self._titles) != self.manifest.nodes or len(self.targets) != self.manifest.edges:
            raise CorpusError(f"{folder}: files of different graphs; build the graph again")

    @classmethod
    def open(cls, path: Path | str) -> Graph:
        """Open a graph.

        Raises ``CorpusError`` when the folder holds no complete graph of this version.
        """
        return cls(Path(path))

    def __reduce__(self) -> tuple[type[Graph], tuple[Path]]:
        return type(self), (self.folder,)

    def __len__(self) -> int:
        return self.manifest.nodes

    @property
    def edges(self) -> int:
        """Number of hyperlinks."""
        return self.manifest.edges

    @property
    def fingerprint(self) -> str:
        """Hash of the content, without the pictures."""
        return self.manifest.fingerprint

    @cached_property
    def relations(self) -> tuple[str, ...]:
        """Names of the relations, by their number."""
        return tuple(json.loads((self.folder / RELATIONS).read_text(encoding="utf-8")))

    @cached_property
    def title_hashes(self) -> NDArray[np.uint64]:
        """(n,) ``string_hash`` of each node's title."""
        own = np.flatnonzero(self._names.numbers < len(self))
        hashes = np.empty(len(self), np.uint64)
        hashes[self._names.numbers[own]] = self._names.hashes[own]
        return hashes

    def title(self, node: int) -> str:
        """Title of a node."""
        return self._titles.text(node)

    def find(self, title: str) -> int | None:
        """The node that a title means, by itself or by a redirect, or None."""
        # A name may be one that MediaWiki would write otherwise, when the articles are not from a wiki.
        found = self._named(title)
        return self._named(normal_title(title)) if found is None else found

    def id(self, node: int) -> str:
        """Page id of a node."""
        return self._ids.text(node)

    def node(self, page_id: str) -> int | None:
        """The node with that page id, or None."""
        node = self._id_index.find_one(page_id)
        return node if node is not None and self._ids.text(node) == page_id else None

    def links(self, node: int) -> tuple[Link, ...]:
        """The hyperlinks of a node, in the order of the text."""
        return tuple(map(self.link, range(int(self.offsets[node]), int(self.offsets[node + 1]))))

    def link(self, edge: int) -> Link:
        """The hyperlink that stands at ``targets[edge]``."""
        target, anchor = int(self.targets[edge]), int(self._anchors[edge])
        if anchor >= 0:
            text = self._texts.text(anchor)
        else:
            name, small = divmod(-1 - anchor, 2)
            text = self._aliases.text(name - 1) if name else self._titles.text(target)
            text = text[:1].lower() + text[1:] if small else text
        return Link(target, text, int(self._positions[edge]))

    def page(self, node: int) -> Page:
        """The page of a node.

        Facts have the page ids that they lead to, aliases are the redirects to the whole article, the source is the
        wiki's name. Of the body only what the builder kept is there.
        """
        start, stop = int(self.fact_offsets[node]), int(self.fact_offsets[node + 1])
        targets = {
            self.relations[relation]: self._ids.text(target)
            for relation, target in zip(
                self.fact_relations[start:stop].tolist(), self.fact_targets[start:stop].tolist(), strict=True
            )
        }
        first, last = int(self._alias_offsets[node]), int(self._alias_offsets[node + 1])
        aliases = [self._aliases.text(alias) for alias in range(first, last) if not self._partial[alias]]
        width, height = self._sizes[node].tolist()
        record = self._pages.read(node)
        return read_record(record, self._ids.text(node), self._titles.text(node), aliases, targets, (width, height))

    def sources_of(self, relation: str, node: int) -> Ints:
        """All nodes with a labelled edge ``relation`` to ``node``, in rising order; none for an unknown relation."""
        row = slice(int(self.inverse_offsets[node]), int(self.inverse_offsets[node + 1]))
        number = self._relation_numbers.get(relation, -1)
        return np.sort(self.inverse_sources[row][self.inverse_relations[row] == number])

    def picture(self, node: int, index: int = 0) -> Image.Image:
        """A picture of a node, RGB, from the graph's ``images``: a folder, or a link to one or to a ZIM archive.

        Raises ``CorpusError`` when the node has no such picture, or its file is missing, damaged or too large.
        """
        pictures = self.page(node).pictures
        if not 0 <= index < len(pictures):
            raise CorpusError(f"{self.title(node)!r} has no picture {index}")
        return read_picture(self.folder / IMAGES, pictures[index].file)

    @cached_property
    def _relation_numbers(self) -> dict[str, int]:
        return {relation: number for number, relation in enumerate(self.relations)}

    def _named(self, name: str) -> int | None:
        number = self._names.find_one(name)
        if number is None:
            return None
        if number < len(self):
            return number if self._titles.text(number) == name else None
        alias = number - len(self)
        if self._aliases.text(alias) != name:
            return None
        return int(np.searchsorted(self._alias_offsets, alias, side="right")) - 1
