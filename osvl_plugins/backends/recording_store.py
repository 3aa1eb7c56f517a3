"""Recorded answers on disk: one file an answer, named by what was asked.

A file ``results/ab/abcd…`` or ``failures/ab/abcd…`` holds three lines and the answer:

    osvl-recording 1 <SHA-256 of all that follows, in hex>
    {"failure": null or the error's kind, "size": bytes of the answer, "time": "2026-01-31T12:00:00+00:00"}
    ["provider", {the request}]
    the answer, packed by zlib; of a failure its message

The SHA-256 of the third line, without its end, is the file's name. A file appears whole or not at all, and is checked
whenever it is read. Any number of processes may read and write the same folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple, TypeAlias, Union, get_args

from osvl_plugins.errors import ErrorKind, RecordingError

JSON: TypeAlias = Union[bool, int, float, str, "list[JSON]", "dict[str, JSON]", None]

MAX_BODY_BYTES = 32 * 2**20
"""Bytes of the largest answer."""
MAX_REQUEST_BYTES = 2**20
"""Bytes of the largest request as JSON."""
MAX_FILE_BYTES = MAX_BODY_BYTES + MAX_REQUEST_BYTES + 2**16
"""Bytes of the largest file: what cannot be packed grows by less than 0.1 %."""

_FORMAT = b"osvl-recording 1 "
_NAME = re.compile(r"(results|failures)/([0-9a-f]{2})/\2[0-9a-f]{62}")
_KINDS = get_args(ErrorKind)


class Call(NamedTuple):
    """What was asked. ``line`` is the canonical JSON of ``[provider, request]``, ``key`` its SHA-256 in hex."""

    key: str
    line: bytes

    @classmethod
    def of(cls, provider: str, request: Mapping[str, JSON]) -> Call:
        """The call to ``provider`` that ``request`` identifies; the order of its keys does not matter.

        Raises ``ValueError`` for a request that is not plain JSON (NaN, keys that are not text) or is too large.
        """
        value = [provider, dict(request)]
        try:
            text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            plain = json.loads(text) == value
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"a request to {provider} must be JSON: {error}") from None
        if not plain:
            raise ValueError(f"a request to {provider} must be JSON: only lists, and dicts whose keys are text")
        # Half of a surrogate pair is no UTF-8, but a model may well write one.
        line = text.encode("utf-8", "surrogatepass")
        if len(line) > MAX_REQUEST_BYTES:
            raise ValueError(
                f"a request to {provider} has {len(line)} bytes, over {MAX_REQUEST_BYTES}: put digests of large parts"
            )
        return cls(hashlib.sha256(line).hexdigest(), line)

    @property
    def provider(self) -> str:
        """Printable name of the provider."""
        return _printable(self._parts()[0])

    def request(self, chars: int = 200) -> str:
        """The request as JSON in one printable line of at most ``chars`` characters."""
        text = json.dumps(self._parts()[1], ensure_ascii=False)
        return _printable(text if len(text) <= chars else text[: chars - 1] + "…")

    def is_canonical(self) -> bool:
        """Whether ``line`` is what ``of`` makes, which a line that comes from outside need not be."""
        try:
            return self == Call.of(*self._parts())
        except (TypeError, ValueError, RecursionError):
            return False

    def _parts(self) -> tuple[str, dict[str, JSON]]:
        provider, request = json.loads(self.line.decode("utf-8", "surrogatepass"))
        return provider, request


class Entry(NamedTuple):
    """An answer, or with the kind ``failure`` the message of one (UTF-8)."""

    call: Call
    body: bytes
    failure: ErrorKind | None
    time: str

    @classmethod
    def now(cls, call: Call, body: bytes, failure: ErrorKind | None = None) -> Entry:
        """An entry of this second."""
        return cls(call, body, failure, datetime.now(timezone.utc).isoformat(timespec="seconds"))

    @property
    def name(self) -> str:
        """Path in the store."""
        return _name(self.call.key, self.failure is not None)


class Store:
    """The recordings in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def size(self, key: str, failed: bool = False) -> int | None:
        """Bytes of the file; None if there is none."""
        try:
            return os.stat(self.folder / _name(key, failed)).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordingError(f"{self.folder}: cannot be read ({error})") from error

    def read(self, key: str, failed: bool = False) -> Entry | None:
        """The result, or the failure, recorded for the call ``key``. Raises ``RecordingError``: it is damaged."""
        return self.load(_name(key, failed))

    def load(self, name: str) -> Entry | None:
        """The entry at ``name``; None if there is none. Raises ``RecordingError``: it is damaged."""
        path = self.folder / name
        try:
            with open(path, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
                    raise RecordingError(f"{path}: damaged: over {MAX_FILE_BYTES} bytes")
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read ({error})") from error
        return unpack(data, name, str(path))

    def names(self) -> Iterator[str]:
        """Names of all entries, in order."""
        for kind in ("failures", "results"):
            for shard in _listed(self.folder / kind):
                for file in _listed(self.folder / kind / shard):
                    if is_name(name := f"{kind}/{shard}/{file}"):
                        yield name

    def unfinished(self) -> int:
        """Number of files that are being written, or were when their process was killed."""
        return len(_listed(self.folder / "unfinished"))

    def write(self, entry: Entry) -> None:
        """Keep ``entry`` in place of what was recorded for the same call. Raises ``RecordingError``: it cannot be."""
        path = self.folder / entry.name
        unfinished = self.folder / "unfinished"
        try:
            unfinished.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, unfinished, pack(entry))
        except OSError as error:
            raise RecordingError(f"{path}: cannot be written ({error})") from error


