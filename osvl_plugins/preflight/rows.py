"""The training data: columns, and whether the first rows can be what the trainer expects."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

from osvl_plugins.errors import ToolError
from osvl_plugins.images import ImageSettings, decode
from osvl_plugins.preflight.finding import Finding
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.protocol import IMAGE_MARK

FIRST = 16
"""Rows that are looked at, of each file."""
CHARACTERS = 4.0
"""Of a token in Latin script; other scripts take about one a token."""
PIXELS = 32 * 32
"""Of a picture, for one token: patches of 16 x 16, merged two by two."""

RL_COLUMNS = ("data_source", "prompt", "reward_model")
SFT_COLUMNS = ("messages",)


def check_rows(plan: Plan) -> list[Finding]:
    """Findings on every file of ``data.train_files`` and ``data.val_files``."""
    return [
        finding
        for setting in ("data.train_files", "data.val_files")
        for path in plan.files(setting)
        for finding in _files(plan, setting, path)
    ]


def _files(plan: Plan, setting: str, path: str) -> list[Finding]:
    pattern = str(Path(path).expanduser())
    files = sorted(glob.glob(pattern))
    if not files:
        return [Finding("error", setting, f"{path} is not there", f"{setting}=FILE; docs/data.md says what writes it")]
    return [finding for file in files for finding in _file(plan, setting, file)]


def _file(plan: Plan, setting: str, file: str) -> list[Finding]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.endswith(".parquet"):
        return [Finding("warning", setting, f"{file} is no parquet file and was not looked into")]
    try:
        with pq.ParquetFile(file) as parquet:
            names, count = parquet.schema_arrow.names, parquet.metadata.num_rows
            batch = next(parquet.iter_batches(batch_size=FIRST), None)
            rows: list[dict[str, Any]] = batch.to_pylist() if batch is not None else []
    except (OSError, pa.ArrowException) as error:
        return [Finding("error", setting, f"{file} cannot be read: {error}", f"{setting}=FILE")]
    wanted = RL_COLUMNS if plan.rl else SFT_COLUMNS
    missing = [name for name in wanted if name not in names]
    if missing:
        said = f"{file} has no column {', '.join(missing)}; it has {', '.join(names)}"
        return [Finding("error", setting, said, "docs/data.md says what the rows must hold")]
    if not count:
        return [Finding("error", setting, f"{file} has no rows", f"{setting}=FILE")]
    problems = [finding for number, row in enumerate(rows) for finding in _row(plan, setting, file, number, row)]
    longest = max((_tokens(plan, row) for row in rows), default=0)
    said = f"{file}: {count:,} rows; the first {len(rows)} have about {longest:,} tokens at most"
    return problems or [Finding("ok", setting, said), *_few(plan, setting, count)]


def _few(plan: Plan, setting: str, count: int) -> list[Finding]:
    size = int(plan.get("data.train_batch_size", 0))
    if setting != "data.train_files" or count >= size:
        return []
    return [
        Finding("error", setting, f"{count} rows are less than a batch of {size}", f"data.train_batch_size={count}")
    ]


def _row(plan: Plan, setting: str, file: str, number: int, row: dict[str, Any]) -> list[Finding]:
    where = f"{file}, row {number}"
    messages, pictures = row.get("prompt" if plan.rl else "messages") or [], row.get("images") or []
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages) or not messages:
        return [Finding("error", setting, f"{where}: the conversation is no list of messages")]
    placeholders = sum(str(message.get("content", "")).count(IMAGE_MARK) for message in messages)
    found = []
    if placeholders != len(pictures):
        said = f"{where}: {placeholders} times {IMAGE_MARK}, and {len(pictures)} pictures"
        found.append(Finding("error", setting, said, "each mark of the text stands for one of the column images"))
    for picture in pictures:
        try:
            decode(picture, ImageSettings())
        except ToolError as error:
            found.append(Finding("error", setting, f"{where}: {error}", "write the row again"))
    if plan.rl and not (row.get("reward_model") or {}).get("ground_truth"):
        found.append(Finding("error", setting, f"{where}: reward_model has no ground_truth"))
    most = int(plan.get("data.max_prompt_length" if plan.rl else "data.max_length", 0))
    tokens = _tokens(plan, row)
    if tokens > most:
        name = "data.max_prompt_length" if plan.rl else "data.max_length"
        found.append(Finding("warning", setting, f"{where}: about {tokens:,} tokens, over {most:,}", f"raise {name}"))
    return found


def _tokens(plan: Plan, row: dict[str, Any]) -> int:
    """An estimate: characters, and the area of the pictures up to the bound of the settings."""
    text = "".join(str(message.get("content", "")) for message in row.get("prompt" if plan.rl else "messages") or [])
    latin = sum(character < "\u0250" for character in text)
    bound = int(plan.get("osvl.episode.images.max_pixels", 0) or plan.get("data.max_pixels", 0)) or None
    pixels = 0
    for picture in row.get("images") or []:
        try:
            image = decode(picture, ImageSettings())
        except ToolError:
            continue
        pixels += min(image.width * image.height, bound) if bound else image.width * image.height
    return round(latin / CHARACTERS + len(text) - latin + pixels / PIXELS)
