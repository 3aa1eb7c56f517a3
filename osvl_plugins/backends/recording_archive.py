"""Recordings in one file, to carry a frozen world elsewhere.

The archive is a gzipped tar of the store's files under their names there, in order, with neutral owners and times: the
same recordings give the same bytes (with the same zlib).
"""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from osvl_plugins.backends.recording_store import (
    MAX_FILE_BYTES,
    Entry,
    Store,
    is_name,
    pack,
    unpack,
)
from osvl_plugins.errors import OsvlError, RecordingError


class Imported(NamedTuple):
    """Numbers of recordings that were added, and that were there already."""

    added: int
    known: int


def export_archive(store: Store, file: Path) -> int:
    """Write all recordings of ``store`` to ``file``; gives their number.

    ``file`` appears whole or not at all. Raises ``RecordingError`` for the first damaged recording, and ``OsvlError``
    when there is none to export or ``file`` cannot be written.
    """
    count = 0
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        try:
            with (
                open(descriptor, "wb") as raw,
                gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
            ):
                for name in store.names():
                    if (entry := store.load(name)) is None:
                        continue
                    data = pack(entry)
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, BytesIO(data))
                    count += 1
            if not count:
                raise OsvlError(f"{store.folder}: there are no recordings to export")
            os.chmod(temporary, 0o644)
            os.replace(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OsvlError(f"{file}: cannot be written ({error})") from error
    return count


def import_archive(store: Store, file: Path) -> Imported:
    """Add the recordings in ``file`` to ``store``. Damaged ones of ``store`` are replaced.

    All of ``file`` is checked before anything is written. Raises ``OsvlError`` when it is no archive of recordings,
    holds a damaged one, or one that differs from what ``store`` has for the same call.
    """
    names: set[str] = set()
    new: set[str] = set()
    for entry in _entries(file):
        if entry.name in names:
            raise OsvlError(f"{file}: holds {entry.name} twice; import only what was exported")
        if not _is_known(store, entry, file):
            new.add(entry.name)
        names.add(entry.name)
    if not names:
        raise OsvlError(f"{file}: holds no recordings; import only what was exported")
    for entry in _entries(file):
        if entry.name in new:
            store.write(entry)
    return Imported(len(new), len(names) - len(new))


def _is_known(store: Store, entry: Entry, file: Path) -> bool:
    try:
        there = store.load(entry.name)
    except RecordingError:
        return False
    if there is None:
        return False
    if (there.body, there.failure) != (entry.body, entry.failure):
        raise OsvlError(
            f"{file}: {entry.call.provider} {entry.call.request()} was answered differently there than in "
            f"{store.folder}; import into another folder, or remove {store.folder / entry.name} to take the one there"
        )
    return True


def _entries(file: Path) -> Iterator[Entry]:
    """Every member of the archive, checked; the archive is never unpacked to where it says."""
    try:
        with gzip.open(file) as packed:
            while (header := packed.read(tarfile.BLOCKSIZE)).strip(b"\0"):
                # Only what ``export_archive`` writes is read: no links, no long names, nothing of unknown size.
                member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
                where = f"{file}: {member.name!r}"
                if member.type != tarfile.REGTYPE or not is_name(member.name):
                    raise OsvlError(f"{where} is no recording; import only what was exported")
                if not 0 <= member.size <= MAX_FILE_BYTES:
                    raise OsvlError(f"{where} is over {MAX_FILE_BYTES} bytes")
                entry = unpack(packed.read(member.size), member.name, where)
                if not entry.call.is_canonical():
                    raise OsvlError(f"{where} is no recording: its request is not in canonical form")
                packed.read(-member.size % tarfile.BLOCKSIZE)
                yield entry
            # The end of the archive is not the end of the file: only there its checksum is compared.
            while packed.read(2**16):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError, UnicodeError) as error:
        raise OsvlError(f"{file}: cannot be read as an exported archive ({error})") from error
