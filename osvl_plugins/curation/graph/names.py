"""Titles as MediaWiki reads them, and strings on disk that are found by number or by their hash."""

from __future__ import annotations

import hashlib
import html
import itertools
import os
import re
import unicodedata
import urllib.parse
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]

MAX_TITLE_BYTES = 255
_SPACES = re.compile(r"[\s_\u200e\u200f]+")


def normal_title(text: str) -> str:
    """The title that a link's text means, "" when it means none: ``"wind_power#Cost"`` → ``"Wind power"``."""
    text = text.partition("#")[0]
    if "&" in text:
        text = html.unescape(text)
    if "%" in text:
        text = urllib.parse.unquote(text)
    text = _SPACES.sub(" ", text).strip(" ").removeprefix(":").strip(" ")
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        if len(text.encode("utf-8", "replace")) > MAX_TITLE_BYTES:
            return ""
    elif len(text) > MAX_TITLE_BYTES:
        return ""
    return capitalised(text)


def capitalised(text: str) -> str:
    """``text`` with its first letter in upper case, as every title is written."""
    upper = text[:1].upper()
    # "ß" and its like have no single upper-case letter, Georgian has none in use; MediaWiki leaves them.
    if len(upper) != 1 or "\u10d0" <= text[0] <= "\u10ff":
        return text
    return upper + text[1:]


def string_hash(text: str) -> int:
    """64 bits that stand for a string on disk; the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def string_hashes(texts: Iterable[str]) -> Hashes:
    """``string_hash`` of each."""
    return np.fromiter((string_hash(text) for text in texts), np.uint64)


class Blob(NamedTuple):
    """Strings one after the other: string ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    data: Bytes
    offsets: Longs

    @classmethod
    def of(cls, strings: Iterable[bytes]) -> Blob:
        """The strings as a blob."""
        listed = list(strings)
        lengths = np.fromiter(map(len, listed), np.int64, len(listed))
        return cls(np.frombuffer(b"".join(listed), np.uint8), offsets_of(lengths))

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Blob:
        """The texts as a blob of UTF-8; what is no Unicode becomes "?"."""
        return cls.of(text.encode("utf-8", "replace") for text in texts)

    def take(self, index: NDArray[np.integer]) -> Blob:
        """The strings at ``index``, in that order."""
        starts = self.offsets[index]
        lengths = self.offsets[np.asarray(index) + 1] - starts
        offsets = offsets_of(lengths)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Blob(self.data[places], offsets)

    def texts(self) -> list[str]:
        """All strings."""
        data = self.data.tobytes()
        bounds = self.offsets.tolist()
        return [data[start:stop].decode() for start, stop in itertools.pairwise(bounds)]


def offsets_of(lengths: NDArray[np.integer]) -> Longs:
    """(n + 1,) where each of n consecutive runs starts, and the end of the last."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class HashIndex:
    """Numbers by the hash of a string: sorted ``hashes`` with the ``numbers`` in the same order."""

    def __init__(self, hashes: Hashes, numbers: Ints) -> None:
        self.hashes = hashes
        self.numbers = numbers

    @classmethod
    def of(cls, hashes: Hashes) -> HashIndex:
        """The index of strings 0, 1, …; of equal strings the first is found."""
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return cls(hashes[order], order)

    def find(self, hashes: Hashes) -> Ints:
        """Number of the string with each hash, −1 where there is none.

        With 64 bits a string that is not there passes for another in fewer than one of 10¹¹ look-ups among 10⁷.
        """
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int32)
        # Searching in order walks through the memory-mapped index once instead of jumping about in it.
        order = np.argsort(hashes)
        places = np.searchsorted(self.hashes, hashes[order])
        places[places == len(self.hashes)] = 0
        found = np.where(self.hashes[places] == hashes[order], self.numbers[places], np.int32(-1))
        result = np.empty(len(hashes), np.int32)
        result[order] = found
        return result

    def find_one(self, text: str) -> int | None:
        """Number of the string ``text``, or None."""
        wanted = np.uint64(string_hash(text))
        place = int(np.searchsorted(self.hashes, wanted))
        if place == len(self.hashes) or self.hashes[place] != wanted:
            return None
        return int(self.numbers[place])


class Strings:
    """A blob on disk, read string by string; nothing of it stays in memory. Safe to use from several threads."""

    def __init__(self, file: Path, offsets: Longs) -> None:
        self._handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._handle)
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def read(self, index: int) -> bytes:
        """String ``index``."""
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        return os.pread(self._handle, stop - start, start)

    def text(self, index: int) -> str:
        """String ``index``, which is UTF-8."""
        return self.read(index).decode()
