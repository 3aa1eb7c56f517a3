from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.corpus.rcc import DIRECTORY, ZLIB, ZSTD, Archive
from osvl_plugins.errors import CorpusError

TEXT = b"property string title" * 20


def archive_bytes(files: dict[str, tuple[int, bytes]], version: int = 2) -> bytes:
    """An archive with a folder "board" that holds files, by name: flags and stored bytes."""
    names, name_at = b"", {}
    for name in ["board", *files]:
        name_at[name] = len(names)
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    data, nodes = b"", []
    time = b"\0" * 8 if version > 1 else b""
    nodes.append(struct.pack(">IHII", 0, DIRECTORY, 1, 1) + time)
    nodes.append(struct.pack(">IHII", name_at["board"], DIRECTORY, len(files), 2) + time)
    for name, (flags, stored) in files.items():
        nodes.append(struct.pack(">IHHHI", name_at[name], flags, 0, 0, len(data)) + time)
        data += struct.pack(">I", len(stored)) + stored
    start = 24
    tree = b"".join(nodes)
    head = struct.pack(">IIIII", version, start + len(data) + len(names), start, start + len(data), 0)
    return b"qres" + head + data + names + tree


def write(folder: Path, data: bytes) -> Path:
    path = folder / "a.rcc"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_are_read_back_whatever_their_compression(tmp_path: Path, version: int) -> None:
    files = {
        "plain.qml": (0, TEXT),
        "zlib.qml": (ZLIB, struct.pack(">I", len(TEXT)) + zlib.compress(TEXT)),
        "zstd.qml": (ZSTD, zstandard.ZstdCompressor().compress(TEXT)),
    }
    archive = Archive(write(tmp_path, archive_bytes(files, version)))
    assert archive.paths == ["board/plain.qml", "board/zlib.qml", "board/zstd.qml"]
    assert all(archive.read(path) == TEXT for path in archive.paths)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    archive = Archive(write(tmp_path, archive_bytes({"a": (0, b"x")})))
    with pytest.raises(CorpusError, match="no file 'board/b'"):
        archive.read("board/b")


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a Qt resource archive"):
        Archive(write(tmp_path, b"PK\3\4"))


def test_a_folder_that_contains_itself_ends_in_an_error(tmp_path: Path) -> None:
    names = struct.pack(">HI", 1, 0) + "a".encode("utf-16-be")
    tree = struct.pack(">IHII", 0, DIRECTORY, 1, 0) + b"\0" * 8
    head = b"qres" + struct.pack(">IIIII", 2, 24 + len(names), 24, 24, 0)
    with pytest.raises(CorpusError, match="too large"):
        Archive(write(tmp_path, head + names + tree))


@settings(max_examples=200)
@given(at=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_damage_never_ends_in_another_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, cut: int
) -> None:
    files = {"a.qml": (ZLIB, struct.pack(">I", 9) + zlib.compress(TEXT)), "b.qml": (0, TEXT)}
    data = bytearray(archive_bytes(files))
    data[at % len(data)] = value
    path = write(tmp_path_factory.mktemp("rcc"), bytes(data[: len(data) - cut % len(data)]))
    try:
        archive = Archive(path)
        for name in archive.paths:
            archive.read(name)
    except CorpusError:
        pass
