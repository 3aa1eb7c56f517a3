"""A running fork server as its owner sees it: its process, its socket and the calls that wait for it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox import scratch
from osvl_plugins.sandbox.wire import PACKET, Ended, Kill, Ready, Refused, Run, decode, encode

logger = logging.getLogger(__name__)

START_S = 60.0
END_S = 5.0

LOST = "lost"
"""``Ended.stopped`` of a call whose server is gone."""

_PROGRAM = (
    "import sys; number, folder, timeout_s, memory_bytes, *sys.path = sys.argv[1:]; "
    "from osvl_plugins.sandbox.server import main; "
    "main(int(number), folder, float(timeout_s), int(memory_bytes))"
)
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # One order of sets, so that a call replays.
    "PYTHONHASHSEED": "0",
    # One thread a library, for a child may not start any.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # All objects in huge pages, where the C library and the kernel know them: a fork copies the page table.
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class Pending(NamedTuple):
    """A call that was sent; ``ended`` never raises."""

    call: int
    ended: asyncio.Future[Ended]


class ServerProcess:
    """A fork server. Belongs to the event loop that it is made on."""

    def __init__(self, timeout_s: float, memory_bytes: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.ready: Ready | None = None
        self.open = True
        """Whether calls can be sent."""
        self._limits = (timeout_s, memory_bytes)
        self._folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._socket, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._greeting: asyncio.Future[Ready | Refused] = self.loop.create_future()
        self._waiting: dict[int, asyncio.Future[Ended]] = {}
        self._calls = 0

    async def start(self) -> None:
        """Start the process and wait until it takes calls. Raises ``ToolError`` (unavailable)."""
        self.loop.add_reader(self._socket, self._receive)
        try:
            await asyncio.to_thread(self._spawn)
            greeting = await asyncio.wait_for(self._greeting, START_S)
            if isinstance(greeting, Refused):
                raise ToolError("unavailable", f"Python code cannot run safely here: {greeting.reason}")
        except asyncio.TimeoutError:
            self.close()
            raise ToolError("unavailable", f"the Python sandbox did not start within {START_S:g} seconds") from None
        except BaseException:
            self.close()
            raise
        self.ready = greeting

    def _spawn(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="osvl-sandbox-")
        path = [entry for entry in sys.path if os.path.isabs(entry) and os.path.exists(entry)]
        given = [self._theirs.fileno(), self._folder, *self._limits, *path]
        with self._theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *map(str, given)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=self._folder,
                env=_ENVIRONMENT,
                pass_fds=[self._theirs.fileno()],
                start_new_session=True,  # Ctrl-C at a terminal is the owner's to handle
            )

    def run(self, files: Sequence[int]) -> Pending:
        """Send a call with its open files. Only while ``open``."""
        self._calls += 1
        pending = Pending(self._calls, self.loop.create_future())
        self._waiting[pending.call] = pending.ended
        self._send(Run(pending.call), files)
        return pending

    def kill(self, call: int) -> None:
        """End a call that nobody waits for any more."""
        if call in self._waiting:
            self._send(Kill(call))

    def _send(self, message: Run | Kill, files: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._socket, [encode(message)], files)
        except OSError as error:
            logger.warning("the Python sandbox takes no calls any more: %s", error)
            self.close()

    def _receive(self) -> None:
        try:
            packet = self._socket.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        message = decode(packet) if packet else None
        if isinstance(message, Ended):
            self._waiting.pop(message.call).set_result(message)
        elif isinstance(message, Ready | Refused):
            if not self._greeting.done():
                self._greeting.set_result(message)
        else:
            self.close()

    def close(self) -> threading.Thread | None:
        """End the server and all its calls; gives the thread that sees to it, or None where that was done before."""
        if not self.open:
            return None
        self.open = False
        if not self.loop.is_closed():
            self.loop.remove_reader(self._socket)
            if not self._greeting.done():
                self._greeting.set_result(Refused("its server ended while it started; see the lines above in the log"))
            for call, future in self._waiting.items():
                future.set_result(Ended(call, 0, LOST, "", 0.0))
        self._waiting.clear()
        self._socket.close()
        thread = threading.Thread(target=self._bury, name="osvl-sandbox-end", daemon=True)
        thread.start()
        return thread

    def _bury(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        deadline = time.monotonic() + END_S
        while os.path.isdir(self._folder):  # a server that was killed left it, and its children are ending
            try:
                scratch.remove(self._folder)
            except OSError as error:
                if time.monotonic() > deadline:
                    logger.warning("%s is left: %s", self._folder, error)
                    return
                time.sleep(0.05)
