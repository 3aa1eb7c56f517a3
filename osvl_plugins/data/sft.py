"""The released SFT data as verl's parquet files and LLaMA-Factory's JSON lines."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from osvl_plugins.data.importer import ROWS_PER_PART, Import, Outcome, Part, Say, write_whole
from osvl_plugins.data.parquet import RowWriter
from osvl_plugins.data.pictures import Picture, Pictures, fit, pictures_in
from osvl_plugins.data.records import Record
from osvl_plugins.data.report import Rejected, Report
from osvl_plugins.data.sharegpt import (
    DATASET_INFO,
    FACTORY_FILE,
    IMPORT_SCHEMA,
    Conversation,
    factory_row,
    read_conversation,
    verl_row,
)
from osvl_plugins.data.sources import sft_sources
from osvl_plugins.images import ImageSettings


def import_sft(
    path: Path, out: Path, settings: ImageSettings, jobs: int, say: Say, rows_per_part: int = ROWS_PER_PART
) -> Report:
    """Bring the ShareGPT files at ``path`` into ``out``: ``<subset>-<number>.parquet`` and LLaMA-Factory's files.

    Pictures are brought into the bounds of ``settings``. What was done before is not done again. Raises ``OsvlError``.
    """
    sources = sft_sources(path)
    importing = Import(sources, out, settings, rows_per_part)
    with importing.begin() as done:
        if done:
            return importing.report()
        parts = importing.run(write_part, jobs, say)
        with importing.writing(FACTORY_FILE) as lines:
            for part in parts:
                with open(part.file(".jsonl"), "rb") as rows:
                    shutil.copyfileobj(rows, lines)
        with importing.writing("dataset_info.json") as info:
            info.write(json.dumps(DATASET_INFO, indent=1).encode() + b"\n")
        for part in parts:
            if part.file(".parquet").exists():
                part.file(".parquet").replace(out / f"{part.name}.parquet")
        names = [f"{part.name}.parquet" for part in parts if (out / f"{part.name}.parquet").exists()]
        return importing.finish(parts, [*names, FACTORY_FILE, "dataset_info.json"])


def write_part(part: Part) -> None:
    """Write the rows of ``part`` that can be used, and say what became of the others."""
    subset, outcome = part.source.name, Outcome()
    parquet = part.file(".parquet.part")
    with RowWriter(parquet, IMPORT_SCHEMA) as rows, open(part.file(".jsonl"), "wb") as lines:
        for record in part.records:
            row_id = f"{subset}:{record.number}"
            try:
                conversation, pictures = _read(record, pictures_in(part.source.folders), part.settings)
            except Rejected as error:
                outcome.reject(subset, row_id, error)
                continue
            rows.add(verl_row(conversation, [picture.data for picture in pictures], subset, row_id))
            names = [_write_picture(picture, part) for picture in pictures]
            lines.write(json.dumps(factory_row(conversation, names), ensure_ascii=False).encode() + b"\n")
            tally = outcome.report[subset]
            tally.kept += 1
            tally.warnings.update(conversation.warnings)
            tally.pictures.update(picture.change for picture in pictures)
    if rows.count:
        parquet.replace(part.file(".parquet"))
    part.finish(outcome)


def _read(record: Record, pictures: Pictures, settings: ImageSettings) -> tuple[Conversation, list[Picture]]:
    if record.problem:
        raise record.problem
    conversation = read_conversation(record.value, settings.max_images)
    return conversation, [fit(data, settings) for data in pictures.read_all(conversation.images)]


def _write_picture(picture: Picture, part: Part) -> str:
    """Write ``picture`` under a name made of its content, once; gives the name."""
    digest = hashlib.sha256(picture.data).hexdigest()[:40]
    file = part.out / "images" / digest[:2] / f"{digest}{picture.suffix}"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, picture.data, part.work)
    return file.relative_to(part.out).as_posix()
