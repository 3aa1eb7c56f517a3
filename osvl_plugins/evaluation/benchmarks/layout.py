"""What the rows of a benchmark ask, by the names of their columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from osvl_plugins.data.parquet import Message
from osvl_plugins.data.report import Rejected
from osvl_plugins.data.sharegpt import check_unicode

MAX_CHARS = 100_000
"""Of a question, and of all its answers together."""
MAX_ANSWERS = 1000
MAX_WORD_CHARS = 200
"""Of an id or a category."""

Row = Mapping[str, Any]


class Alternatives(NamedTuple):
    """References of one picture, of which the first that is there is meant."""

    references: tuple[str, ...]


class Asked(NamedTuple):
    """A question of a row, its pictures not read yet: they are what the row has in their place."""

    said: Sequence[Message]
    """Pictures stand where ``<image>`` does, or without any mark before the words."""
    answers: Sequence[str]
    pictures: Sequence[Any]
    category: str = ""
    hops: int | None = None
    evidence: Sequence[str] = ()


@dataclass(frozen=True)
class Layout:
    """A form that rows have.

    ``needs`` are the columns that tell it from others, ``also`` those that are read where they are. Each of ``asks``
    makes one question of a row and raises ``Rejected`` for a row that has none. ``folders`` are where pictures lie
    beside the file, and ``images``. ``id`` is the column with the row's own id.
    """

    needs: tuple[str, ...]
    asks: tuple[Callable[[Row], Asked], ...]
    also: tuple[str, ...] = ()
    id: str = ""
    folders: tuple[str, ...] = ()


def columns(
    question: str,
    answer: str,
    *more_answers: str,
    picture: str,
    id: str = "",
    category: str = "",
    is_pictured: bool = True,
    folders: tuple[str, ...] = (),
) -> Layout:
    """The layout of one question a row, in columns of these names; no name for what the rows do not have.

    What ``answer`` and ``more_answers`` hold is all accepted. ``is_pictured``: a row without a picture is no question.
    """

    def ask(row: Row) -> Asked:
        return Asked(
            said=[Message("user", text_of(row, question))],
            answers=answers_of(*(row.get(name) for name in (answer, *more_answers))),
            pictures=pictures_of(row.get(picture), picture if is_pictured else ""),
            category=word_of(row.get(category)),
        )

    needs = (question, answer, *((picture,) if is_pictured else ()), *((id,) if id else ()))
    return Layout(needs, (ask,), (*more_answers, picture, category), id, folders)


def text_of(row: Row, name: str) -> str:
    """What is asked. Raises ``Rejected`` when it is no text."""
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise Rejected("wrong_fields", f"{name} is no text")
    if len(text) > MAX_CHARS:
        raise Rejected("too_long", f"{name} has {len(text)} characters, over {MAX_CHARS}")
    check_unicode(text)
    return text.strip()


def answers_of(*values: Any) -> list[str]:
    """Every text and number in ``values`` and the lists in them, each once, in their order.

    Raises ``Rejected`` when there is none: nothing could be compared with the answer of a model.
    """
    found = list(dict.fromkeys(_texts(values)))
    if not found:
        raise Rejected("wrong_fields", "the accepted answer is empty")
    if len(found) > MAX_ANSWERS or sum(map(len, found)) > MAX_CHARS:
        raise Rejected("too_long", f"over {MAX_ANSWERS} accepted answers, or over {MAX_CHARS} characters of them")
    check_unicode(*found)
    return found


def pictures_of(value: Any, needed: str = "") -> list[Any]:
    """What stands for pictures in a column: a list of them, one written as JSON too, a single one, or nothing.

    Raises ``Rejected`` when there is none in the column ``needed``, and for a list with a gap.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = from_json(value)
    if isinstance(value, list) and any(picture in (None, "") for picture in value):
        raise Rejected("picture_missing", "one of the row's pictures is empty")
    found = value if isinstance(value, list) else [] if value in (None, "") else [value]
    if needed and not found:
        raise Rejected("picture_missing", f"{needed} is empty")
    return found


def mapping_of(value: Any) -> Row:
    """``value`` where it is a mapping, and an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def word_of(value: Any) -> str:
    """A short text or a whole number as text that can be written; nothing for anything else."""
    word = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return word[:MAX_WORD_CHARS].encode("utf-8", "replace").decode()


def hops_of(value: Any) -> int | None:
    """A whole number of them, where it is known."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def words_of(value: Any) -> list[str]:
    """The words of a list."""
    return [word for word in map(word_of, value) if word] if isinstance(value, list) else []


def from_json(text: str) -> Any:
    """What ``text`` says. Raises ``Rejected``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Rejected("bad_json", str(error)) from None


def _texts(values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _texts(value)
        elif isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            yield str(value).strip()
