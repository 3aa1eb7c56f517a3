"""Seccomp: the system calls that are left to a child, as a BPF program (seccomp(2)).

An allow-list: what is not named here, and what later kernels add, is refused with ``EPERM``. Refused are in
particular sockets, processes and threads, programs, other processes' memory and signals, links, modes, owners, times
and attributes of files, memory files, limits, identities, namespaces, mounts, keys, tracing, bpf, io_uring and
userfaultfd.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from osvl_plugins.sandbox.linux import MACHINE, Unsupported, check, libc

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD, _EQUAL, _SET, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ITSELF = 0xFFFFFFFF  # stands for the id of the process; no id and no system call

# Name: number on x86_64, number on aarch64; None where the architecture has no such call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # open files
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "preadv": (295, 69),
    "pwritev": (296, 70),
    "close": (3, 57),
    "close_range": (436, 436),
    "lseek": (8, 62),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fadvise64": (221, 223),
    "sendfile": (40, 71),
    "copy_file_range": (326, 285),
    # files by name; landlock says which
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getdents": (78, None),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "umask": (95, 166),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    # memory
    "brk": (12, 214),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "msync": (26, 227),
    # signals to oneself
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "alarm": (37, None),
    "pause": (34, None),
    # time and waiting
    "time": (201, None),
    "times": (100, 153),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    # who am I
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getppid": (110, 173),
    "getpgrp": (111, None),
    "getpgid": (121, 155),
    "getsid": (124, 156),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "getcpu": (309, 168),
    "getrandom": (318, 278),
    # the C library's own
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "get_robust_list": (274, 100),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "wait4": (61, 260),
    "exit": (60, 93),
    "exit_group": (231, 94),
}

_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # duplicate, flags and locks; not: owners, leases, notifications, seals
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # is it a terminal, its size, bytes to read, flags


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


class _Op(NamedTuple):
    code: int
    value: int
    yes: int = 0
    no: int = 0


_REFUSE = _Op(_RETURN, _ERROR | errno.EPERM)
_PASS = _Op(_RETURN, _ALLOW)


def _low(argument: int) -> _Op:
    """Load the lower half of an argument: all that the kernel reads of a 32-bit one (little-endian)."""
    return _Op(_LOAD, _ARGUMENTS + 8 * argument)


def _one_of(argument: int, values: tuple[int, ...]) -> list[_Op]:
    steps = [_low(argument)]
    for value in values:
        steps += [_Op(_EQUAL, value, 0, 1), _PASS]
    return [*steps, _REFUSE]


def _null(argument: int) -> list[_Op]:
    high = _Op(_LOAD, _ARGUMENTS + 8 * argument + 4)
    return [_low(argument), _Op(_EQUAL, 0, 0, 3), high, _Op(_EQUAL, 0, 0, 1), _PASS, _REFUSE]


def _no_blind_truncation(argument: int) -> list[_Op]:
    """O_TRUNC without plain write access truncates too, and landlock sees that only since its third ABI."""
    truncate, access = _Op(_SET, os.O_TRUNC, 0, 4), _Op(_AND, os.O_ACCMODE)
    write, both = _Op(_EQUAL, os.O_WRONLY, 2, 0), _Op(_EQUAL, os.O_RDWR, 1, 0)
    return [_low(argument), truncate, access, write, both, _REFUSE, _PASS]


def _missing() -> list[_Op]:
    """The C library falls back to an older call on ENOSYS, and to an error on anything else."""
    return [_Op(_RETURN, _ERROR | errno.ENOSYS)]


_JUDGED: list[tuple[tuple[int | None, int | None], Callable[[], list[_Op]]]] = [
    ((2, None), lambda: _no_blind_truncation(1)),  # open
    ((257, 56), lambda: _no_blind_truncation(2)),  # openat
    ((72, 25), lambda: _one_of(1, _FCNTL)),  # fcntl
    ((16, 29), lambda: _one_of(1, _IOCTL)),  # ioctl
    ((62, 129), lambda: _one_of(0, (_ITSELF,))),  # kill
    ((200, 130), lambda: _one_of(0, (_ITSELF,))),  # tkill
    ((234, 131), lambda: _one_of(0, (_ITSELF,))),  # tgkill
    ((302, 261), lambda: _null(2)),  # prlimit64: reading a limit
    ((435, 435), _missing),  # clone3
]
"""Calls that are allowed by their arguments."""


def supported() -> None:
    """Raises ``Unsupported`` where the filter cannot be installed."""
    if MACHINE not in _ARCHITECTURES:
        raise Unsupported(f"the processor must be one of {', '.join(_ARCHITECTURES)}")
    # A filter at no address is refused as a bad address where filters exist.
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), None, 0, 0) < 0:
        number = ctypes.get_errno()
        if number != errno.EFAULT:
            raise Unsupported(f"no seccomp filters ({os.strerror(number)}); the kernel needs CONFIG_SECCOMP_FILTER")


def program(machine: str) -> list[_Op]:
    """The filter for a ``machine``, with ``_ITSELF`` where the id of the filtered process belongs."""
    column = list(_ARCHITECTURES).index(machine)
    steps = [
        _Op(_LOAD, _ARCHITECTURE),
        _Op(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _Op(_RETURN, _KILL),
        _Op(_LOAD, _NUMBER),
    ]
    for numbers in _ALLOWED.values():
        if (number := numbers[column]) is not None:
            steps += [_Op(_EQUAL, number, 0, 1), _PASS]
    for numbers, judge in _JUDGED:
        if (number := numbers[column]) is not None:
            block = judge()
            steps += [_Op(_EQUAL, number, 0, len(block)), *block]
    return [*steps, _REFUSE]


class Filter:
    """The filter of this machine, compiled once. Raises ``Unsupported`` where it cannot be installed."""

    def __init__(self) -> None:
        supported()
        steps = program(MACHINE)
        self._instructions = (_Instruction * len(steps))(
            *(_Instruction(op.code, op.yes, op.no, op.value) for op in steps)
        )
        self._program = _Program(len(steps), self._instructions)
        self._own = [place for place, op in enumerate(steps) if op.value == _ITSELF]

    def install(self, pid: int) -> None:
        """Filter this process, whose id is ``pid``, from now on. ``no_new_privs`` must be set. Raises ``OSError``."""
        for place in self._own:
            self._instructions[place].value = pid
        mode = ctypes.c_ulong(_MODE_FILTER)
        check(libc.prctl(_PR_SET_SECCOMP, mode, ctypes.byref(self._program), 0, 0), "seccomp filter")
