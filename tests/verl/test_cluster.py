"""Actors of a real Ray cluster that share worker processes and budgets."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="needs the extra `verl`: pip install 'osvl-plugins[verl]'")

from osvl_plugins.backends.budget import BudgetSettings  # noqa: E402
from osvl_plugins.backends.workers import WorkerSettings  # noqa: E402
from osvl_plugins.errors import ToolError  # noqa: E402
from osvl_plugins.images import ImageSettings, decode  # noqa: E402
from osvl_plugins.verl.cluster import ClusterBudgets, NodeWorkers  # noqa: E402

ONE = WorkerSettings(processes=1)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=False)
    yield
    ray.shutdown()


@ray.remote(num_cpus=0)
class Agents:
    """As verl's agent-loop actors: long-lived, with an event loop."""

    def __init__(self) -> None:
        self._workers = NodeWorkers(ONE)
        self._budgets: list[ClusterBudgets] = []

    async def worker_process(self) -> int:
        return await self._workers.run(os.getpid)

    async def hold(self, settings: BudgetSettings, seconds: float) -> list[tuple[float, float]]:
        budgets = ClusterBudgets({"serper": settings}, lease_s=30)
        self._budgets.append(budgets)

        async def once() -> tuple[float, float]:
            async with budgets.slot("serper"):
                began = time.monotonic()
                await asyncio.sleep(seconds)
                return began, time.monotonic()

        return list(await asyncio.gather(*(once() for _ in range(3))))


@pytest.fixture(scope="module")
def agents() -> list[Any]:
    return [Agents.remote() for _ in range(3)]


def held(agents: list[Any], settings: BudgetSettings, seconds: float) -> list[tuple[float, float]]:
    """When each of nine requests of three processes began and ended."""
    spans = ray.get([agent.hold.remote(settings, seconds) for agent in agents], timeout=120)
    return [span for each in spans for span in each]


def test_all_processes_of_a_node_use_the_same_workers(agents: list[Any]) -> None:
    assert len(set(ray.get([agent.worker_process.remote() for agent in agents], timeout=120))) == 1


def test_an_error_of_the_job_arrives_as_it_was() -> None:
    with pytest.raises(ToolError, match="not a readable picture") as raised:
        asyncio.run(NodeWorkers(ONE).run(decode, b"", ImageSettings()))
    assert raised.value.kind == "bad_arguments"


def test_a_cancelled_job_frees_its_process() -> None:
    async def run() -> None:
        workers = NodeWorkers(ONE)
        await workers.run(os.getpid)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(workers.run(time.sleep, 600), 0.5)
        await asyncio.wait_for(workers.run(os.getpid), 60)

    asyncio.run(run())


def test_no_more_requests_are_in_flight_than_allowed_over_all_processes(agents: list[Any]) -> None:
    spans = held(agents, BudgetSettings(in_flight=2), 0.2)
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == 2


def test_requests_start_at_the_allowed_pace_over_all_processes(agents: list[Any]) -> None:
    starts = sorted(start for start, _ in held(agents, BudgetSettings(per_second=10), 0.0))
    assert starts[-1] - starts[0] >= 8 / 10 - 0.1


def test_what_a_dead_process_held_is_free_when_its_lease_ends() -> None:
    budgets = ClusterBudgets({"serper": BudgetSettings(in_flight=1)}, lease_s=1)

    async def run() -> float:
        never_left = budgets.slot("serper")
        await never_left.__aenter__()
        began = time.monotonic()
        async with budgets.slot("serper"):
            return time.monotonic() - began

    assert 0.5 < asyncio.run(run()) < 30


def test_a_shared_actor_that_died_is_made_again() -> None:
    settings = BudgetSettings(in_flight=3)
    budgets = ClusterBudgets({"serper": settings}, lease_s=5)

    async def use() -> None:
        async with budgets.slot("serper"):
            pass

    asyncio.run(use())
    ray.kill(budgets._actor._handle)
    asyncio.run(asyncio.wait_for(use(), 60))


def test_a_provider_without_limits_asks_nobody() -> None:
    budgets = ClusterBudgets({}, lease_s=1)

    async def use() -> None:
        async with budgets.slot("jina"):
            pass

    asyncio.run(use())
    assert budgets._actor._handle is None
