"""Every answer of a live service passes here: recorded, replayed, cached or just passed on."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from osvl_plugins.backends.locks import FileLock
from osvl_plugins.backends.recording_store import (
    JSON,
    MAX_BODY_BYTES,
    Call,
    Entry,
    Store,
)
from osvl_plugins.errors import OsvlError, RecordingError, ReplayMiss, ToolError
from osvl_plugins.settings import Settings

logger = logging.getLogger(__name__)

INLINE_BYTES = 96 * 2**10
"""Files up to this size are read on the event loop."""
POLL_S = 0.02
"""Mean pause while another process asks the same."""

# Of its own, so that waiting leaves the seeded generators of a run alone.
_RANDOM = random.Random()


class RecordingSettings(Settings):
    """What becomes of the answers of live services."""

    mode: Literal["live", "record", "replay", "cache"] = "live"
    """live: nothing is kept. record: always ask, keep the answer or the failure. replay: never ask, an answer that is
    not there ends the run. cache: ask only for what is not there; failures are not kept."""
    folder: str = Field(default="", validate_default=True)
    """Folder of the recordings, for every mode but live; runs and nodes may share it."""

    @field_validator("folder")
    @classmethod
    def _needed(cls, folder: str, values: ValidationInfo) -> str:
        mode = values.data.get("mode", "live")
        if mode != "live" and not folder:
            raise ValueError(f"mode {mode} needs a folder for the recordings")
        return folder


@dataclass
class _Flight:
    task: asyncio.Task[bytes]
    waiters: int = 0


class Recorder:
    """Stands between a live service and whoever calls it.

    Equal calls that run at the same time share one request (modes record and cache), in cache mode over all processes
    of a node; it is cancelled when nobody waits for it any more. A recorded result outranks a recorded failure of the
    same call, whichever came later.

    A file of up to ``INLINE_BYTES`` is read on the event loop: 0.03 ms for 1 KB of text, 0.1 ms for 20 KB, 0.7 ms for
    200 KB, less than its caller needs to parse it; a thread and back would add 0.1 ms. A larger file is read in a
    thread. Source: ``benchmarks/cache.py``.
    """

    def __init__(self, settings: RecordingSettings) -> None:
        """Raises ``OsvlError`` when there is nothing to replay."""
        self._mode = settings.mode
        self._folder = Path(settings.folder).expanduser()
        self._store = Store(self._folder)
        self._flights: dict[tuple[asyncio.AbstractEventLoop, str], _Flight] = {}
        if self._mode == "replay" and not self._folder.is_dir():
            raise OsvlError(f"{self._folder}: there are no recordings to replay; record them with mode record or cache")

    async def call(self, provider: str, request: Mapping[str, JSON], fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """What ``provider`` answers to ``request``; ``fetch`` asks it and raises ``ToolError`` when that fails.

        ``request`` is all that identifies the call and goes to disk: no keys, no secrets, digests of what is large.

        Raises ``ToolError``: the call failed, now or when it was recorded, or its answer is over ``MAX_BODY_BYTES``;
        ``ReplayMiss``; ``RecordingError`` when a recording is damaged (replay) or the folder cannot be used;
        ``ValueError`` for a request that is not JSON.
        """
        if self._mode == "live":
            return await _bounded(provider, fetch)
        call = Call.of(provider, request)
        if self._mode == "replay":
            return await self._replay(call)
        if self._mode == "record":
            return await self._share(call.key, lambda: self._record(call, fetch))
        kept = await self._cached(call)
        return kept if kept is not None else await self._share(call.key, lambda: self._ask_once(call, fetch))

    async def _replay(self, call: Call) -> bytes:
        if (result := await self._read(call)) is not None:
            return result.body
        if (failed := await self._read(call, failed=True)) is not None and failed.failure is not None:
            raise ToolError(failed.failure, failed.body.decode("utf-8", "surrogatepass"))
        raise ReplayMiss(
            f"no recording of {call.provider} {call.request()} in {self._folder} ({call.key[:12]}): the run has left "
            "what was recorded; replay with the settings, the data and the seed of the recording, or record again"
        )

    async def _record(self, call: Call, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        try:
            body = await _bounded(call.provider, fetch)
        except ToolError as error:
            await self._write(Entry.now(call, str(error).encode("utf-8", "surrogatepass"), error.kind))
            raise
        await self._write(Entry.now(call, body))
        return body

    async def _ask_once(self, call: Call, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        async with self._only_one(call):
            kept = await self._cached(call)  # by a process that held the lock before
            if kept is None:
                kept = await _bounded(call.provider, fetch)
                await self._write(Entry.now(call, kept))
            return kept

    async def _cached(self, call: Call) -> bytes | None:
        try:
            entry = await self._read(call)
        except RecordingError as error:
            logger.warning("%s; it is asked for again", error)
            return None
        return entry.body if entry is not None else None

    async def _read(self, call: Call, failed: bool = False) -> Entry | None:
        size = self._store.size(call.key, failed)
        if size is None:
            return None
        if size <= INLINE_BYTES:
            return self._store.read(call.key, failed)
        return await asyncio.to_thread(self._store.read, call.key, failed)

    async def _write(self, entry: Entry) -> None:
        await asyncio.to_thread(self._store.write, entry)

    @asynccontextmanager
    async def _only_one(self, call: Call) -> AsyncIterator[None]:
        """Held by one process at a time; it has no deadline of its own, the holder's request has one."""
        path = self._folder / "locks" / call.key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            while (lock := FileLock.take(path)) is None:
                await asyncio.sleep(_RANDOM.uniform(0.5, 1.5) * POLL_S)
        except OSError as error:
            raise RecordingError(f"{path}: cannot be locked ({error})") from error
        try:
            yield
        finally:
            lock.release(remove=True)

    async def _share(self, key: str, ask: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """What the one request for ``key`` gives that runs in this event loop, started by ``ask`` if none does."""
        place = (asyncio.get_running_loop(), key)
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = _Flight(asyncio.create_task(ask()))
            flight.task.add_done_callback(lambda task: self._land(place, task))
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                del self._flights[place]  # whoever comes now must not wait for what is being cancelled
                flight.task.cancel()

    def _land(self, place: tuple[asyncio.AbstractEventLoop, str], task: asyncio.Task[bytes]) -> None:
        if (flight := self._flights.get(place)) is not None and flight.task is task:
            del self._flights[place]


async def _bounded(provider: str, fetch: Callable[[], Awaitable[bytes]]) -> bytes:
    body = await fetch()
    if len(body) > MAX_BODY_BYTES:
        raise ToolError("limit", f"{provider}: the answer has {len(body)} bytes, over {MAX_BODY_BYTES}")
    return body
