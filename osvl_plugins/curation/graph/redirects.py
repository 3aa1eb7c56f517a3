"""Redirects: where each leads in the end, through chains and in spite of cycles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.curation.graph.names import Hashes, HashIndex, Ints, Longs, offsets_of


class Aliases(NamedTuple):
    """The redirects that lead to an article, by node; those of node ``v`` stand at ``offsets[v]`` to ``[v + 1]``.

    ``order``: the redirect behind each alias, in the order in which ``resolve`` was given them.
    """

    order: NDArray[np.int64]
    offsets: Longs
    nodes: Ints
    dropped: dict[str, int]


def follow(steps: Ints, titles: int) -> Ints:
    """Where each redirect ends: a title's number, −1 for a title that is not there, or ≥ ``titles`` in a cycle.

    Names 0 … ``titles`` − 1 are titles; ``steps[i]`` is the name to which redirect ``titles + i`` leads, or −1.
    """
    ends: Ints = steps.copy()
    # Each round doubles the length of the chains that are resolved.
    for _ in range(max(1, len(steps)).bit_length()):
        on = np.flatnonzero(ends >= titles)
        if not len(on):
            break
        ends[on] = ends[ends[on] - titles]
    return ends


def resolve(index: HashIndex, titles: int, targets: Hashes) -> Aliases:
    """The redirects sorted by the node that they lead to, those that lead to none dropped.

    ``index`` knows the titles as 0 … ``titles`` − 1 and the redirects as what follows; ``targets`` are hashes of the
    titles that the redirects name.
    """
    ends = follow(index.find(targets), titles)
    kept = np.flatnonzero((ends >= 0) & (ends < titles))
    order = kept[np.argsort(ends[kept], kind="stable")]
    nodes = ends[order]
    dropped = {"redirect_cyclic": int((ends >= titles).sum()), "redirect_dead": int((ends < 0).sum())}
    return Aliases(order, offsets_of(np.bincount(nodes, minlength=titles)), nodes, dropped)
