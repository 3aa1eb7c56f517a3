"""The fork server: gives up what it can, imports once, checks that isolation holds, then forks a child for every call.

It is a program of its own, started by ``connection.ServerProcess``. It never holds a call's code or output: they lie in
memory files that the owner opens and the child inherits.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import signal
import socket
import sys
import sysconfig
from collections.abc import Mapping
from typing import NoReturn

from osvl_plugins.sandbox import child, landlock, privileges, scratch, seccomp
from osvl_plugins.sandbox.children import Children
from osvl_plugins.sandbox.linux import Unsupported, memory_file, process_file
from osvl_plugins.sandbox.wire import FILES, PACKET, Ended, Kill, Ready, Refused, Run, decode, encode

# fmt: off
STANDARD = (
    "math", "cmath", "statistics", "random", "json", "csv", "re", "string", "datetime", "calendar", "time",
    "fractions", "decimal", "itertools", "functools", "collections", "heapq", "bisect", "operator", "textwrap",
    "dataclasses", "typing", "enum", "copy", "io",
)
# fmt: on
INSTALLED = ("numpy", "sympy", "PIL.Image")
"""Imported where installed."""

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime")
ZONES = "/usr/share/zoneinfo"

SELF_CHECK = b"""
import os, socket
def refused(act, *values):
    try:
        act(*values)
    except OSError:
        return True
assert refused(os.listdir, "/"), "it can list the root folder"
assert refused(open, "/proc/self/environ"), "it can read /proc"
assert refused(open, "../forbidden", "w"), "it can write outside its folder"
assert refused(socket.socket), "it can open a socket"
assert refused(os.fork), "it can fork"
assert refused(os.kill, os.getppid(), 0), "it can signal its parent"
open("own", "w").close()
"""


def main(number: int, folder: str, timeout_s: float, memory_bytes: int) -> NoReturn:
    """Serve the owner at the other end of the socket with the file number ``number`` until it is gone.

    ``folder`` is an empty folder for the calls' files; it is removed at the end.
    """
    owner = socket.socket(fileno=number)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        abi = landlock.version()
        calls = seccomp.Filter()
        owner_ended = process_file(os.getppid())
        packages = installed()
        paths = readable(packages)
        privileges.renounce_root([*paths, *packages.values()], folder)
        names, flags = privileges.namespaces()
        if flags:
            privileges.enter(flags)
            privileges.become_first()
        for name in (*STANDARD, *packages):
            importlib.import_module(name)
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed(0)
        files = [landlock.rule(path, landlock.READ) for path in paths]
        rules = child.Rules(files, abi, calls, privileges.mapped() + memory_bytes, os.getpid())
        children = Children(folder, timeout_s, rules)
        check(children)
    except (Unsupported, OSError, ImportError) as missing:
        scratch.remove(folder)
        with contextlib.suppress(ConnectionError):
            owner.send(encode(Refused(str(missing))))
        sys.exit(1)
    children.prepare()
    serve(owner, owner_ended, children, Ready(names, abi, ", ".join(packages)))
    children.close()
    scratch.remove(folder)
    os._exit(0)


def installed() -> dict[str, str]:
    """The packages to import, and the file where each begins."""
    found = {name: importlib.util.find_spec(name.partition(".")[0]) for name in INSTALLED}
    return {name: spec.origin for name, spec in found.items() if spec is not None and spec.origin is not None}


def readable(packages: Mapping[str, str]) -> list[str]:
    """Files and folders that code may read: Python's libraries, what they link to, time zones."""
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    python += [os.path.join(prefix, "lib") for prefix in (sys.prefix, sys.base_prefix)]
    python += [os.path.dirname(os.path.dirname(origin)) for origin in packages.values()]
    return [path for path in dict.fromkeys([*python, *SYSTEM, ZONES]) if os.path.exists(path)]


def check(children: Children) -> None:
    """Raises ``Unsupported`` unless a child finds itself isolated."""
    files = [memory_file() for _ in range(FILES)]
    report = os.dup(files[-1])
    os.pwrite(files[0], SELF_CHECK, 0)
    children.start(0, files)
    ended: list[Ended] = []
    while not ended:
        children.selector.select(children.patience())
        ended = children.collect()
    told = os.pread(report, 4096, 0).decode(errors="replace").rpartition("AssertionError: ")[2]
    os.close(report)
    if ended[0].status != child.DONE or ended[0].problem:
        raise Unsupported(f"code in it is not isolated: {ended[0].problem or told or ended[0].status}")


def serve(owner: socket.socket, owner_ended: int, children: Children, ready: Ready) -> None:
    """Say ``ready`` and run the owner's calls until it is gone, which it may be at once."""
    children.selector.register(owner, selectors.EVENT_READ)
    children.selector.register(owner_ended, selectors.EVENT_READ)
    with contextlib.suppress(ConnectionError):
        owner.send(encode(ready))
        while True:
            for key, _ in children.selector.select(children.patience()):
                if key.fd == owner_ended:
                    return
                if key.fileobj is owner and not obey(owner, children):
                    return
            for ended in children.collect():
                owner.send(encode(ended))


def obey(owner: socket.socket, children: Children) -> bool:
    """Take one message; false when the owner closed the connection."""
    packet, files, _, _ = socket.recv_fds(owner, PACKET, FILES)
    if not packet:
        return False
    message = decode(packet)
    if isinstance(message, Run):
        children.start(message.call, files)
        os.sched_yield()  # the call's child first, where cores are few
        children.prepare()
    elif isinstance(message, Kill):
        children.stop(message.call, "unwanted")
    return True
