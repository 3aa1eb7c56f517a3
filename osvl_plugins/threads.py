"""Threads for work that would block the event loop: picture decoding and scaling, filters, index look-ups.

They are apart from asyncio's own pool, in which aiohttp resolves names: a hundred waiting look-ups would otherwise
delay every connection. A thread cannot be ended from outside, so only bounded work belongs here; what may hang or
crash runs in processes (``osvl_plugins.backends.workers``).
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(2, os.cpu_count() or 1), thread_name_prefix="osvl")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Run ``function(*args)`` in a thread; cancelling gives up its place in the queue, not a run that has begun."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_pool(), lambda: context.run(function, *args))


# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
