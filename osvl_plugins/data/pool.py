"""Work spread over processes that end when their owner does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TypeVar

from osvl_plugins.errors import OsvlError

T = TypeVar("T")


def run(work: Callable[[T], None], tasks: Iterable[T], processes: int) -> Iterator[T]:
    """Each of ``tasks`` once ``work`` has been done on it; one process is this one.

    ``tasks`` are taken as they are needed, one more than there are processes. Raises what ``work`` raises, and
    ``OsvlError`` when a process dies.
    """
    if processes == 1:
        for task in tasks:
            work(task)
            yield task
        return
    # Not forked: a copy of a process with threads may find a lock taken for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_follow_owner)
    running: dict[Future[None], T] = {}
    try:
        for task in tasks:
            while len(running) > processes:
                yield from _finished(running)
            running[pool.submit(work, task)] = task
        while running:
            yield from _finished(running)
    except BrokenProcessPool as error:
        raise OsvlError(
            "a process of the import was killed, perhaps for want of memory; run the command again to go on, "
            "with fewer --jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(running: dict[Future[None], T]) -> Iterator[T]:
    """The tasks that are done, at least one; they leave ``running``."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        task = running.pop(future)
        future.result()
        yield task


def _follow_owner() -> None:
    """Leave interrupts to the owner, and end with it: a process that waits for work would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = multiprocessing.parent_process()
    assert owner is not None, "runs in a process of the pool only"

    def end() -> None:
        wait_for([owner.sentinel])
        os._exit(1)

    threading.Thread(target=end, name="osvl-owner", daemon=True).start()
