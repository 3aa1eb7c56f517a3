"""How often and how many at a time a provider is asked, over all processes of a node.

State lies in a local folder. What is in flight is counted by locked files, so that whatever a killed process held is
free again; the pace is one number in a locked file. Nothing blocks the event loop: a lock that is taken is tried again
after a short, random pause. In a process waiters are served in their order; among processes each has the same chance.
"""

from __future__ import annotations

import asyncio
import math
import random
import struct
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from weakref import WeakKeyDictionary

from pydantic import Field

from osvl_plugins.backends.locks import FileLock
from osvl_plugins.errors import OsvlError
from osvl_plugins.settings import Settings

TOLERANCE_S = 0.01
"""How much lateness of a waiter the next one may make up for."""
POLL_S = 0.01
"""Mean pause before a taken slot is tried again."""
BUSY_S = 0.002
"""Mean pause before the pace is tried again, which others hold for microseconds."""
IDLE_SHARE = 20
"""A pause is at least so many times what the try before it took: polling costs a process 5 % of its time at most."""

# Of its own, so that waiting leaves the seeded generators of a run alone.
_RANDOM = random.Random()
_NUMBER = struct.Struct("<d")


class BudgetSettings(Settings):
    """Limits of one provider. What is not given is not limited."""

    per_second: float | None = Field(default=None, gt=0, le=10_000, allow_inf_nan=False)
    """Requests that may start in a second."""
    in_flight: int | None = Field(default=None, ge=1, le=1_000)
    """Requests that may run at the same time."""


class Budgets(Protocol):
    """Whoever says when a provider may be asked."""

    def slot(self, provider: str) -> AbstractAsyncContextManager[None]:
        """Entering it waits for the provider's turn; the request runs inside it."""


@dataclass(frozen=True)
class Pace:
    """Requests a second as arithmetic on one number, the theoretical arrival time (``tat``) of the next request.

    Times are seconds of one clock. In any window of w seconds at most ``per_second * (w + TOLERANCE_S) + 1`` requests
    start. Source: the generic cell rate algorithm, ITU-T I.371, annex A (virtual scheduling).
    """

    per_second: float

    def wait_s(self, tat: float, now: float) -> float:
        """Seconds until a request may start; 0: now."""
        return max(0.0, self._sane(tat, now) - TOLERANCE_S - now)

    def started(self, tat: float, now: float) -> float:
        """The new ``tat`` once a request has started."""
        return max(self._sane(tat, now), now) + 1 / self.per_second

    def _sane(self, tat: float, now: float) -> float:
        """No value is further ahead than one that was just made: a clock that started anew, a damaged file."""
        latest = now + TOLERANCE_S + 1 / self.per_second
        return latest if math.isnan(tat) else min(tat, latest)


class FileBudgets:
    """Budgets that hold across all processes of a node that use the same folder.

    A provider without limits costs nothing. The folder must be on a local disk. Waiting has no deadline of its own:
    cancel it, and nothing stays taken.
    """

    def __init__(self, folder: Path, settings: Mapping[str, BudgetSettings]) -> None:
        """Raises ``OsvlError`` when there are limits and the folder cannot be made."""
        limited = {name: each for name, each in settings.items() if each.per_second or each.in_flight}
        self._limits = {name: _Limits(folder, name, each) for name, each in limited.items()}
        if limited:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _unusable(folder, error) from error

    @asynccontextmanager
    async def slot(self, provider: str) -> AsyncIterator[None]:
        """Wait for the provider's turn and hold it. Raises ``OsvlError`` when the folder cannot be used."""
        limits = self._limits.get(provider)
        if limits is None:
            yield
            return
        slot = await limits.enter()
        try:
            yield
        finally:
            if slot is not None:
                slot.release()


class _Limits:
    """The files of one provider."""

    def __init__(self, folder: Path, provider: str, settings: BudgetSettings) -> None:
        name = quote(provider, safe="")
        self._folder = folder
        self._pace = Pace(settings.per_second) if settings.per_second else None
        self._pace_file = folder / f"{name}.pace"
        self._slot_files = [folder / f"{name}.slot-{number}" for number in range(settings.in_flight or 0)]
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    async def enter(self) -> FileLock | None:
        """Wait for a slot, then for the pace, so that nobody's turn passes unused."""
        # Only the first waiter of a process polls: the order is kept, and a thousand waiters cost as much as one.
        async with self._queues.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            try:
                slot = await self._take_slot() if self._slot_files else None
                try:
                    if self._pace is not None:
                        await self._keep(self._pace)
                except BaseException:
                    if slot is not None:
                        slot.release()
                    raise
            except OSError as error:
                raise _unusable(self._folder, error) from error
            return slot

    async def _take_slot(self) -> FileLock:
        while True:
            began = time.monotonic()
            first = _RANDOM.randrange(len(self._slot_files))
            for path in self._slot_files[first:] + self._slot_files[:first]:
                if (slot := FileLock.take(path)) is not None:
                    return slot
            await _pause(max(POLL_S, IDLE_SHARE * (time.monotonic() - began)))

    async def _keep(self, pace: Pace) -> None:
        while (wait_s := self._start(pace)) > 0:
            await asyncio.sleep(wait_s)

    def _start(self, pace: Pace) -> float:
        """0 if a request may start now, which is noted; else seconds until it is worth another try."""
        file = FileLock.take(self._pace_file)
        if file is None:
            return _RANDOM.uniform(0.5, 1.5) * BUSY_S
        try:
            data = file.read(_NUMBER.size)
            tat = _NUMBER.unpack(data)[0] if len(data) == _NUMBER.size else 0.0
            now = time.monotonic()  # on Linux and macOS the same clock in all processes of a node
            wait_s = pace.wait_s(tat, now)
            if wait_s > 0:
                # A random part of the tolerance, which costs no throughput, gives every process the same chance.
                return wait_s + _RANDOM.uniform(0, TOLERANCE_S / 4)
            file.write(_NUMBER.pack(pace.started(tat, now)))
            return 0.0
        finally:
            file.release()


async def _pause(mean_s: float) -> None:
    await asyncio.sleep(_RANDOM.uniform(0.5, 1.5) * mean_s)


def _unusable(folder: Path, error: OSError) -> OsvlError:
    return OsvlError(f"{folder}: budgets cannot be kept there ({error}); name a local folder that may be written to")