def is_name(text: str) -> bool:
    """Whether ``text`` is the name of an entry."""
    return _NAME.fullmatch(text) is not None


def pack(entry: Entry) -> bytes:
    """The file of ``entry``."""
    head = {"failure": entry.failure, "size": len(entry.body), "time": entry.time}
    rest = b"\n".join((json.dumps(head, sort_keys=True).encode(), entry.call.line, zlib.compress(entry.body)))
    return _FORMAT + hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


def unpack(data: bytes, name: str, where: str) -> Entry:
    """The entry in the file ``name``. Raises ``RecordingError``, which names ``where``, unless all of it is right."""
    first, _, rest = data.partition(b"\n")
    if not first.startswith(_FORMAT):
        raise RecordingError(f"{where}: damaged, or not of the format {_FORMAT.decode().strip()!r}")
    if first[len(_FORMAT) :] != hashlib.sha256(rest).hexdigest().encode():
        raise RecordingError(f"{where}: damaged: its checksum is wrong")
    try:
        head_line, line, packed = rest.split(b"\n", 2)
        head = json.loads(head_line)
        size, failure, time = head["size"], head["failure"], head["time"]
        datetime.fromisoformat(time)
        call = Call(hashlib.sha256(line).hexdigest(), line)
        body = zlib.decompressobj().decompress(packed, MAX_BODY_BYTES + 1)
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        raise RecordingError(f"{where}: damaged ({type(error).__name__}: {error})") from None
    if failure not in (None, *_KINDS) or size != len(body) or size > MAX_BODY_BYTES:
        raise RecordingError(f"{where}: damaged: its head does not fit what it holds")
    entry = Entry(call, body, failure, time)
    if entry.name != name:
        raise RecordingError(f"{where}: damaged: it belongs at {entry.name}")
    return entry


def write_whole(path: Path, beside: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that it is there whole or not at all, by way of ``beside`` on the same disk."""
    descriptor, temporary = tempfile.mkstemp(prefix=f"{path.name[:16]}-", dir=beside)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _printable(text: str) -> str:
    """``text`` without what could steer a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _name(key: str, failed: bool) -> str:
    return f"{'failures' if failed else 'results'}/{key[:2]}/{key}"


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordingError(f"{folder}: cannot be read ({error})") from error
