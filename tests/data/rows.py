"""Rows as they are read from imported files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from osvl_plugins.data.parquet import Row, RowWriter
from osvl_plugins.data.questions import question_row, read_question
from osvl_plugins.data.sharegpt import IMPORT_SCHEMA, read_conversation, verl_row
from tests.data import released


def sft(subset: str = "fvqa", pictures: Sequence[bytes] = (b"",), last: str | None = None) -> Row:
    """A trajectory with ``pictures``; ``last`` is its last turn."""
    source = released.sft_row([f"{number}.jpg" for number in range(len(pictures))])
    if last is not None:
        source["conversations"][-1]["value"] = last
    values = verl_row(read_conversation(source, 32), pictures, subset, f"{subset}:0")
    return Row(Path(f"{subset}.parquet"), 0, "sft", values)


def rl(answer: str = "Oslo", picture: bytes | None = None, split: str = "train", **changed: Any) -> Row:
    """A question."""
    source = {"question": "Where?", "answer": answer, "images": ["a.jpg"], "dataset": "palace"}
    values = question_row(read_question(source, 32), [picture or released.picture(1)], 0)
    values["extra_info"]["split"] = split
    return Row(Path("palace.parquet"), 0, "rl", {**values, **changed})


def write(file: Path, rows: Sequence[Row], schema: Any = IMPORT_SCHEMA) -> Path:
    """The file of ``rows``."""
    with RowWriter(file, schema) as writer:
        for row in rows:
            writer.add(row.values)
    return file
