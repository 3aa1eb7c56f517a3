"""The folder of a call: counted while the code runs, removed after it, whatever the code made of it."""

from __future__ import annotations

import os

MAX_ENTRIES = 1000
MAX_BYTES = 128 * 2**20


def over_limit(folder: str) -> bool:
    """Whether the files under ``folder`` are more or larger than allowed, or cannot be counted.

    Safe while the code changes them: no link is followed and no path of the code's choosing is resolved.
    """
    entries, size = 0, 0
    left = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)]
    try:
        while left:
            parent = left.pop()
            try:
                with os.scandir(parent) as listed:
                    for entry in listed:
                        entries += 1
                        try:
                            status = os.stat(entry.name, dir_fd=parent, follow_symlinks=False)
                            size += status.st_blocks * 512
                            if entry.is_dir(follow_symlinks=False):
                                left.append(_enter(entry.name, parent))
                        except FileNotFoundError:  # the code removed it meanwhile
                            continue
                        if entries > MAX_ENTRIES or size > MAX_BYTES:
                            return True
            finally:
                os.close(parent)
    except OSError:
        return True
    finally:
        for parent in left:
            os.close(parent)
    return False


def _enter(name: str, parent: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def remove(folder: str) -> None:
    """Remove ``folder`` once nothing runs in it. Trees deeper than a path is long are lifted level by level."""
    lifted = 0
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)  # a folder that moves must be writable
                lifted += 1
                os.rename(inner.path, os.path.join(folder, f".lifted-{lifted}"))
            os.rmdir(entry.path)
    os.rmdir(folder)
