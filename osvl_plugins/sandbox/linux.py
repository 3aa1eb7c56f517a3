"""The C library and the machine's architecture."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterable

libc = ctypes.CDLL(None, use_errno=True)

MACHINE = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}.get(platform.machine(), "")
"""The architecture by the kernel's name, or "" where the sandbox does not know its system calls."""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38


class Unsupported(Exception):
    """The machine lacks something that isolation needs; the message says what."""


def check(result: int, what: str) -> int:
    """The ``result`` of a C call. Raises ``OSError`` that names ``what`` was tried when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, *values: int) -> None:
    """``prctl(2)``. Raises ``OSError``."""
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    check(libc.prctl(option, *padded), f"prctl {option}")


def close_but(kept: Iterable[int]) -> None:
    """Close every file of this process except those ``kept``. Raises ``OSError``."""
    close_range = ctypes.c_long(436)  # the same on every architecture; not every C library has it
    first = 0
    for number in [*sorted(kept), 2**32 - 1]:
        if first < number:
            check(libc.syscall(close_range, ctypes.c_uint(first), ctypes.c_uint(number - 1), ctypes.c_uint(0)), "close")
        first = number + 1


def memory_file() -> int:
    """A new, empty file in memory without a name, closed on exec. Raises ``OSError``."""
    create = {"x86_64": 319, "aarch64": 279}[MACHINE]  # not every build of Python has os.memfd_create
    return check(libc.syscall(ctypes.c_long(create), b"osvl", ctypes.c_uint(1)), "memfd_create")


def process_file(pid: int) -> int:
    """A file that becomes readable when the process ``pid`` ends, closed on exec. Raises ``OSError``."""
    pidfd_open = ctypes.c_long(434)  # the same on every architecture; not every build of Python has os.pidfd_open
    return check(libc.syscall(pidfd_open, ctypes.c_int(pid), ctypes.c_uint(0)), "pidfd_open")
