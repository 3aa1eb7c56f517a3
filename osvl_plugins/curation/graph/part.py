"""A part of a graph under construction: some articles as arrays, their links by title and not yet resolved.

Worker processes write parts, ``osvl_plugins.curation.graph.assemble`` joins them. Inside a part a title or an anchor
text is stored once and named by a local number.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.article import Article, Redirect
from osvl_plugins.curation.graph.names import Blob, Hashes, Ints, capitalised, string_hash, string_hashes
from osvl_plugins.curation.graph.pages import page_record
from osvl_plugins.curation.graph.wikitext import Rejected

OWN_TITLE = -1
"""Local number of an anchor text that is the title that the link names; ``OWN_TITLE - 1`` with a small first letter."""


@dataclass(frozen=True)
class Part:
    """``n`` articles, in the order of their nodes. Arrays of links and facts are in the order of their articles."""

    ids: Blob
    titles: Blob
    title_hashes: Hashes
    id_hashes: Hashes
    pages: Blob
    """Records of ``osvl_plugins.curation.graph.pages``."""
    flags: NDArray[np.uint16]
    image_hashes: Hashes
    """(n,) of the lead picture's file name; 0 for none."""
    image_sizes: Ints
    """(n, 2) width and height of the lead picture in pixels, 0 where they are not known."""
    redirects: Blob
    redirect_hashes: Hashes
    redirect_targets: Hashes
    """Of the titles that redirects lead to."""
    redirect_partial: NDArray[np.bool_]
    targets: Hashes
    """Of every title that a link or a fact names; its place is its local number."""
    link_counts: Ints
    link_targets: Ints
    link_anchors: Ints
    link_positions: Ints
    anchors: Blob
    anchor_hashes: Hashes
    fact_counts: Ints
    fact_targets: Ints
    fact_relations: Ints
    relations: Blob
    rejects: Blob
    """The reason of each article that was not taken."""

    def save(self, file: Path) -> None:
        """Write it; ``load`` reads it again."""
        arrays: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Blob):
                arrays |= {f"{name}.data": value.data, f"{name}.offsets": value.offsets}
            else:
                arrays[name] = value
        with file.open("wb") as out:
            np.savez(out, **arrays)

    @classmethod
    def load(cls, file: Path) -> Part:
        """What ``save`` wrote."""
        values: dict[str, Any] = {}
        with np.load(file, allow_pickle=False) as arrays:
            for field in fields(cls):
                if field.name in arrays:
                    values[field.name] = arrays[field.name]
                else:
                    values[field.name] = Blob(arrays[f"{field.name}.data"], arrays[f"{field.name}.offsets"])
        return cls(**values)


class PartMaker:
    """Gathers what the articles of a part hold, in their order."""

    def __init__(self) -> None:
        self._articles: list[tuple[str, str, int, int, tuple[int, int]]] = []
        self._pages: list[bytes] = []
        self._redirects: list[Redirect] = []
        self._rejects: list[str] = []
        self._targets, self._anchors, self._relations = _Numbers(), _Numbers(), _Numbers()
        self._links: list[tuple[int, int, int]] = []
        self._link_counts: list[int] = []
        self._facts: list[tuple[int, int]] = []
        self._fact_counts: list[int] = []

    def add(self, item: Article | Redirect | Rejected) -> None:
        """Take one more."""
        if isinstance(item, Rejected):
            self._rejects.append(item.reason)
        elif isinstance(item, Redirect):
            self._redirects.append(item)
        else:
            self._add_article(item)

    def _add_article(self, article: Article) -> None:
        picture = article.pictures[0] if article.pictures else None
        image = string_hash(picture.file) if picture else 0
        size = (picture.width, picture.height) if picture else (0, 0)
        self._articles.append((article.id, article.title, int(article.flags), image, size))
        self._pages.append(page_record(article))
        self._links += [
            (self._targets[link.title], self._anchor(link.anchor, link.title), link.position) for link in article.links
        ]
        self._link_counts.append(len(article.links))
        linked = [(self._targets[x.title], self._relations[x.relation]) for x in article.facts if x.title is not None]
        self._facts += linked
        self._fact_counts.append(len(linked))

    def _anchor(self, anchor: str, title: str) -> int:
        if anchor == title:
            return OWN_TITLE
        if anchor[1:] == title[1:] and capitalised(anchor) == title:
            return OWN_TITLE - 1
        return self._anchors[anchor]

    def make(self) -> Part:
        """The part of everything that was added."""
        links = np.array(self._links, np.int32).reshape(-1, 3)
        facts = np.array(self._facts, np.int32).reshape(-1, 2)
        ids, titles, flags, images, sizes = zip(*self._articles, strict=True) if self._articles else ((),) * 5
        return Part(
            ids=Blob.of_texts(ids),
            titles=Blob.of_texts(titles),
            title_hashes=string_hashes(titles),
            id_hashes=string_hashes(ids),
            pages=Blob.of(self._pages),
            flags=np.array(flags, np.uint16),
            image_hashes=np.array(images, np.uint64),
            image_sizes=np.array(sizes, np.int32).reshape(-1, 2),
            redirects=Blob.of_texts(redirect.title for redirect in self._redirects),
            redirect_hashes=string_hashes(redirect.title for redirect in self._redirects),
            redirect_targets=string_hashes(redirect.target for redirect in self._redirects),
            redirect_partial=np.array([redirect.partial for redirect in self._redirects], np.bool_),
            targets=string_hashes(self._targets),
            link_counts=np.array(self._link_counts, np.int32),
            link_targets=links[:, 0].copy(),
            link_anchors=links[:, 1].copy(),
            link_positions=links[:, 2].copy(),
            anchors=Blob.of_texts(self._anchors),
            anchor_hashes=string_hashes(self._anchors),
            fact_counts=np.array(self._fact_counts, np.int32),
            fact_targets=facts[:, 0].copy(),
            fact_relations=facts[:, 1].copy(),
            relations=Blob.of_texts(self._relations),
            rejects=Blob.of_texts(self._rejects),
        )


class _Numbers(dict[str, int]):
    """Local numbers of strings, in the order in which they came."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number
