"""Reader of Qt resource archives (.rcc), in which Qt programs keep their pictures and texts.

The layout is Qt's own (``rcc --binary``, format versions 1 to 3): a header of big-endian words, then data, names and a
tree of nodes, each found by an offset. Everything read is bounded, so a damaged archive ends in a ``CorpusError``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osvl_plugins.errors import CorpusError

MAX_ARCHIVE_BYTES = 256 * 2**20
MAX_FILE_BYTES = 64 * 2**20
MAX_NODES = 100_000
MAX_DEPTH = 32

ZLIB, DIRECTORY, ZSTD = 1, 2, 4


@dataclass(frozen=True)
class Entry:
    """A file of the archive: its path without a leading slash, and where its bytes lie."""

    path: str
    flags: int
    offset: int


class Archive:
    """An .rcc file held in memory.

    Raises ``CorpusError`` when the file is not a readable Qt resource archive or is over 256 MiB.
    """

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise CorpusError(f"{path.name}: over {MAX_ARCHIVE_BYTES} bytes; not a resource archive that is read here")
        self._name = path.name
        self._bytes = path.read_bytes()
        if self._bytes[:4] != b"qres":
            raise CorpusError(f"{path.name}: not a Qt resource archive")
        version, self._tree, self._data, self._names = self._unpack(">IIII", 4)
        if version not in (1, 2, 3):
            raise CorpusError(f"{path.name}: resource format {version} is unknown; 1 to 3 are read")
        self._node_size = 14 if version == 1 else 22
        self._entries = {entry.path: entry for entry in self._walk()}

    @property
    def paths(self) -> list[str]:
        """Paths of all files, sorted."""
        return sorted(self._entries)

    def read(self, path: str) -> bytes:
        """Bytes of a file, decompressed.

        Raises ``CorpusError`` when there is no such file, or it is damaged or over 64 MiB.
        """
        entry = self._entries.get(path)
        if entry is None:
            raise CorpusError(f"{self._name}: no file {path!r}")
        start = self._data + entry.offset
        (size,) = self._unpack(">I", start)
        raw = self._bytes[start + 4 : start + 4 + size]
        if len(raw) != size:
            raise CorpusError(f"{self._name}: {path!r} is cut off")
        if entry.flags & ZLIB:
            raw = self._inflate(path, raw)
        elif entry.flags & ZSTD:
            raw = self._unzstd(path, raw)
        if len(raw) > MAX_FILE_BYTES:
            raise CorpusError(f"{self._name}: {path!r} is over {MAX_FILE_BYTES} bytes")
        return raw

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(layout, self._bytes, offset)
        except struct.error as error:
            raise CorpusError(f"{self._name}: damaged archive, an offset lies outside it") from error

    def _walk(self) -> Iterator[Entry]:
        # The stack holds (node, path prefix, depth); the root node has no name.
        stack = [(0, "", 0)]
        seen = 0
        while stack:
            node, prefix, depth = stack.pop()
            seen += 1
            if seen > MAX_NODES or depth > MAX_DEPTH:
                raise CorpusError(f"{self._name}: damaged archive, its tree is too large")
            start = self._tree + node * self._node_size
            name_offset, flags = self._unpack(">IH", start)
            path = prefix + (self._node_name(name_offset) if node else "")
            if flags & DIRECTORY:
                count, first = self._unpack(">II", start + 6)
                if count > MAX_NODES:
                    raise CorpusError(f"{self._name}: damaged archive, a folder has {count} entries")
                below = f"{path}/" if path else ""
                stack.extend((first + index, below, depth + 1) for index in range(count))
            else:
                (offset,) = self._unpack(">I", start + 10)
                yield Entry(path, flags, offset)

    def _node_name(self, offset: int) -> str:
        start = self._names + offset
        (length,) = self._unpack(">H", start)
        return self._bytes[start + 6 : start + 6 + 2 * length].decode("utf-16-be", "replace")

    def _inflate(self, path: str, raw: bytes) -> bytes:
        # Qt puts the uncompressed length in four bytes before the zlib stream.
        stream = zlib.decompressobj()
        try:
            return stream.decompress(raw[4:], MAX_FILE_BYTES + 1)
        except zlib.error as error:
            raise CorpusError(f"{self._name}: {path!r} does not decompress: {error}") from error

    def _unzstd(self, path: str, raw: bytes) -> bytes:
        try:
            import zstandard
        except ImportError as error:
            raise CorpusError(f"{self._name}: needs zstandard; run: pip install zstandard") from error
        try:
            return zstandard.ZstdDecompressor().decompress(raw, max_output_size=MAX_FILE_BYTES + 1)
        except zstandard.ZstdError as error:
            raise CorpusError(f"{self._name}: {path!r} does not decompress: {error}") from error
