"""Questions of other sets join those of the graph, each on one side of the split.

Rows with the same picture, byte for byte, or the same question stay together, also with the graph's: a group in which
a row of the graph has a side goes there, another goes where a hash of it says.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pydantic import Field

from osvl_plugins.curation.candidate import Candidate, Reject, Split, StageContext, StageResult, stable_id
from osvl_plugins.curation.imported import Imported, SetSettings, fitted, pictures_of, read_row, read_set
from osvl_plugins.data.report import Rejected
from osvl_plugins.reward.rules.text import normalise
from osvl_plugins.settings import Settings

STAGE = "merge"


class MergeSettings(Settings):
    """Which sets join, and how many of their questions are held out."""

    sets: tuple[SetSettings, ...] = ()
    held_out_share: float = Field(default=0.1, ge=0, lt=1)
    """About that share of the groups of imported rows."""


class _Groups(NamedTuple):
    """``roots``: the group of each key. ``repeated``: numbers over all sets of rows that an earlier one equals."""

    roots: Mapping[str, str]
    repeated: frozenset[int]


def keys(row: Candidate) -> tuple[str, ...]:
    """What a row may share with no row of the other side."""
    return _keys(row.question, hashlib.sha256(row.image).hexdigest())


def read(shard: int, shards: int, taken: Mapping[str, Split], context: StageContext[MergeSettings]) -> StageResult:
    """The imported rows of a shard: those whose number over all sets leaves ``shard`` when divided by ``shards``.

    ``taken``: ``keys`` of all rows of the graph, with their sides. Reasons of rejects: those of
    ``osvl_plugins.data.report``, ``repeated`` (an earlier row has the same picture and question), and ``both_sides``
    (its group has rows of the graph on both).

    Raises ``OsvlError`` when a set cannot be read.
    """
    settings = context.settings
    groups = _groups(settings)
    sides = _sides(groups, taken)
    result = StageResult([], [])
    for number, source, found in _rows(settings, shard, shards):
        row_id = stable_id(STAGE, source.name, number)
        if isinstance(found, Rejected):
            result.rejects.append(Reject(row_id, STAGE, found.reason, found.detail))
            continue
        root = groups.roots[_keys(found.question, found.digest)[0]]
        given = sides.get(root, set())
        if number in groups.repeated or len(given) > 1:
            result.rejects.append(Reject(row_id, STAGE, "both_sides" if len(given) > 1 else "repeated", found.question))
            continue
        split = next(iter(given), None) or _drawn(root, settings.held_out_share)
        try:
            result.rows.append(_candidate(row_id, split, source, found, context.seed))
        except Rejected as error:
            result.rejects.append(Reject(row_id, STAGE, error.reason, error.detail))
    return result


def _candidate(row_id: str, split: Split, source: SetSettings, found: Imported, seed: int) -> Candidate:
    return Candidate(
        row_id,
        split,
        source.name,
        answer=found.answers[0],
        accepted=found.answers,
        canonical=found.question,
        question=found.question,
        image=fitted(found.picture),
        image_source=f"{source.name}: {found.where}" if found.where else source.name,
        image_licence=source.licence,
        view="plain",
        seed=seed,
    )


def _rows(settings: MergeSettings, shard: int, shards: int) -> Iterator[tuple[int, SetSettings, Imported | Rejected]]:
    """Rows of a shard with their numbers over all sets."""
    number = -1
    for source in settings.sets:
        pictures = pictures_of(source)
        for record in read_set(source):
            number += 1
            if number % shards != shard:
                continue
            try:
                yield number, source, read_row(record, source, pictures)
            except Rejected as error:
                yield number, source, error


@lru_cache(maxsize=1)
def _groups(settings: MergeSettings) -> _Groups:
    """Which rows hang together, over all sets: every picture is read once in a process."""
    above: dict[str, str] = {}
    seen: set[tuple[str, ...]] = set()
    repeated: set[int] = set()

    def root(key: str) -> str:
        while (parent := above.setdefault(key, key)) != key:
            above[key] = above[parent]
            key = parent
        return key

    for number, _, found in _rows(settings, 0, 1):
        if isinstance(found, Rejected):
            continue
        own = _keys(found.question, found.digest)
        repeated |= {number} if own in seen else set()
        seen.add(own)
        # The smallest key names the group, whatever the order of rows.
        first, *others = sorted({root(key) for key in own})
        above.update(dict.fromkeys(others, first))
    return _Groups({key: root(key) for key in list(above)}, frozenset(repeated))


def _sides(groups: _Groups, taken: Mapping[str, Split]) -> dict[str, set[Split]]:
    """The sides that rows of the graph give to groups."""
    sides: dict[str, set[Split]] = defaultdict(set)
    for key, root in groups.roots.items():
        if key in taken:
            sides[root].add(taken[key])
    return sides


def _drawn(root: str, share: float) -> Split:
    digest = hashlib.sha256(f"{STAGE} {root}".encode()).digest()
    return "held_out" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"


def _keys(question: str, digest: str) -> tuple[str, str]:
    asked = hashlib.sha256(normalise(question).encode()).hexdigest()
    return f"question {asked}", f"picture {digest}"
