"""The released RL data as verl's parquet files, with rows held out."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from osvl_plugins.curation.rows import RL_SCHEMA
from osvl_plugins.data.importer import ROWS_PER_PART, Import, Outcome, Part, Say
from osvl_plugins.data.parquet import RowWriter, read_rows
from osvl_plugins.data.pictures import Pictures, check, pictures_in
from osvl_plugins.data.questions import Question, question_row, read_question, subset_of
from osvl_plugins.data.records import Record
from osvl_plugins.data.report import Rejected, Report
from osvl_plugins.data.sources import rl_source
from osvl_plugins.data.splits import held_out
from osvl_plugins.images import ImageSettings

SPLITS = ("train", "val")


def import_rl(path: Path, out: Path, val: int, jobs: int, say: Say, rows_per_part: int = ROWS_PER_PART) -> Report:
    """Bring the questions at ``path`` into ``out``: ``train.parquet``, and ``val`` rows of them in ``val.parquet``.

    Pictures stay as they are. What was done before is not done again. Raises ``OsvlError``.
    """
    source = rl_source(path)
    importing = Import([source], out, ImageSettings(), rows_per_part, val=val)
    with importing.begin() as done:
        if done:
            return importing.report()
        parts = importing.run(write_part, jobs, say)
        chosen = held_out([keys for part in parts for keys in part.outcome().keys], val)
        written = _write_splits(importing, parts, chosen)
        return importing.finish(parts, written)


def write_part(part: Part) -> None:
    """Write the rows of ``part`` that can be used, and say what became of the others."""
    outcome = Outcome()
    parquet = part.file(".parquet.part")
    with RowWriter(parquet, RL_SCHEMA) as rows:
        for record in part.records:
            try:
                question, pictures = _read(record, pictures_in(part.source.folders), part.settings)
            except Rejected as error:
                outcome.reject(subset_of(record.value), f"{part.source.name}:{record.number}", error)
                continue
            rows.add(question_row(question, pictures, record.number))
            tally = outcome.report[question.subset]
            tally.kept += 1
            tally.pictures["unchanged"] += len(pictures)
            shown = [hashlib.sha256(picture).hexdigest() for picture in pictures]
            outcome.keys.append(shown or [hashlib.sha256(question.text.encode()).hexdigest()])
    parquet.replace(part.file(".parquet"))
    part.finish(outcome)


def _read(record: Record, pictures: Pictures, settings: ImageSettings) -> tuple[Question, list[bytes]]:
    if record.problem:
        raise record.problem
    question = read_question(record.value, settings.max_images)
    found = list(pictures.read_all(question.images))
    for picture in found:
        check(picture, settings)
    return question, found


def _write_splits(importing: Import, parts: list[Part], chosen: set[int]) -> list[str]:
    """Write each split that has rows; gives the names of the files."""
    names = {split: f"{split}.parquet" for split in SPLITS if split == "train" or chosen}
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(RowWriter(importing.work / name, RL_SCHEMA)) for split, name in names.items()
        }
        for position, row in enumerate(read_rows(part.file(".parquet") for part in parts)):
            split = "val" if position in chosen else "train"
            row.values["extra_info"]["split"] = split
            writers[split].add(row.values)
    for name in names.values():
        (importing.work / name).replace(importing.out / name)
    return list(names.values())
