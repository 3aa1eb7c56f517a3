"""The process of one call: isolates itself, runs the code, tells how it went, ends."""

from __future__ import annotations

import ast
import contextlib
import errno
import io
import linecache
import math
import os
import random
import socket
import sys
import traceback
import types
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from osvl_plugins.sandbox import landlock, privileges, seccomp
from osvl_plugins.sandbox.linux import close_but
from osvl_plugins.sandbox.wire import FILES, PACKET

DONE, RAISED, OVER_LIMIT = 0, 1, 3
"""Exit statuses: the code ended, raised, or met a limit of memory or file size."""

FILE_BYTES = 16 * 2**20
OPEN_FILES = 32
NAME = "<code>"

ISOLATED = b"isolated"
"""What a child says when its isolation is complete, before it has seen any code."""

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


class Rules(NamedTuple):
    """What every child gets alike.

    ``readable`` are landlock rules for the kernel's landlock ``abi``; ``address_space`` is the most that a child may
    map, in bytes; ``server`` is the process id of its parent.
    """

    readable: Sequence[tuple[int, int]]
    abi: int
    calls: seccomp.Filter
    address_space: int
    server: int


def main(channel: socket.socket, folder: str, timeout_s: float, rules: Rules) -> NoReturn:
    """Be the process of one call, in a fresh fork of the server, and end.

    The call comes through ``channel`` as three open files: its code, what it prints, and its traceback.
    """
    status = RAISED
    try:
        try:
            confine(channel, folder, timeout_s, rules)
            _execute("None", {})  # touches, and so copies, the pages that running code will need
            code, output, report = _receive(channel)
            rules.calls.install(os.getpid())
        except BaseException as error:
            os.write(channel.fileno(), f"{type(error).__name__}: {error}".encode(errors="replace"))
            raise
        os.write(channel.fileno(), ISOLATED)
        channel.close()
        os.dup2(output, _OUTPUT)
        os.dup2(output, _ERRORS)
        os.close(output)
        with open(code, encoding="utf-8", errors="surrogatepass", newline="") as file:
            text = file.read()
        status = run(text, report)
    finally:
        os._exit(status)


def confine(channel: socket.socket, folder: str, timeout_s: float, rules: Rules) -> None:
    """Give up everything but ``channel`` and the system calls that it needs. Raises ``OSError``."""
    os.setsid()
    os.chdir(folder)
    os.umask(0o077)
    os.environ["HOME"] = os.environ["TMPDIR"] = folder
    random.seed(0)  # fork reseeds it
    privileges.drop_capabilities()
    privileges.die_with(rules.server)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in (_INPUT, _OUTPUT, _ERRORS):
        os.dup2(null, number)
    writable = [landlock.rule(folder, landlock.SCRATCH), landlock.rule(os.devnull, landlock.READ | landlock.WRITE)]
    landlock.restrict([*rules.readable, *writable], rules.abi)
    close_but((_INPUT, _OUTPUT, _ERRORS, channel.fileno()))
    privileges.limit(rules.address_space, math.ceil(timeout_s) + 1, FILE_BYTES, OPEN_FILES)


def _receive(channel: socket.socket) -> list[int]:
    """The files of the call, or the end where the server has no call any more."""
    packet, files, _, _ = socket.recv_fds(channel, PACKET, FILES)
    if not packet:
        os._exit(RAISED)
    return files


def run(code: str, report: int) -> int:
    """Run ``code`` as a script, show the value of a last expression, write a traceback to the file ``report``.

    Returns the exit status.
    """
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(_INPUT)), encoding="utf-8")
    sys.stdout = _writer(_OUTPUT)
    sys.stderr = _writer(_ERRORS)
    sys.argv = [NAME]
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    linecache.cache[NAME] = (len(code), None, code.splitlines(keepends=True), NAME)
    status = DONE
    streams = sys.stdout, sys.stderr
    try:
        _execute(code, module.__dict__)
        for stream in streams:
            stream.flush()
    except BaseException as error:
        status = _tell(error, module.__dict__, report)
    with contextlib.suppress(BaseException):  # what it printed before it met a limit
        for stream in streams:
            stream.flush()
    return status


def _writer(number: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(number, "w")), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def _execute(code: str, names: dict[str, object]) -> None:
    tree = ast.parse(code, NAME)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NAME, "exec", dont_inherit=True), names)
    if isinstance(last, ast.Expr):
        value = eval(compile(ast.Expression(last.value), NAME, "eval", dont_inherit=True), names)
        if value is not None:
            print(repr(value))


def _tell(error: BaseException, names: dict[str, object], report: int) -> int:
    """Write the traceback, shortened to the code's own lines; returns the exit status."""
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return DONE
    out_of_memory = isinstance(error, MemoryError)
    if out_of_memory:  # there is no room to tell it while the code's objects live
        traceback.clear_frames(error.__traceback__)
        names.clear()
    told = traceback.TracebackException.from_exception(error, compact=True)
    _keep_own_lines(told)
    os.write(report, "".join(told.format()).strip().encode(errors="backslashreplace"))
    too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
    return OVER_LIMIT if out_of_memory or too_large else RAISED


def _keep_own_lines(told: traceback.TracebackException) -> None:
    parts = [told]
    while parts:
        part = parts.pop()
        part.stack[:] = [frame for frame in part.stack if frame.filename == NAME]
        linked = [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
        parts += [other for other in linked if other is not None]
