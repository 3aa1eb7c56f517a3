"""The filter's program, read as the kernel would run it, for both processors."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

import pytest

from osvl_plugins.sandbox import seccomp

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def verdict(machine: str, number: int, arguments: Sequence[int] = (), architecture: int | None = None) -> int:
    """What the program for ``machine`` returns for a system call."""
    data = {0: number, 4: MACHINES[machine] if architecture is None else architecture}
    for place, argument in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        data[16 + 8 * place] = argument & 0xFFFFFFFF
        data[20 + 8 * place] = argument >> 32 & 0xFFFFFFFF
    steps, place, accumulator = seccomp.program(machine), 0, 0
    while True:
        op = steps[place]
        place += 1
        if op.code == 0x20:
            accumulator = data[op.value]
        elif op.code == 0x54:
            accumulator &= op.value
        elif op.code == 0x06:
            return op.value
        else:
            assert op.code in (0x15, 0x45)
            holds = accumulator == op.value if op.code == 0x15 else bool(accumulator & op.value)
            place += op.yes if holds else op.no


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_one_that_the_kernel_takes(machine: str) -> None:
    steps = seccomp.program(machine)
    assert len(steps) <= 4096
    for place, op in enumerate(steps):
        assert max(op.yes, op.no) <= 255
        assert place + 1 + max(op.yes, op.no) < len(steps) or op.code == 0x06


@pytest.mark.parametrize(
    ("machine", "read", "openat", "socket", "execve"), [("x86_64", 0, 257, 41, 59), ("aarch64", 63, 56, 198, 221)]
)
def test_files_are_allowed_and_sockets_and_programs_are_not(
    machine: str, read: int, openat: int, socket: int, execve: int
) -> None:
    assert verdict(machine, read) == ALLOW
    assert verdict(machine, openat) == ALLOW
    assert verdict(machine, socket) == REFUSE
    assert verdict(machine, execve) == REFUSE


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_that_no_kernel_has_yet_are_refused(machine: str) -> None:
    assert {verdict(machine, number) for number in range(470, 1500)} == {REFUSE}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_kills(machine: str) -> None:
    assert verdict(machine, 0, architecture=0x40000003) == KILL


@pytest.mark.parametrize(("machine", "openat"), [("x86_64", 257), ("aarch64", 56)])
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (os.O_RDONLY, ALLOW),
        (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ALLOW),
        (os.O_RDWR | os.O_TRUNC, ALLOW),
        (os.O_RDONLY | os.O_TRUNC, REFUSE),
        (os.O_ACCMODE | os.O_TRUNC, REFUSE),
        (os.O_ACCMODE, ALLOW),
    ],
)
def test_truncation_needs_plain_write_access(machine: str, openat: int, flags: int, expected: int) -> None:
    assert verdict(machine, openat, (0, 0, flags)) == expected


@pytest.mark.parametrize(("machine", "prlimit"), [("x86_64", 302), ("aarch64", 261)])
@pytest.mark.parametrize(("new", "expected"), [(0, ALLOW), (1, REFUSE), (1 << 32, REFUSE), (0x7FFF00000000, REFUSE)])
def test_limits_are_read_and_not_set(machine: str, prlimit: int, new: int, expected: int) -> None:
    assert verdict(machine, prlimit, (0, 9, new, 1)) == expected


@pytest.mark.parametrize(("machine", "kill"), [("x86_64", 62), ("aarch64", 129)])
@pytest.mark.parametrize(("target", "expected"), [(0xFFFFFFFF, ALLOW), (1, REFUSE), (0, REFUSE)])
def test_signals_go_to_the_process_itself(machine: str, kill: int, target: int, expected: int) -> None:
    """The program before it is installed has ``0xFFFFFFFF`` in the place of the process."""
    assert verdict(machine, kill, (target, 9)) == expected
