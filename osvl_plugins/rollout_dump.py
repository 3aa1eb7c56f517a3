"""Trajectories from JSON lines.

The ``osvl_*`` trainers add them to what verl writes to ``trainer.rollout_data_dir``; ``osvl eval`` and ``osvl run``
write them too. All have the trajectory under ``trajectory``. verl numbers the training ``step`` and names the row by
``uid``; a case of an evaluation names its ``benchmark``, the question's ``id`` and the number of the ``sample``
(``osvl_plugins.evaluation.record``), a file of ``osvl run`` its ``world`` and an ``index``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osvl_plugins.errors import OsvlError
from osvl_plugins.trajectory import Trajectory

MAX_LINE_BYTES = 256 * 2**20
"""A longer line is no trajectory; reading it could take all memory."""


@dataclass(frozen=True)
class Rollout:
    """One trajectory of a dump.

    ``group`` is its training step, its benchmark, or its file and world; ``name`` is what it is called there.
    """

    trajectory: Trajectory
    group: int | str
    name: str
    score: float | None


@dataclass(frozen=True)
class Damage:
    """A line, counted from 1, from which no trajectory could be read, and why."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


def json_line(row: Mapping[str, Any]) -> str:
    """``row`` as a line of JSON, with its newline, that any file takes."""
    # Half of a surrogate pair, which JSON can spell, is no UTF-8; so escaped it is JSON still.
    return json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace").decode() + "\n"


def read_dump(paths: Iterable[Path]) -> Iterator[Rollout | Damage]:
    """The trajectories of ``paths`` in order, one line at a time, with a ``Damage`` in place of a line without one.

    verl's padding rows are left out. Raises ``OsvlError`` for a file that cannot be opened or is no such dump.
    """
    for path in paths:
        for number, line in read_lines(path):
            read = _read(line, path, number)
            if read is not None:
                yield read


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a dump that are not blank, each with its number, counted from 1.

    Raises ``OsvlError`` for a file that cannot be read or a line of over ``MAX_LINE_BYTES``.
    """
    try:
        with path.open("rb") as lines:
            number = 0
            while line := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise OsvlError(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes")
                if not line.isspace():
                    yield number, line
    except OSError as error:
        raise OsvlError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read(line: bytes, path: Path, number: int) -> Rollout | Damage | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Damage(path, number, f"not JSON ({error})")
    if not isinstance(row, dict):
        return Damage(path, number, f"not an object but {type(row).__name__}")
    if "trajectory" not in row:
        if "output" in row and "gts" in row:
            raise OsvlError(
                f"{path}, line {number}: verl dumped it without a trajectory; set trainer.v1.trainer_mode to one of "
                "osvl_sync, osvl_colocate_async, osvl_separate_async"
            )
        return Damage(path, number, "has no trajectory")
    if row["trajectory"] is None:
        return None
    try:
        trajectory = Trajectory.from_dict(row["trajectory"])
    except (KeyError, TypeError) as error:
        return Damage(path, number, f"not a trajectory ({error!r})")
    step = trajectory.fatal_step
    if step is not None and not (isinstance(step, int) and 0 <= step <= len(trajectory.turns)):
        return Damage(path, number, f"the fatal step {step!r} lies outside its {len(trajectory.turns)} turns")
    name = case_name(row) if "benchmark" in row else str(row.get("uid", row.get("index", number)))
    return Rollout(trajectory, _group(row, path), name, _score(row))


def case_name(row: Mapping[str, Any]) -> str:
    """What a case is called in its benchmark: the question's id, and the number of the sample, but for the first."""
    return f"{row.get('id')} sample {row['sample']}" if row.get("sample") else str(row.get("id"))


def _group(row: dict[str, Any], path: Path) -> int | str:
    if isinstance(row.get("step"), int):
        return int(row["step"])
    if row.get("benchmark"):
        return str(row["benchmark"])
    return f"{path.stem}/{row['world']}" if "world" in row else path.stem


def _score(row: dict[str, Any]) -> float | None:
    reward = row.get("reward")
    score = reward.get("score") if isinstance(reward, dict) else row.get("score")
    return float(score) if isinstance(score, (int, float)) else None
