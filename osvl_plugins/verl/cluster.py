"""What all agent-loop actors of a Ray cluster share: one pool of worker processes a node, one budget for the cluster.

Without them each of verl's agent-loop actors would load every OCR model once more, and a limit of ten requests a second
would mean ten for each actor. Both are named actors that belong to the process that asked first, as a rule an
agent-loop actor that lives as long as the run. Should that one die, the next to ask makes them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from uuid import uuid4

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from osvl_plugins.backends.budget import BudgetSettings, Pace
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import ErrorKind, ToolError

logger = logging.getLogger(__name__)

T = TypeVar("T")
CALLS = 10_000
"""Most calls that wait in one of the actors."""
ATTEMPTS = 5
"""How often a call is made when the actor dies under it."""


class _NodeWorkers:
    def __init__(self, settings: WorkerSettings) -> None:
        self._workers = ProcessWorkers(settings)

    async def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ErrorKind | None, str]:
        # An error crosses Ray as data, or it would arrive wrapped in a class of Ray's making.
        try:
            return await self._workers.run(function, *args), None, ""
        except ToolError as error:
            return None, error.kind, str(error)


class NodeWorkers:
    """``osvl_plugins.backends.workers.Workers`` of this node, shared by all its processes."""

    def __init__(self, settings: WorkerSettings) -> None:
        node = ray.get_runtime_context().get_node_id()
        affinity = NodeAffinitySchedulingStrategy(node, soft=False)
        self._actor = _Shared(_NodeWorkers, f"osvl-workers-{node}", (settings,), scheduling_strategy=affinity)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """As ``Workers.run``. ``unavailable``: the node's actor is gone and could not be made again."""
        value, kind, message = await self._actor.call("run", function, args)
        if kind is not None:
            raise ToolError(kind, message)
        result: T = value
        return result


class _Gate:
    """The turns of one provider."""

    def __init__(self, settings: BudgetSettings, lease_s: float) -> None:
        self._pace = Pace(settings.per_second) if settings.per_second else None
        self._most = settings.in_flight
        self._lease_s = lease_s
        self._leases: dict[str, float] = {}
        self._next = 0.0
        self._queue = asyncio.Lock()
        self._freed = asyncio.Event()

    async def enter(self) -> str:
        async with self._queue:
            while self._most is not None and self._taken() >= self._most:
                self._freed.clear()
                soonest = min(self._leases.values()) - time.monotonic()
                # Too late: a lease has run out, its holder died.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._freed.wait(), max(0.01, soonest))
            while self._pace is not None and (wait_s := self._pace.wait_s(self._next, time.monotonic())) > 0:
                await asyncio.sleep(wait_s)
            if self._pace is not None:
                self._next = self._pace.started(self._next, time.monotonic())
            lease = uuid4().hex
            self._leases[lease] = time.monotonic() + self._lease_s
            return lease

    def leave(self, lease: str) -> None:
        self._leases.pop(lease, None)
        self._freed.set()

    def _taken(self) -> int:
        now = time.monotonic()
        self._leases = {lease: end for lease, end in self._leases.items() if end > now}
        return len(self._leases)


class _ClusterBudgets:
    def __init__(self, settings: Mapping[str, BudgetSettings], lease_s: float) -> None:
        self._gates = {name: _Gate(each, lease_s) for name, each in settings.items()}

    async def enter(self, provider: str) -> str:
        return await self._gates[provider].enter()

    async def leave(self, provider: str, lease: str) -> None:
        self._gates[provider].leave(lease)


class ClusterBudgets:
    """``osvl_plugins.backends.budget.Budgets`` that hold across a Ray cluster.

    ``lease_s``: the longest that one request takes. What a process that died had in flight is free again after that.
    """

    def __init__(self, settings: Mapping[str, BudgetSettings], lease_s: float) -> None:
        limited = {name: each for name, each in settings.items() if each.per_second or each.in_flight}
        self._limited = frozenset(limited)
        self._actor = _Shared(_ClusterBudgets, "osvl-budgets", (limited, lease_s))

    @asynccontextmanager
    async def slot(self, provider: str) -> AsyncIterator[None]:
        """Wait for the provider's turn and hold it. Raises ``ToolError`` ``unavailable`` when Ray does not answer."""
        if provider not in self._limited:
            yield
            return
        lease = await self._actor.call("enter", provider)
        try:
            yield
        finally:
            # Not awaited: nobody needs to know when, and a lease that is lost here runs out.
            self._actor.tell("leave", provider, lease)


class _Shared:
    """A named actor, made when it is first called and again when it has died; one for each set of arguments."""

    def __init__(self, cls: type, name: str, args: tuple[Any, ...], **options: Any) -> None:
        name += "-" + hashlib.sha256(repr(args).encode()).hexdigest()[:8]
        shared = dict(name=name, get_if_exists=True, num_cpus=0, max_concurrency=CALLS)
        self._make = lambda: ray.remote(cls).options(**shared, **options).remote(*args)
        # An actor ends when its owner has no handle left.
        self._handle: Any = None

    def tell(self, method: str, *args: Any) -> Any:
        if self._handle is None:
            self._handle = self._make()
        return getattr(self._handle, method).remote(*args)

    async def call(self, method: str, *args: Any) -> Any:
        for attempt in range(ATTEMPTS):
            reference = self.tell(method, *args)
            try:
                return await reference
            except asyncio.CancelledError:
                ray.cancel(reference)
                raise
            except RayActorError as error:
                # Its owner ended. Whoever makes it again may be about to end as well.
                self._handle = None
                died = error
                await asyncio.sleep(0.1 * 2**attempt)
            except RayError as error:
                raise _unanswered(method, error) from error
        raise _unanswered(method, died) from died


def _unanswered(method: str, error: RayError) -> ToolError:
    logger.error("a shared actor could not run %s", method, exc_info=error)
    return ToolError("unavailable", f"the cluster's tools did not answer ({type(error).__name__})")
