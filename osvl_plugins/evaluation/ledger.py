"""The folder of a run: ``run.json`` with its settings, and ``cases.jsonl``, to which every case is added as it ends.

A line is on the disk before its case counts as done, so a run that was killed at any moment goes on where it was. A
line is never changed; one whose case had an error may be followed by another of the same case, which then holds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from osvl_plugins.backends.locks import FileLock
from osvl_plugins.curation.folder import UNFINISHED, write_json
from osvl_plugins.errors import OsvlError
from osvl_plugins.evaluation.facts import CASES, RUN
from osvl_plugins.evaluation.manifest import RunManifest
from osvl_plugins.evaluation.record import CaseRecord, Fault, Key
from osvl_plugins.evaluation.run import Done
from osvl_plugins.rollout_dump import MAX_LINE_BYTES
from osvl_plugins.trajectory import Trajectory

LOCK = ".lock"
BLOCK_BYTES = 2**20


class Kept(NamedTuple):
    """What is remembered of a line."""

    correct: float
    fault: Fault | None
    has_trajectory: bool
    offset: int

    @classmethod
    def of(cls, record: CaseRecord, offset: int) -> Kept:
        """Of ``record``, whose line starts at ``offset``."""
        fault = record.error.fault if record.error is not None else None
        return cls(record.correct, fault, record.trajectory is not None, offset)


class Ledger:
    """An open run. No other process has it open; ``close`` lets go of it."""

    def __init__(self, folder: Path, manifest: RunManifest, say: Callable[[str], None]) -> None:
        """Open ``folder`` for the run of ``manifest``, made if it is missing; ``say`` is told of a line that was torn.

        Raises ``SettingError`` when the folder's run was started otherwise, ``OsvlError`` when another process has it
        open, or it holds something else or damaged lines.
        """
        self.file = folder / CASES
        self.kept: dict[Key, Kept] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock.take(folder / LOCK)
        except OSError as error:
            raise OsvlError(f"{folder}: cannot be written ({error.strerror})") from error
        if lock is None:
            raise OsvlError(f"{folder}: another process works on this run; let it end, or name another with --out")
        self._lock, self._turn = lock, threading.Lock()
        try:
            self._begin(folder)
            self._heal(say)
            if self.file.stat().st_size:
                manifest = manifest.resumed(folder)
            else:
                write_json(folder / RUN, asdict(manifest))  # which syncs the folder
            self.manifest = manifest
            self._lines: BinaryIO = self.file.open("ab")
            self._read()
        except BaseException:
            lock.release(remove=True)
            raise

    def keep(self, record: CaseRecord) -> None:
        """Add ``record``; when this returns, it is on the disk.

        Raises ``OsvlError`` when its case is there already without an error, or the disk takes no more.
        """
        line = record.to_line().encode()
        with self._turn:
            before = self.kept.get(record.key)
            if before is not None and before.fault is None:
                raise OsvlError(f"{self.file}: {_named(record.key)} is there already")
            try:
                offset = self._lines.tell()
                self._lines.write(line)
                self._lines.flush()
                os.fsync(self._lines.fileno())
            except OSError as error:
                raise OsvlError(f"{self.file}: cannot be written ({error.strerror})") from error
            self.kept[record.key] = Kept.of(record, offset)

    def done(self, retry_errors: bool) -> Done:
        """What need not be done again; with ``retry_errors``, cases with an error are.

        Of those whose judge failed only the verdict is.
        """
        if not retry_errors:
            return Done(frozenset(self.kept), answered=self._answered)
        again = {
            key: partial(self._trajectory, kept.offset)
            for key, kept in self.kept.items()
            if kept.fault == "judge" and kept.has_trajectory
        }
        good = frozenset(key for key, kept in self.kept.items() if kept.fault is None)
        return Done(good, again, self._answered)

    def close(self) -> None:
        """Let others have the run."""
        with self._turn:
            self._lines.close()
            self._lock.release(remove=True)

    @property
    def _answered(self) -> bool:
        return any(kept.has_trajectory and kept.fault != "policy" for kept in self.kept.values())

    def _begin(self, folder: Path) -> None:
        """Make the folder a run's, if nothing else is in it; remove what a killed process left unfinished."""
        for file in folder.glob(f"{UNFINISHED}*"):
            file.unlink()
        if not self.file.exists():
            if others := sorted(file.name for file in folder.iterdir() if file.name not in (LOCK, RUN)):
                raise OsvlError(
                    f"{folder}: there is something that is no run ({others[0]}); name another folder with --out"
                )
            self.file.touch()

    def _heal(self, say: Callable[[str], None]) -> None:
        """Cut what a killed process left of a line."""
        with self.file.open("rb+") as lines:
            size = start = lines.seek(0, os.SEEK_END)
            end = 0
            while start > 0 and not end:
                start = max(0, start - BLOCK_BYTES)
                lines.seek(start)
                end = start + lines.read(BLOCK_BYTES).rfind(b"\n") + 1 if start < size else 0
                end = end if end > start else 0
            if end < size:
                lines.truncate(end)
                os.fsync(lines.fileno())
                say(f"{self.file}: the last line was not whole and is cut; its case runs again")

    def _read(self) -> None:
        with self.file.open("rb") as lines:
            offset, number = 0, 0
            while line := lines.readline(MAX_LINE_BYTES + 1):
                number += 1
                try:
                    record = CaseRecord.from_line(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise OsvlError(
                        f"{self.file}, line {number}: no case ({error}); delete the line, and the case runs again"
                    ) from error
                before = self.kept.get(record.key)
                if before is not None and before.fault is None:
                    raise OsvlError(f"{self.file}, line {number}: {_named(record.key)} is there twice; delete one line")
                self.kept[record.key] = Kept.of(record, offset)
                offset += len(line)

    def _trajectory(self, offset: int) -> Trajectory:
        with self.file.open("rb") as lines:
            lines.seek(offset)
            trajectory = CaseRecord.from_line(lines.readline(MAX_LINE_BYTES + 1)).trajectory
        assert trajectory is not None
        return trajectory


def _named(key: Key) -> str:
    return f"sample {key.sample} of {key.id} of {key.benchmark}"
