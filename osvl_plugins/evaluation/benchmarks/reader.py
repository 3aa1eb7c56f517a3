"""Benchmarks as questions, one in memory at a time."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from osvl_plugins.conversation import marked_parts
from osvl_plugins.data.pictures import MAX_ROW_BYTES, check
from osvl_plugins.data.records import Record
from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import OsvlError
from osvl_plugins.evaluation.benchmarks.generic import GENERIC
from osvl_plugins.evaluation.benchmarks.layout import Asked, Row, word_of
from osvl_plugins.evaluation.benchmarks.pictures import RowPictures
from osvl_plugins.evaluation.benchmarks.registry import KNOWN
from osvl_plugins.evaluation.benchmarks.rows import count_rows, read_rows
from osvl_plugins.evaluation.benchmarks.source import Benchmark, Source, find_parts
from osvl_plugins.evaluation.question import BadRow, Question
from osvl_plugins.images import ImageSettings
from osvl_plugins.protocol import IMAGE_MARK

_SETTINGS = ImageSettings()
_NAMED = re.compile(r"(\w+)=(.+)", re.DOTALL)
_DIGEST_CHARS = 16


def find(argument: str) -> Source:
    """The files that ``argument`` names: ``NAME=PATH`` of a known benchmark, or a file of one's own.

    A file of one's own is a benchmark of its name without suffix. Raises ``OsvlError`` when the files are not there or
    are not of that benchmark.
    """
    own = Path(argument).expanduser()
    if own.is_file():
        return find_parts(Benchmark(own.stem, (), GENERIC), own)
    named = _NAMED.fullmatch(argument)
    if named is None:
        raise OsvlError(f"{argument}: there is no such file of questions; {_usage()}")
    if named[1] not in KNOWN:
        raise OsvlError(f"{named[1]}: no known benchmark, and {argument} is no file; {_usage()}")
    return find_parts(KNOWN[named[1]], Path(named[2]).expanduser())


def read(argument: str) -> Iterator[Question | BadRow]:
    """Every question of ``argument`` (see ``find``), its pictures decoded once to know that they can be.

    A row that is no question comes as a ``BadRow``; none is left out. Ids are the same on every reading, and told apart
    where the files have one twice. Raises ``OsvlError`` like ``find``, at once, and later for a file that breaks off.
    """
    return _read(find(argument), lambda picture: check(picture, _SETTINGS))


def count(argument: str) -> int | None:
    """How many things ``read`` gives; None where only reading all of them would tell. Raises ``OsvlError``."""
    source, questions = find(argument), 0
    for part in source.parts:
        rows = count_rows(part.file)
        if rows is None or source.benchmark.only != "all":
            return None
        questions += rows * len(part.layout.asks)
    return questions


def read_questions(file: Path, limit: int | None = None) -> list[Question]:
    """All questions of a file of one's own, or the first ``limit``, in memory. Pictures are not decoded.

    Raises ``OsvlError`` when the file is not one, or has a row that is no question.
    """
    if not file.is_file():
        raise OsvlError(f"{file}: there is no such file of questions")
    questions: list[Question] = []
    for row in islice(_read(find(str(file)), lambda picture: None), limit):
        if isinstance(row, BadRow):
            raise OsvlError(f"{file}: row {row.index} is no question: {row.problem}")
        questions.append(row)
    return questions


def _usage() -> str:
    return f"a file of your own goes by its path, a known benchmark by NAME=PATH with NAME one of {', '.join(KNOWN)}"


def _read(source: Source, look_at: Callable[[bytes], None]) -> Iterator[Question | BadRow]:
    """``look_at`` raises ``Rejected`` for bytes that are no picture."""
    ids, index = _Ids(), 0
    for part in source.parts:
        pictures, layout = RowPictures(part.folders), part.layout
        for record in read_rows(part.file, {*layout.needs, *layout.also}):
            own = word_of(record.value.get(layout.id)) if isinstance(record.value, dict) else ""
            for number, ask in enumerate(layout.asks, 1):
                of_row = f"/{number}" if len(layout.asks) > 1 else ""
                name = own or f"row-{index}"
                try:
                    asked = _ask(record, ask)
                    if source.benchmark.only not in ("all", "pictures" if asked.pictures else "words"):
                        continue
                    name = own or _digest(asked)
                    messages, shown = _messages(asked), _pictures(asked, pictures, look_at)
                except Rejected as error:
                    problem = f"{error.reason}: {error.detail}"
                    yield BadRow(source.benchmark.name, ids.take(name + of_row), index, problem)
                    continue
                yield Question(
                    messages=messages,
                    images=shown,
                    accepted=list(asked.answers),
                    evidence=list(asked.evidence),
                    index=index,
                    benchmark=source.benchmark.name,
                    id=ids.take(name + of_row),
                    hops=asked.hops,
                    category=asked.category,
                )
            index += 1


def _ask(record: Record, ask: Callable[[Row], Asked]) -> Asked:
    if record.problem is not None:
        raise record.problem
    if not isinstance(record.value, dict):
        raise Rejected("wrong_fields", "the row is no mapping of columns to values")
    return ask(record.value)


def _messages(asked: Asked) -> list[dict[str, Any]]:
    """What is said, with a part for each picture. Raises ``Rejected``."""
    marks = sum(message.content.count(IMAGE_MARK) for message in asked.said)
    if marks not in (0, len(asked.pictures)):
        raise Rejected("image_count", f"{marks} {IMAGE_MARK} for {len(asked.pictures)} pictures")
    last = max(place for place, message in enumerate(asked.said) if message.role == "user")
    messages = []
    for place, message in enumerate(asked.said):
        first = IMAGE_MARK * len(asked.pictures) if not marks and place == last else ""
        messages.append({"role": message.role, "content": marked_parts(first + message.content)})
    return messages


def _pictures(asked: Asked, pictures: RowPictures, look_at: Callable[[bytes], None]) -> list[bytes]:
    if len(asked.pictures) > _SETTINGS.max_images:
        raise Rejected("too_many_images", f"{len(asked.pictures)}, over {_SETTINGS.max_images}")
    found: list[bytes] = []
    for value in asked.pictures:
        found.append(pictures.read(value))
        if sum(map(len, found)) > MAX_ROW_BYTES:
            raise Rejected("picture_too_large", f"over {MAX_ROW_BYTES} bytes in one row")
        look_at(found[-1])
    return found


def _digest(asked: Asked) -> str:
    """A name for a question that has none: by what it asks, shows and accepts, wherever it stands."""
    said = json.dumps([asked.said, asked.answers, asked.pictures], default=_plain, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:_DIGEST_CHARS]


def _plain(value: Any) -> str:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)


class _Ids:
    """Names that are each given once: the second ``a`` is ``a#2``."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def take(self, name: str) -> str:
        """``name``, or it with the first number that tells it from those before."""
        found = name
        while found in self._times:
            self._times[name] += 1
            found = f"{name}#{self._times[name]}"
        self._times[found] = 1
        return found
