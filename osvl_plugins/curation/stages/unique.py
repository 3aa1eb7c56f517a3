"""The stage after questions: of those that ask for the same fact of the same path, the first of all shards stays."""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path

import pyarrow.parquet as pq

from osvl_plugins.curation.candidate import Candidate, Reject, StageResult, stable_id

STAGE = "unique"


def find_repeats(parts: Iterable[Path]) -> list[frozenset[int]]:
    """For each part the places of the rows whose path and attribute an earlier row has, in it or in a part before."""
    seen: set[str] = set()
    found = []
    for part in parts:
        repeats = set()
        for place, row in enumerate(pq.read_table(part, columns=["path", "attribute"]).to_pylist()):
            asked = stable_id(row["path"], row["attribute"])
            repeats |= {place} if asked in seen else set()
            seen.add(asked)
        found.append(frozenset(repeats))
    return found


def run(rows: list[Candidate], repeats: Set[int]) -> StageResult:
    """The rows without those at the places ``repeats``. Reason of rejects: ``repeated``."""
    return StageResult(
        [row for place, row in enumerate(rows) if place not in repeats],
        [Reject(row.id, STAGE, "repeated") for place, row in enumerate(rows) if place in repeats],
    )
