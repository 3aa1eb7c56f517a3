"""One row of SFT or RL data for a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from osvl_plugins.data.parquet import Row
from osvl_plugins.data.pictures import peek
from osvl_plugins.data.report import Rejected
from osvl_plugins.terminal import printable


def show(row: Row, folder: Path | None) -> Iterator[str]:
    """The lines of ``row``; its pictures are written to ``folder``."""
    values = row.values
    yield f"{row.file}, row {row.number}: {row.kind}, {row.subset}{', ' + values['id'] if values.get('id') else ''}"
    for message in row.messages:
        yield f"\n--- {message.role} ---"
        yield printable(message.content)
    if row.kind == "rl":
        yield "\n--- accepted answer ---"
        yield printable("\n".join(row.accepted))
        yield f"\nextra_info: {values.get('extra_info')}"
    if values.get("tools"):
        yield f"\ntools: {_tools(values['tools'])}"
    for number, picture in enumerate(row.pictures, 1):
        yield _picture(picture or b"", number, folder)


def _tools(tools: str) -> str:
    """Their names; what cannot be read as it is."""
    try:
        return ", ".join(schema["function"]["name"] for schema in json.loads(tools))
    except (ValueError, TypeError, LookupError):
        return printable(tools)


def _picture(picture: bytes, number: int, folder: Path | None) -> str:
    try:
        image = peek(picture)
        about, suffix = f"{image.width}x{image.height} {image.format}", str(image.format).lower()
    except Rejected as error:
        about, suffix = f"cannot be read ({error.detail})", "bin"
    if folder is None:
        return f"picture {number}: {about}, {len(picture):,} bytes"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{number}.{suffix}"
    file.write_bytes(picture)
    return f"picture {number}: {about}, {len(picture):,} bytes, in {file}"
