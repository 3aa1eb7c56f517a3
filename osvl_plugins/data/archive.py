"""Pictures in a zip archive, read one at a time and never unpacked to where the archive says.

The names come from the archive's directory, which stands at its end. An archive that was cut off has none: then the
entries are followed from its start as far as they go.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from osvl_plugins.data.report import Rejected

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
"""Before each entry: signature, version, flags, method, time, date, checksum, packed size, size, lengths of name and
extra field."""
_SIGNATURE = b"PK\3\4"
_ENCRYPTED, _SIZES_FOLLOW, _UTF8 = 0x1, 0x8, 0x800
_ZIP64 = 0xFFFFFFFF


class Member(NamedTuple):
    """An entry of an archive: where it starts and what it must hold."""

    offset: int
    method: int
    packed: int
    size: int
    checksum: int


class Archive(NamedTuple):
    """What can be read from a zip file."""

    file: Path
    members: dict[str, Member]
    ignored: int
    """Entries that are encrypted, packed in an unusual way, or named outside the archive."""
    problem: str | None
    """Why the archive is not whole."""


def open_archive(file: Path) -> Archive:
    """The entries of ``file``; one that is no zip file has none and a ``problem``."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [_listed(info) for info in archive.infolist() if not info.is_dir()]
        problem = None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
        with open(file, "rb") as data:
            entries = list(_followed(data, file.stat().st_size))
        problem = f"{error}; {len(entries)} entries could be found from its start"
    members = {name: member for name, member in entries if member is not None and is_inside(name)}
    return Archive(file, members, len(entries) - len(members), problem)


def is_inside(name: str) -> bool:
    """Whether ``name`` is a path that stays below the folder it is relative to."""
    path = PurePosixPath(name.replace("\\", "/"))
    return not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0] if path.parts else False


def read_member(file: Path, member: Member, limit: int) -> bytes:
    """The content of ``member``, at most ``limit`` bytes; what it unpacks to is never trusted to be what it says.

    Raises ``Rejected``.
    """
    if max(member.size, member.packed) > limit:
        raise Rejected("picture_too_large", f"{member.size} bytes in {file.name}, over {limit}")
    with open(file, "rb") as data:
        data.seek(member.offset)
        header = data.read(_LOCAL.size)
        if len(header) == _LOCAL.size and header.startswith(_SIGNATURE):
            *_, name, extra = _LOCAL.unpack(header)
            data.seek(name + extra, 1)
            packed = data.read(member.packed)
        else:
            packed = b""
    try:
        content = packed
        if member.method == zipfile.ZIP_DEFLATED:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
    except zlib.error as error:
        raise Rejected("picture_unreadable", f"damaged in {file.name}: {error}") from None
    if len(content) != member.size or zlib.crc32(content) != member.checksum:
        raise Rejected("picture_unreadable", f"damaged in {file.name}: not what its checksum says")
    return content


def _listed(info: zipfile.ZipInfo) -> tuple[str, Member | None]:
    member = Member(info.header_offset, info.compress_type, info.compress_size, info.file_size, info.CRC)
    return info.filename, member if _is_readable(info.flag_bits, info.compress_type) else None


def _followed(data: BinaryIO, end: int) -> Iterator[tuple[str, Member | None]]:
    """The entries that lie whole before ``end``, from the file's start."""
    offset = 0
    while len(header := data.read(_LOCAL.size)) == _LOCAL.size:
        signature, _, flags, method, _, _, checksum, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        # Where the sizes follow the content, nothing says where the next entry starts.
        if signature != _SIGNATURE or flags & _SIZES_FOLLOW:
            return
        name = data.read(name_length).decode("utf-8" if flags & _UTF8 else "cp437", "replace")
        extra = data.read(extra_length)
        if _ZIP64 in (packed, size):
            packed, size = _large_sizes(extra, packed, size)
        following = offset + _LOCAL.size + name_length + extra_length + packed
        if following > end:
            return
        if not name.endswith("/"):
            member = Member(offset, method, packed, size, checksum)
            yield name, member if _is_readable(flags, method) else None
        offset = data.seek(following)


def _large_sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """(packed size, size) from the extra field of an entry over 4 GiB; as given when it is not there."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1 and length >= 16 and len(extra) >= 20:
            size, packed = struct.unpack_from("<QQ", extra, 4)
            return packed, size
        extra = extra[4 + length :]
    return packed, size


def _is_readable(flags: int, method: int) -> bool:
    return not flags & _ENCRYPTED and method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
