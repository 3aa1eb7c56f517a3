"""The rows of a JSON list or of JSON lines, one at a time, whatever the file's size and whatever is broken in it.

A list is read through a window. When a row cannot be read, reading goes on at the next place where a row seems to
start: an object whose first key is one of the file's first row. Inside a row's text a quote has a backslash before it,
so no text looks like that.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import OsvlError

MAX_ROW_CHARS = 16 * 2**20
WINDOW_CHARS = 2**20
_BETWEEN = re.compile(r"[\s,]*")
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.){1,100}")\s*:')
_ROW_START_CHARS = 200
"""Room for the start of a row."""
_TOKEN_CHARS = 12
"""Room for a number, a literal or an escape: where one was cut off, the error stands at its start."""


class Record(NamedTuple):
    """A row of a file: its place, counted from 0, and its value or why there is none."""

    number: int
    value: Any
    problem: Rejected | None


def read_records(file: Path) -> Iterator[Record]:
    """Every row of ``file``; no line or list element is lost without a record that says so.

    Raises ``OsvlError`` when the file cannot be read.
    """
    try:
        listed = _is_list(file)
        # What is no UTF-8 becomes characters that cannot be encoded, which whoever takes the row finds.
        with open(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as text:
            rows = _List(text).read() if listed else _lines(text)
            for number, row in enumerate(rows):
                yield Record(number, None, row) if isinstance(row, Rejected) else Record(number, row, None)
    except OSError as error:
        raise OsvlError(f"{file}: cannot be read ({error})") from error


def _is_list(file: Path) -> bool:
    with open(file, "rb") as data:
        start = data.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    return start.startswith(b"[")


def _lines(text: TextIO) -> Iterator[Any]:
    while line := text.readline(MAX_ROW_CHARS + 1):
        if len(line) > MAX_ROW_CHARS and not line.endswith("\n"):
            while (rest := text.readline(WINDOW_CHARS)) and not rest.endswith("\n"):
                pass
            yield _too_long()
        elif line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Rejected("bad_json", str(error))


class _List:
    """A JSON list behind a window."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._window = ""
        self._at = 0
        self._ended = False
        self._row_start: re.Pattern[str] | None = None

    def read(self) -> Iterator[Any]:
        """The elements; a ``Rejected`` for each that cannot be read, and for an end that is missing."""
        decoder = json.JSONDecoder()
        self._more()
        self._at = self._window.index("[") + 1
        while True:
            self._skip_between()
            if self._at == len(self._window):
                yield Rejected("bad_json", "the file ends before its list does")
                return
            if self._window[self._at] == "]":
                return
            try:
                value, end = decoder.raw_decode(self._window, self._at)
            except (ValueError, RecursionError) as error:
                is_cut = not self._ended and self._is_cut(error)
                if is_cut and len(self._window) - self._at <= MAX_ROW_CHARS:
                    self._more()
                    continue
                yield _too_long() if is_cut else Rejected("bad_json", str(error))
                if not self._go_to_row_start():
                    return
            else:
                length, self._at = end - self._at, end
                self._learn_row_start(value)
                yield value if length <= MAX_ROW_CHARS else _too_long()

    def _more(self) -> None:
        """Drop what has been read and read as much as there still is, at least a window."""
        self._window = self._window[self._at :]
        self._at = 0
        new = self._text.read(max(WINDOW_CHARS, len(self._window)))
        self._ended = not new
        self._window += new

    def _skip_between(self) -> None:
        while True:
            match = _BETWEEN.match(self._window, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._window) or self._ended:
                return
            self._more()

    def _is_cut(self, error: Exception) -> bool:
        """Whether the row may go on behind the window."""
        return isinstance(error, json.JSONDecodeError) and (
            error.msg.startswith("Unterminated string") or error.pos >= len(self._window) - _TOKEN_CHARS
        )

    def _learn_row_start(self, value: Any) -> None:
        if self._row_start is None and isinstance(value, dict) and value:
            self._row_start = _starts(json.dumps(key) for key in value)

    def _go_to_row_start(self) -> bool:
        """Leave the row that cannot be read; False when no other follows."""
        if self._row_start is None and (match := _FIRST_KEY.match(self._window, self._at)):
            self._row_start = _starts([match[1]])
        while True:
            found = self._row_start.search(self._window, self._at + 1) if self._row_start else None
            if found or self._ended:
                self._at = found.start() if found else len(self._window)
                return found is not None
            self._at = max(self._at, len(self._window) - _ROW_START_CHARS)
            self._more()


def _starts(keys: Iterable[str]) -> re.Pattern[str]:
    """Where an object starts with one of ``keys``, which are written as in JSON."""
    return re.compile(r"\{\s*(?:" + "|".join(map(re.escape, keys)) + r")\s*:")


def _too_long() -> Rejected:
    return Rejected("too_long", f"over {MAX_ROW_CHARS} characters")
