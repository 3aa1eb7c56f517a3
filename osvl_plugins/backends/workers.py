"""Warm processes for work that is heavy, native or must be stoppable: OCR and super-resolution.

Each process is a fresh interpreter on the other end of a socket pair, started by the first job that finds none idle.
It runs one job at a time and keeps what the job's module caches. A job whose awaiter is cancelled (a deadline, the
end of an episode) loses its process at once, by SIGKILL; the next job starts another.

``multiprocessing`` is not used for the processes: its spawned children import the owner's main module again, which
runs a script without a guard twice and loads Ray and verl into every child of a Ray worker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from pydantic import Field

from osvl_plugins.errors import ErrorKind, ToolError
from osvl_plugins.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The jobs are many and small: parallelism is processes, and a library that spins up a thread per core would only
# slow the others down. Nothing here may take memory of a GPU.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
_START = "import sys; sys.path[:] = sys.argv[2:]; from osvl_plugins.backends import workers; workers.serve()"


class WorkerSettings(Settings):
    """How many processes there are, and how many jobs may wait for one."""

    processes: int = Field(default_factory=lambda: max(1, min(4, (os.cpu_count() or 1) // 2)), ge=1)
    """Most processes of one owner: a process outside verl, and in verl a node."""
    waiting: int = Field(default=256, ge=0)
    """Most jobs that wait for a process; one more is refused as ``rate_limited``."""


class Workers(Protocol):
    """Runs functions elsewhere."""

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """``function(*args)``, off this process.

        ``function`` is importable by its name; arguments and result can be pickled. Cancelling kills the job. Raises
        the function's own ``ToolError``; any other end of the job is a ``ToolError`` too.
        """
        ...


class ProcessWorkers:
    """``Workers`` as processes of this machine. They end when ``close`` is called or their owner dies."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.processes, thread_name_prefix="osvl-worker")
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._jobs: set[_Job] = set()
        self._closed = False

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """As ``Workers.run``.

        ``rate_limited``: too many jobs wait. ``unavailable``: no process could be started, or ``close`` was called.
        ``failed``: the process died (a crash, the kernel's OOM killer) or the function raised something else.
        """
        job = _Job(function, args)
        with self._lock:
            if self._closed:
                raise _closed()
            if len(self._jobs) >= self._settings.processes + self._settings.waiting:
                raise ToolError("rate_limited", f"{len(self._jobs)} jobs are already running or waiting")
            self._jobs.add(job)
            future = self._threads.submit(self._work, job)
        try:
            result: T = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            job.cancel()
            raise
        finally:
            with self._lock:
                self._jobs.discard(job)
        return result

    def close(self) -> None:
        """Kill the processes and refuse further jobs; those that run or wait end as ``ToolError``."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            jobs = tuple(self._jobs)
        self._threads.shutdown(wait=False)
        for job in jobs:
            job.cancel()
        for process in idle:
            process.end()

    def _work(self, job: _Job) -> Any:
        """Run ``job`` in an idle process or a new one; blocks."""
        if self._closed:
            raise _closed()
        process = self._take()
        try:
            reply = job.run(process)
        except BaseException:
            process.end()
            raise
        with self._lock:
            keep = not self._closed
            if keep:
                self._idle.append(process)
        if not keep:
            process.end()
        return reply.result()

    def _take(self) -> _Process:
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
            if process is None:
                return _Process()
            if process.alive:
                return process


class _Job:
    """A call on its way: cancelled before, while or after it holds a process."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._cancelled = False

    def run(self, process: _Process) -> _Reply:
        with self._lock:
            if self._cancelled:
                return _Reply(error=("unavailable", "the job was cancelled"))
            self._process = process
        try:
            return process.call(self.function, self.args)
        finally:
            with self._lock:
                self._process = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()


@dataclass(frozen=True)
class _Reply:
    """What a process answers: a value, or why there is none."""

    value: Any = None
    error: tuple[ErrorKind, str] | None = None
    trace: str = ""

    def result(self) -> Any:
        if self.error is None:
            return self.value
        if self.trace:
            logger.error("a job broke in its worker process\n%s", self.trace)
        raise ToolError(*self.error)


class _Process:
    """One worker process, seen from its owner."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), *sys.path],
                env={**os.environ, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # what a library prints must not end up in the owner's output
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C at a terminal is the owner's affair
            )
        except OSError as error:
            ours.close()
            raise ToolError("unavailable", f"no worker process could be started: {error}") from error
        finally:
            theirs.close()
        self._connection = Connection(ours.detach())

    @property
    def alive(self) -> bool:
        # Something to read from an idle process can only be the end of its connection.
        return self._popen.poll() is None and not self._connection.poll()

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> _Reply:
        """Blocks until the process has answered. A reply that is an error leaves the process usable."""
        request = pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)
        try:
            self._connection.send_bytes(request)
            reply: _Reply = pickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise ToolError("failed", f"the worker process {_explain(self._exit_code())}") from error
        return reply

    def kill(self) -> None:
        """Send SIGKILL; does not wait."""
        self._popen.kill()

    def end(self) -> None:
        """Make sure that the process is gone."""
        self._popen.kill()
        self._popen.wait()

    def _exit_code(self) -> int:
        """Exit code of a process that hung up; negative: the signal that ended it."""
        try:
            # Its connection closes a moment before it is gone, and killed in that moment it would not say why.
            return self._popen.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.end()
            return self._popen.returncode


def _closed() -> ToolError:
    return ToolError("unavailable", "the worker processes were closed")


def _explain(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def serve() -> None:
    """Main function of a worker process: answers calls until its owner closes the connection or dies."""
    connection = Connection(int(sys.argv[1]))
    requests: SimpleQueue[bytes] = SimpleQueue()
    # The reader is a thread of its own so that the owner's death ends this process in the middle of a job, too.
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    while True:
        reply = _answer(requests.get())
        try:
            data = pickle.dumps(reply, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # a result that cannot be pickled is the function's fault, not this process's end
            data = pickle.dumps(_broken(error))
        connection.send_bytes(data)


def _receive(connection: Connection, requests: SimpleQueue[bytes]) -> None:
    while True:
        try:
            requests.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)


def _answer(request: bytes) -> _Reply:
    try:
        function, args = pickle.loads(request)
        return _Reply(function(*args))
    except ToolError as error:
        return _Reply(error=(error.kind, str(error)))
    except Exception as error:  # everything that a function raises is the owner's to know
        return _broken(error)


def _broken(error: Exception) -> _Reply:
    return _Reply(error=("failed", f"the tool broke ({type(error).__name__})"), trace=traceback.format_exc())
