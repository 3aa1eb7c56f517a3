"""Landlock: which files a process may still touch, without privileges (Linux 5.13, landlock(7))."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence

from osvl_plugins.sandbox.linux import Unsupported, check, libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_FLAG = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14

_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_RIGHTS = 0b11  # bind and connect TCP, since ABI 4
_SCOPES = 0b11  # abstract unix sockets and signals, since ABI 6

READ = _READ_FILE | _READ_DIR
WRITE = _WRITE_FILE | _TRUNCATE
SCRATCH = READ | WRITE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
_ON_FILES = _READ_FILE | WRITE


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's landlock ABI, at least 1. Raises ``Unsupported``."""
    found = libc.syscall(
        ctypes.c_long(_CREATE_RULESET), ctypes.c_void_p(None), ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)
    )
    if found >= 1:
        return int(found)
    number = ctypes.get_errno()
    if number == errno.EOPNOTSUPP:
        raise Unsupported("landlock is switched off; boot the kernel with landlock in its lsm= list")
    raise Unsupported(
        f"no landlock ({os.strerror(number)}); it needs Linux 5.13 or newer and a container that does not forbid it"
    )


def restrict(rules: Sequence[tuple[int, int]], abi: int) -> None:
    """Leave this process only ``rules``: pairs of a file descriptor (of a file or a folder) and its rights.

    ``no_new_privs`` must be set. Raises ``OSError``.
    """
    handled = _FILE_RIGHTS[min(abi, 5)]
    ruleset = _Ruleset(handled, _NET_RIGHTS if abi >= 4 else 0, _SCOPES if abi >= 6 else 0)
    made = check(
        libc.syscall(
            ctypes.c_long(_CREATE_RULESET),
            ctypes.byref(ruleset),
            ctypes.c_size_t(ctypes.sizeof(ruleset)),
            ctypes.c_uint32(0),
        ),
        "landlock_create_ruleset",
    )
    for parent, rights in rules:
        rule = _PathRule(rights & handled, parent)
        added = libc.syscall(
            ctypes.c_long(_ADD_RULE),
            ctypes.c_int(made),
            ctypes.c_int(_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
        check(added, "landlock_add_rule")
    check(libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(made), ctypes.c_uint32(0)), "landlock_restrict_self")
    os.close(made)


def rule(path: str, rights: int) -> tuple[int, int]:
    """``rights`` on the file ``path``, or on all that lies under it, for ``restrict``. Raises ``OSError``."""
    return os.open(path, os.O_PATH | os.O_CLOEXEC), rights if os.path.isdir(path) else rights & _ON_FILES
