"""The folder that an import fills, part by part, so that it can be stopped at any moment and goes on where it was.

A part is so many rows of one file, whatever the number of processes. Its files lie in ``.parts`` and count once the
part's outcome, which is written last, lies beside them. When all parts are there they become the files of the folder,
``report.json`` last. Everything is put in place by renaming: a file with its own name is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO

import PIL
import pyarrow as pa

from osvl_plugins import __version__
from osvl_plugins.backends.locks import FileLock
from osvl_plugins.data import pool
from osvl_plugins.data.pictures import archives_in
from osvl_plugins.data.records import Record, read_records
from osvl_plugins.data.report import Reject, Rejected, Report
from osvl_plugins.data.sources import Source, identity
from osvl_plugins.errors import OsvlError
from osvl_plugins.images import ImageSettings

ROWS_PER_PART = 256
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What became of a part's rows."""

    report: Report = field(default_factory=Report)
    rejects: list[Reject] = field(default_factory=list)
    keys: list[list[str]] = field(default_factory=list)
    """For each row that was kept, what it may share with no row of another split."""

    def reject(self, subset: str, row_id: str, error: Rejected) -> None:
        """Count a row out."""
        self.report[subset].rejected[error.reason] += 1
        self.rejects.append(Reject(row_id, error.reason, error.detail))


@dataclass(frozen=True)
class Part:
    """Consecutive rows of ``source``; ``out`` is the folder of the whole import."""

    source: Source
    number: int
    records: list[Record]
    out: Path
    settings: ImageSettings

    @property
    def name(self) -> str:
        """The start of its files' names."""
        return f"{self.source.name}-{self.number:05}"

    @property
    def work(self) -> Path:
        """Where unfinished files lie."""
        return _parts(self.out)

    def file(self, suffix: str) -> Path:
        """A file of this part."""
        return self.work / f"{self.name}{suffix}"

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.file(".json").exists()

    def finish(self, outcome: Outcome) -> None:
        """Say that its files are whole."""
        text = json.dumps({"report": outcome.report.to_dict(), "rejects": outcome.rejects, "keys": outcome.keys})
        write_whole(self.file(".json"), text.encode(), self.work)

    def outcome(self) -> Outcome:
        """What ``finish`` was given."""
        read = json.loads(self.file(".json").read_text("utf-8"))
        return Outcome(Report.from_dict(read["report"]), [Reject(*reject) for reject in read["rejects"]], read["keys"])


def write_whole(file: Path, data: bytes, work: Path) -> None:
    """Write ``file`` by way of a file in ``work``, a folder of the same file system."""
    part = work / f"{file.name}.{os.getpid()}"
    part.write_bytes(data)
    part.replace(file)


class Import:
    """An import of ``sources`` into ``out``. ``settings`` bound its pictures; ``options`` matter to no part of it."""

    def __init__(
        self,
        sources: Sequence[Source],
        out: Path,
        settings: ImageSettings,
        rows_per_part: int = ROWS_PER_PART,
        **options: int,
    ) -> None:
        self.out = out
        self.work = _parts(out)
        self._sources = sources
        self._settings = settings
        self._rows_per_part = rows_per_part
        self._options = options
        folders = dict.fromkeys(folder for source in sources for folder in source.folders)
        self._archives = [archive for folder in folders for archive in archives_in(folder)]
        self._inputs = {
            "versions": {"osvl-plugins": __version__, "pyarrow": pa.__version__, "pillow": PIL.__version__},
            "images": settings.model_dump(),
            "rows_per_part": rows_per_part,
            "files": [identity(source.file) for source in sources],
            "archives": [identity(archive.file) for archive in self._archives],
        }

    @contextmanager
    def begin(self) -> Iterator[bool]:
        """Take the folder; gives whether the import has been done already.

        Raises ``OsvlError`` when the folder is taken, or holds something else.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        lock = FileLock.take(self.out / ".lock")
        if lock is None:
            raise OsvlError(f"{self.out}: another import is writing there")
        try:
            yield self._check()
        except OSError as error:
            raise OsvlError(f"{self.out}: the import stopped ({error}); run the command again to go on") from error
        finally:
            lock.release(remove=True)

    def run(self, work: Callable[[Part], None], jobs: int, say: Say) -> list[Part]:
        """Do all parts that are missing; gives all of them in order, without their records."""
        for archive in self._archives:
            if archive.problem or archive.ignored:
                say(f"{archive.file}: {archive.problem or 'whole'}; {archive.ignored} entries cannot be used")
        parts: list[Part] = []

        def missing() -> Iterator[Part]:
            for source in self._sources:
                rows = read_records(source.file)
                for number in count():
                    part = Part(source, number, list(islice(rows, self._rows_per_part)), self.out, self._settings)
                    if not part.records:
                        break
                    parts.append(replace(part, records=[]))
                    if not part.is_done:
                        yield part

        for part in pool.run(work, missing(), jobs):
            rejected = part.outcome().report.rejected
            say(f"{part.name}: {len(part.records) - rejected} rows kept, {rejected} rejected")
        return parts

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file that gets its ``name`` in the folder once it is whole."""
        part = self.work / name
        with open(part, "wb") as data:
            yield data
        part.replace(self.out / name)

    def finish(self, parts: Sequence[Part], files: Sequence[str]) -> Report:
        """Write the report on ``parts`` and the rejected rows; ``files`` have been written."""
        report = Report()
        with self.writing("rejects.jsonl") as rejects:
            for part in parts:
                outcome = part.outcome()
                report.add(outcome.report)
                for reject in outcome.rejects:
                    rejects.write(json.dumps(reject._asdict(), ensure_ascii=False).encode() + b"\n")
        read = {
            f"{archive.file.parent.name}/{archive.file.name}": {
                "pictures": len(archive.members),
                "ignored": archive.ignored,
                "problem": archive.problem,
            }
            for archive in self._archives
        }
        about = {
            "rows": report.to_dict(),
            "archives": read,
            "import": {**self._inputs, **self._options},
            "files": {name: (self.out / name).stat().st_size for name in files},
        }
        write_whole(self.out / "report.json", json.dumps(about, indent=1).encode() + b"\n", self.work)
        shutil.rmtree(self.work)
        return report

    def report(self) -> Report:
        """The report of an import that is done."""
        return Report.from_dict(self._read_report()["rows"])

    def _read_report(self) -> Any:
        return json.loads((self.out / "report.json").read_text("utf-8"))

    def _check(self) -> bool:
        """Whether the folder holds this import; if it holds nothing of it, it does from now on."""
        claim = self.work / "import.json"
        inputs = json.loads(json.dumps(self._inputs))
        if (self.out / "report.json").exists():
            about = self._read_report()
            if about.get("import") != {**inputs, **self._options}:
                raise self._occupied("a finished import of other data or with other options")
            sizes = {name: (self.out / name).stat().st_size for name in about["files"] if (self.out / name).exists()}
            if sizes == about["files"]:
                shutil.rmtree(self.work, ignore_errors=True)
                return True
        elif not claim.exists() and [*self.out.glob("*.parquet"), *self.out.glob("dataset_info.json")]:
            raise self._occupied("data of another origin")
        if claim.exists() and json.loads(claim.read_text("utf-8")) != inputs:
            raise self._occupied("an unfinished import of other data or with other options")
        self.work.mkdir(exist_ok=True)
        write_whole(claim, json.dumps(inputs).encode(), self.work)
        return False

    def _occupied(self, by: str) -> OsvlError:
        return OsvlError(f"{self.out}: holds {by}; name another folder, or remove this one")


def _parts(out: Path) -> Path:
    return out / ".parts"
