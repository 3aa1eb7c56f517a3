"""Rows of other question sets (LiveVQA, FVQA, WebQA and the like): JSON lists, JSON lines or Parquet."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydantic import Field, field_validator

from osvl_plugins.curation.candidate import GRAPH_SOURCE
from osvl_plugins.data.pictures import JPEG_QUALITY, Pictures, fit
from osvl_plugins.data.records import Record, read_records
from osvl_plugins.data.report import Rejected
from osvl_plugins.data.sharegpt import check_unicode
from osvl_plugins.errors import OsvlError
from osvl_plugins.images import ImageSettings
from osvl_plugins.protocol import IMAGE_MARK
from osvl_plugins.settings import Settings

MAX_PIXELS = 1024 * 1024
"""Most pixels of an imported picture; a larger one is scaled down."""
MAX_CHARS = 4000
MAX_ANSWERS = 50


class SetSettings(Settings):
    """A file of questions, and what its fields are called."""

    path: str = Field(min_length=1)
    """``.parquet``, or a JSON list or JSON lines. Pictures lie beside it or in ``images``, or in zip files there."""
    name: str = Field(min_length=1, max_length=64)
    """What the set is called in the data: fvqa."""
    question: str = "question"
    answer: str = "answer"
    """A text, a number, or a list of them, all of which are right."""
    image: str = "image"
    """A path, bytes, or a mapping with ``bytes`` or ``path``; of a list of one, that one."""
    licence: str = ""
    """Under which the set's pictures stand."""

    @field_validator("name")
    @classmethod
    def _own(cls, name: str) -> str:
        if name == GRAPH_SOURCE:
            raise ValueError("is the name of the questions that are made here")
        return name


class Imported(NamedTuple):
    """A row that can be asked. ``digest``: of the picture's bytes as they lie in the set."""

    question: str
    answers: tuple[str, ...]
    picture: bytes
    digest: str
    where: str


def read_set(settings: SetSettings) -> Iterator[Record]:
    """Every row of a set, in its order. Raises ``OsvlError`` when the file cannot be read."""
    file = Path(settings.path).expanduser()
    return _read_parquet(file) if file.suffix == ".parquet" else read_records(file)


def pictures_of(settings: SetSettings) -> Pictures:
    """The pictures beside a set's file."""
    return Pictures([Path(settings.path).expanduser().parent])


def read_row(record: Record, settings: SetSettings, pictures: Pictures) -> Imported:
    """What a row says. Raises ``Rejected``."""
    if record.problem is not None:
        raise record.problem
    row = record.value
    if not isinstance(row, Mapping):
        raise Rejected("wrong_fields", "the row is no mapping")
    question = " ".join(_text(row, settings.question).replace(IMAGE_MARK, " ").split())
    answers = tuple(_answers(row, settings.answer))
    check_unicode(question, *answers)
    if max(map(len, (question, *answers))) > MAX_CHARS or len(answers) > MAX_ANSWERS:
        raise Rejected("too_long", f"over {MAX_CHARS} characters or {MAX_ANSWERS} answers")
    picture, where = _picture(row, settings.image, pictures)
    return Imported(question, answers, picture, hashlib.sha256(picture).hexdigest(), where)


def fitted(picture: bytes) -> bytes:
    """A picture as a JPEG or PNG file within ``MAX_PIXELS``. Raises ``Rejected``."""
    found = fit(picture, ImageSettings(max_pixels=MAX_PIXELS))
    if found.suffix != ".webp":
        return found.data
    buffer = io.BytesIO()
    Image.open(io.BytesIO(found.data)).convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _read_parquet(file: Path) -> Iterator[Record]:
    number = 0
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=8):
                for row in batch.to_pylist():
                    yield Record(number, row, None)
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise OsvlError(f"{file}: cannot be read ({error})") from error


def _text(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.replace(IMAGE_MARK, "").strip():
        raise Rejected("wrong_fields", f"{name} is no text")
    return text


def _answers(row: Mapping[str, Any], name: str) -> Iterator[str]:
    value = row.get(name)
    found = value if isinstance(value, list) else [value]
    if not found:
        raise Rejected("wrong_fields", f"{name} is empty")
    for answer in found:
        if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not str(answer).strip():
            raise Rejected("wrong_fields", f"{name} is no text and no list of texts")
        yield str(answer).strip()


def _picture(row: Mapping[str, Any], name: str, pictures: Pictures) -> tuple[bytes, str]:
    value = row.get(name)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    reference = value.get("path") if isinstance(value, Mapping) else value
    data = value.get("bytes") if isinstance(value, Mapping) else value
    where = reference if isinstance(reference, str) else ""
    if isinstance(data, bytes) and data:
        return data, where
    if not where:
        raise Rejected("picture_missing", f"{name} is no picture")
    return pictures.read(where), where
