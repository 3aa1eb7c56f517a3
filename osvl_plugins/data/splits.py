"""Which rows are held out: by what they show, never by where they stand."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from osvl_plugins.errors import OsvlError


def held_out(keys: Sequence[Sequence[str]], count: int) -> set[int]:
    """The positions of ``count`` rows such that no row outside has a key of one inside.

    Rows with a key in common stay together, so there are fewer when groups do not add up to ``count``. Groups are
    taken in the order of a hash of their keys: other rows beside them change nothing. Raises ``OsvlError`` when
    nothing would be left to train on.
    """
    if keys and count >= len(keys):
        raise OsvlError(f"--val {count} leaves nothing of {len(keys)} rows to train on; hold out fewer")
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = parent[above]
            key = above
        return key

    for row in keys:
        for key in row:
            # The smallest key names the group, whatever the order of the rows.
            first, second = sorted((root(row[0]), root(key)))
            parent[second] = first
    groups: dict[str, list[int]] = defaultdict(list)
    for position, row in enumerate(keys):
        groups[root(row[0])].append(position)
    chosen: set[int] = set()
    for key in sorted(groups, key=lambda key: hashlib.sha256(f"held out {key}".encode()).digest()):
        if len(chosen) + len(groups[key]) <= count:
            chosen.update(groups[key])
    return chosen
