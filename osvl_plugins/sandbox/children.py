"""The children: prepared ahead, given their call, timed, watched, buried."""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from osvl_plugins.sandbox import child, scratch
from osvl_plugins.sandbox.linux import process_file
from osvl_plugins.sandbox.wire import PACKET, Ended

WATCH_S = 0.05
"""How often the files of running calls are counted."""

SPARES = 2
"""Children kept ready, so that a call does not wait for a fork. Each serves one call and holds nothing of another."""


@dataclass
class _Child:
    pid: int
    over: int  # becomes readable when it ends
    channel: socket.socket  # takes the call's files; then holds what the child said of its isolation
    folder: str
    started: float = 0.0
    stopped: str = ""


class Children:
    """Children of this process, by the number of their call, and a selector that wakes when one ends."""

    def __init__(self, folder: str, timeout_s: float, rules: child.Rules) -> None:
        self.selector = selectors.DefaultSelector()
        self._folder = folder
        self._timeout_s = timeout_s
        self._rules = rules
        self._spares: list[_Child] = []
        self._running: dict[int, _Child] = {}
        self._forked = 0
        self._watched = 0.0
        gc.disable()
        gc.freeze()  # a collection in a child would write to, and so copy, the pages of everything imported

    def start(self, call: int, files: Sequence[int]) -> None:
        """Give the call to a child; the open files (code, output, report) are the child's from now on."""
        chosen = self._spares.pop() if self._spares else self._fork()
        chosen.started = time.monotonic()
        self._running[call] = chosen
        try:
            socket.send_fds(chosen.channel, [b"run"], files)
        except ConnectionError:  # it ended before its time; ``collect`` says why
            self.stop(call, "")
        for file in files:
            os.close(file)

    def prepare(self) -> None:
        """Fork children for the calls to come. Raises ``OSError``."""
        while len(self._spares) < SPARES:
            self._spares.append(self._fork())

    def _fork(self) -> _Child:
        self._forked += 1
        folder = os.path.join(self._folder, str(self._forked))
        os.mkdir(folder, 0o700)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            child.main(theirs, folder, self._timeout_s, self._rules)
        theirs.close()
        ours.setblocking(False)
        forked = _Child(pid, process_file(pid), ours, folder)
        self.selector.register(forked.over, selectors.EVENT_READ)
        return forked

    def stop(self, call: int, reason: str) -> None:
        """Kill the call's child, if there is one; ``collect`` gives it with this ``reason``."""
        running = self._running.get(call)
        if running is not None and not running.stopped:
            running.stopped = reason
            os.kill(running.pid, signal.SIGKILL)

    def patience(self) -> float | None:
        """Seconds after which ``collect`` has something to look after, or None where no child runs."""
        return WATCH_S if self._running else None

    def collect(self) -> list[Ended]:
        """Stop children that are over a limit, and give the calls that have ended."""
        now = time.monotonic()
        watch = now - self._watched >= WATCH_S
        if watch:
            self._watched = now
        ended = []
        for call, running in list(self._running.items()):
            pid, status = os.waitpid(running.pid, os.WNOHANG)
            if pid:
                del self._running[call]
                wall_s = now - running.started
                ended.append(Ended(call, status, running.stopped, self._bury(running), wall_s))
            elif now - running.started >= self._timeout_s:
                self.stop(call, "time")
            elif watch and now - running.started >= WATCH_S and scratch.over_limit(running.folder):
                self.stop(call, "files")
        for spare in list(self._spares):
            if os.waitpid(spare.pid, os.WNOHANG)[0]:
                self._spares.remove(spare)
                self._bury(spare)
        return ended

    def _bury(self, dead: _Child) -> str:
        """Remove what is left of a child that was waited for; gives what was wrong with its isolation, or ""."""
        self.selector.unregister(dead.over)
        os.close(dead.over)
        said = _said(dead.channel)
        dead.channel.close()
        scratch.remove(dead.folder)
        return "" if said == child.ISOLATED else said.decode(errors="replace") or "it ended while it isolated itself"

    def close(self) -> None:
        """Kill all children and wait for their end."""
        for left in (*self._running.values(), *self._spares):
            os.kill(left.pid, signal.SIGKILL)
            os.waitpid(left.pid, 0)
            self._bury(left)
        self._running.clear()
        self._spares.clear()


def _said(channel: socket.socket) -> bytes:
    """What the child at the other end said before it ended."""
    for _ in range(2):  # a child that did not take its call resets the connection, and that is told first
        try:
            return channel.recv(PACKET)
        except BlockingIOError:
            break
        except ConnectionError:
            continue
    return b""
