"""Locks on files: seen by all processes of a node, freed by the kernel when their holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

_held: set[int] = set()


class FileLock:
    """An exclusive lock on a file of a local folder, held until ``release`` or the death of this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        _held.add(descriptor)

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """The lock on ``path``, made if it is missing; None while somebody holds it, this process included.

        Never waits. Raises ``OSError`` when the file cannot be opened.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A holder may have removed the file between the two calls: then the lock is on nothing that others see.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return cls(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def read(self, size: int) -> bytes:
        """The first ``size`` bytes of the file, fewer if it is shorter."""
        return os.pread(self._descriptor, size, 0)

    def write(self, data: bytes) -> None:
        """Put ``data`` at the start of the file."""
        os.pwrite(self._descriptor, data, 0)

    def release(self, remove: bool = False) -> None:
        """Let others have it; ``remove`` the file as well. Does nothing in a process forked from the holder."""
        if self._descriptor not in _held:
            return
        _held.remove(self._descriptor)
        try:
            if remove:
                with contextlib.suppress(FileNotFoundError):
                    self._path.unlink()
        finally:
            # A process that is just being started has a copy of the descriptor, which would keep the lock.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)


def _leave_to_parent() -> None:
    """A lock lives as long as any copy of its descriptor: a forked child must not outlive its parent with one."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
