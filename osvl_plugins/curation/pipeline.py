"""The pipeline: shards through the stages, over Ray Data, into a folder of which every file is whole.

What is there already is not made again, so a run that ended for any reason goes on when it is started once more.
Nothing depends on which worker does what: the same settings give the same bytes at any parallelism.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from osvl_plugins.backends.locks import FileLock
from osvl_plugins.curation.cluster import over_shards, session
from osvl_plugins.curation.folder import EXPORT, LOCK, STAGES, RunFolder, RunManifest, StageCount, write_folder
from osvl_plugins.curation.shard import Done, Failure, Job, Report, Shop, advance, failed, open_shop
from osvl_plugins.curation.stages import export, merge
from osvl_plugins.curation.stages.unique import find_repeats
from osvl_plugins.errors import OsvlError

_UNIQUE, _MERGE = STAGES.index("unique"), STAGES.index("merge")
FIRST, SECOND, THIRD = STAGES[:_UNIQUE], STAGES[_UNIQUE:_MERGE], STAGES[_MERGE:]
"""Stages that a shard passes by itself. Between them all shards are looked at: for repetitions, and for their sides
where other sets join."""
NOTE_S = 1.0
"""Seconds between two notes of the times."""

Progress = Callable[[str], None]


class Outcome(NamedTuple):
    """How a run ended: what the stages did, seconds of work by stage, and what failed."""

    counts: dict[str, StageCount]
    seconds: dict[str, float]
    failures: list[Failure]


def run(job: Job, parallel: int = 2, address: str = "", progress: Progress = lambda message: None) -> Outcome:
    """Bring a run as far as it goes.

    Raises ``SettingError`` when the folder's run was started with other settings, another graph, corpus or language
    engine, or settings do not fit together; ``OsvlError`` when another process works on the folder.
    """
    shop = open_shop(job)
    folder = RunFolder(job.folder)
    job.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock.take(job.folder / LOCK)
    if lock is None:
        raise OsvlError(f"{job.folder}: another process works on this run")
    try:
        corpus = shop.corpus.fingerprint if shop.corpus is not None else ""
        settings = job.settings.model_dump(mode="json")
        folder.start(RunManifest(settings, shop.graph.fingerprint, corpus, shop.language.version))
        folder.clear()
        return _Run(job._replace(folder=job.folder.resolve()), shop, parallel, progress).finish(address)
    finally:
        lock.release(remove=True)


def summary(folder: RunFolder) -> dict[str, StageCount]:
    """What each stage has done so far."""
    return {stage: folder.count(stage) for stage in STAGES if folder.stage(stage).exists()}


class _Run:
    def __init__(self, job: Job, shop: Shop, parallel: int, progress: Progress) -> None:
        self._job = job
        self._shop = shop
        self._folder = RunFolder(job.folder)
        self._parallel = parallel
        self._progress = progress
        self._seconds = self._folder.seconds()
        self._noted = time.monotonic()

    def finish(self, address: str) -> Outcome:
        failures: list[Failure] = []
        if not all(map(self._folder.complete, STAGES)):
            self._progress("starting Ray")
            with session(self._parallel, address):
                failures = self._passes()
        if not failures and not self._folder.export.exists():
            failures = self._export()
        seconds = {stage: sum(spent.values()) for stage, spent in self._seconds.items()}
        return Outcome(summary(self._folder), seconds, failures)

    def _passes(self) -> list[Failure]:
        nothing = [frozenset[int]()] * self._job.settings.shards
        failures = self._pass(FIRST, nothing)
        if failures:
            return failures
        repeats = find_repeats(self._folder.parts("question"))
        if not self._job.settings.merge.sets:
            self._folder.note_sides({})
            return self._pass(SECOND + THIRD, repeats)
        failures = self._pass(SECOND, repeats)
        if failures:
            return failures
        self._folder.note_sides({key: row.split for row in self._folder.rows("ground") for key in merge.keys(row)})
        return self._pass(THIRD, nothing)

    def _pass(self, stages: Sequence[str], repeats: Sequence[frozenset[int]]) -> list[Failure]:
        """Take all shards through ``stages``; what failed, by shard."""
        waiting = [
            shard for shard in range(len(repeats)) if not all(self._folder.done(stage, shard) for stage in stages)
        ]
        items = [{"shard": shard, "repeats": sorted(repeats[shard])} for shard in waiting]
        failures: list[Failure] = []
        through = len(repeats) - len(waiting)
        name = f"{stages[0]} to {stages[-1]}"
        try:
            if items:
                self._progress(f"{name}: {through} of {len(repeats)} shards")
                for text in over_shards(partial(_work, self._job, stages), items, self._parallel):
                    report = _read_report(text)
                    through += 1
                    failures += [report.failure] if report.failure else []
                    self._note(report)
                    self._progress(f"{name}: {through} of {len(repeats)} shards")
        finally:
            self._folder.note_seconds(self._seconds)
        return sorted(failures, key=lambda failure: failure.shard)

    def _export(self) -> list[Failure]:
        self._progress(EXPORT)
        start = time.perf_counter()
        context = self._shop.context(self._shop.settings.export)
        try:
            write_folder(self._folder.export, lambda out: export.run(self._folder, out, context))
        except Exception as error:
            return [failed(EXPORT, 0, "", error)]
        self._seconds[EXPORT] = {"0": round(time.perf_counter() - start, 3)}
        self._folder.note_seconds(self._seconds)
        return []

    def _note(self, report: Report) -> None:
        for done in report.done:
            self._seconds.setdefault(done.stage, {})[str(report.shard)] = round(done.seconds, 3)
        if time.monotonic() - self._noted > NOTE_S:
            self._noted = time.monotonic()
            self._folder.note_seconds(self._seconds)


def _work(job: Job, stages: Sequence[str], item: dict[str, Any]) -> str:
    return json.dumps(advance(job, stages, item["shard"], frozenset(item["repeats"])))


def _read_report(text: str) -> Report:
    shard, done, failure = json.loads(text)
    return Report(shard, [Done(*one) for one in done], Failure(*failure) if failure else None)
