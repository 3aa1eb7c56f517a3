"""``Sandbox``: runs code in the fork server, from an event loop that it never blocks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import NamedTuple

from pydantic import Field

from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox import scratch
from osvl_plugins.sandbox.child import DONE, FILE_BYTES, OVER_LIMIT, RAISED
from osvl_plugins.sandbox.connection import END_S, LOST, Pending, ServerProcess
from osvl_plugins.sandbox.linux import memory_file
from osvl_plugins.sandbox.runner import SandboxResult
from osvl_plugins.sandbox.wire import Ended
from osvl_plugins.settings import Settings

MEGABYTE = 2**20
TRACEBACK_CHARS = 4000
"""Most characters kept of a traceback, from its end."""
TOLD_CHARS = 300
"""Most characters of the output that the message of a time-out or a limit repeats."""


class SandboxSettings(Settings):
    """Bounds of a call. Bounds of files and of open files are fixed (``scratch``, ``child``)."""

    timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds that the code may run, by the clock."""
    memory_mb: int = Field(default=512, ge=16)
    """Megabytes that the code may allocate on top of the imported libraries."""
    output_chars: int = Field(default=10_000, ge=100)
    """Most characters kept of the output, from its start."""
    code_chars: int = Field(default=50_000, ge=1)
    """Most characters of the code."""
    processes: int | None = Field(default=None, ge=1, le=128)
    """Most calls that run at once, further ones wait; the number of usable cores when not given."""


class _Files(NamedTuple):
    """Files in memory: the code, what it prints, the traceback."""

    code: int
    output: int
    report: int

    @classmethod
    def written(cls, code: str) -> _Files:
        """New files, ``code`` in the first. Raises ``OSError``."""
        made: list[int] = []
        try:
            for _ in cls._fields:
                made.append(memory_file())
            files = cls(*made)
            left = memoryview(code.encode(errors="surrogatepass"))
            while left:
                left = left[os.write(files.code, left) :]
            os.lseek(files.code, 0, os.SEEK_SET)
        except OSError:
            for file in made:
                os.close(file)
            raise
        return files

    def close(self) -> None:
        for file in self:
            os.close(file)


class Sandbox:
    """The embedded ``CodeRunner``. The server starts with the first call, which waits a second or two for it.

    Use one sandbox on one event loop at a time; a call from another loop starts another server and ends the first one.
    """

    name = "sandbox"

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        self.settings = settings or SandboxSettings()
        self._server: ServerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(1)

    async def run(self, code: str) -> SandboxResult:
        """Run ``code``. Raises ``ToolError``: ``timeout``, ``limit`` or ``unavailable``."""
        if len(code) > self.settings.code_chars:
            raise ToolError("limit", f"the code has {len(code)} characters; at most {self.settings.code_chars} may run")
        server, slots = await self._running()
        await slots.acquire()
        while not server.open:  # it ended while the call waited
            slots.release()
            server, slots = await self._running()
            await slots.acquire()
        try:
            files = _Files.written(code)
        except OSError as error:
            slots.release()
            raise ToolError("unavailable", f"no file in memory for the code: {error}") from error
        try:
            pending = server.run(files)
            pending.ended.add_done_callback(lambda _: slots.release())  # not before the process is gone
            return self._judge(await self._ended(server, pending), files)
        finally:
            files.close()

    async def start(self) -> ServerProcess:
        """Start the server unless it runs. Raises ``ToolError`` (unavailable)."""
        return (await self._running())[0]

    async def _running(self) -> tuple[ServerProcess, asyncio.Semaphore]:
        if sys.platform != "linux":
            raise ToolError("unavailable", f"Python code cannot run safely here: it needs Linux, not {sys.platform}")
        server = self._server
        if server is None or not server.open or server.loop is not asyncio.get_running_loop():
            if server is not None:
                server.close()
            self._server = server = ServerProcess(self.settings.timeout_s, self.settings.memory_mb * MEGABYTE)
            self._starting = asyncio.create_task(server.start())
            self._starting.add_done_callback(_taken)
            self._slots = asyncio.Semaphore(self.settings.processes or len(os.sched_getaffinity(0)))
        slots = self._slots
        if self._starting is not None:
            await asyncio.shield(self._starting)
        return server, slots

    async def _ended(self, server: ServerProcess, pending: Pending) -> Ended:
        # The server keeps the time; this deadline is for a server that does not answer.
        try:
            return await asyncio.wait_for(asyncio.shield(pending.ended), self.settings.timeout_s + END_S)
        except asyncio.TimeoutError:
            server.close()
            return await pending.ended
        finally:
            server.kill(pending.call)

    def _judge(self, ended: Ended, files: _Files) -> SandboxResult:
        output, cut = _start(files.output, self.settings.output_chars)
        report = _end(files.report, TRACEBACK_CHARS)
        printed = f"\nIt had printed:\n{output[:TOLD_CHARS]}" if output else ""
        if ended.stopped == LOST:
            raise ToolError("unavailable", "the Python sandbox ended while the code ran")
        if ended.stopped == "time":
            raise ToolError("timeout", f"the code did not end within {self.settings.timeout_s:g} seconds{printed}")
        if ended.stopped == "files":
            bounds = f"{scratch.MAX_ENTRIES} files or {scratch.MAX_BYTES // MEGABYTE} MB"
            raise ToolError("limit", f"the code made more than {bounds}{printed}")
        if ended.problem:
            raise ToolError("unavailable", f"Python code cannot run safely here: {ended.problem}")
        status = os.waitstatus_to_exitcode(ended.status)
        if status == OVER_LIMIT:
            bounds = f"{self.settings.memory_mb} MB of memory and {FILE_BYTES // MEGABYTE} MB a file or of output"
            raise ToolError("limit", f"the code may use {bounds}.\n{report}{printed}")
        return SandboxResult(output, _error(status, report), cut, ended.wall_s)

    async def aclose(self) -> None:
        """End the server and all calls."""
        if self._server is not None and (thread := self._server.close()) is not None:
            await asyncio.to_thread(thread.join)


def _taken(starting: asyncio.Task[None]) -> None:
    """Whoever waits is told by the task itself; when all were cancelled, asyncio would log its exception as lost."""
    if not starting.cancelled():
        starting.exception()


def _error(status: int, report: str) -> str | None:
    if status == DONE:
        return None
    if status < 0:
        return f"the code crashed: {signal.strsignal(-status)}"
    if status == RAISED and report:
        return report
    return f"the code ended its process with status {status}"


def _start(file: int, limit: int) -> tuple[str, bool]:
    """The first ``limit`` characters of a file that the code could write anything to; and whether there were more."""
    text = _text(os.pread(file, 4 * limit + 4, 0))
    return text[:limit], len(text) > limit


def _end(file: int, limit: int) -> str:
    """The last ``limit`` characters of such a file: a traceback ends with the exception."""
    size = os.fstat(file).st_size
    return _text(os.pread(file, 4 * limit, max(size - 4 * limit, 0)))[-limit:]


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\0", "\\0")
