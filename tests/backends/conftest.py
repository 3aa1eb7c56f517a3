"""Clients and a server for tests of the HTTP client, and the proof that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from osvl_plugins.backends.http import Http, HttpSettings, Response
from tests.backends.asking import DEADLINE_S, MAX_BYTES, Ask, Client, Unlimited
from tests.backends.misbehaving import misbehaving_server
from tests.backends.names import Names


@pytest.fixture
async def nothing_leaks(base: str) -> AsyncIterator[None]:
    """No task and no file descriptor that was not there before is there afterwards, while the server still runs."""

    def held() -> tuple[set[Any], set[str]]:
        tasks = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        return tasks, {name for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")}

    tasks, files = held()
    yield
    for _ in range(200):
        if held()[0] <= tasks and held()[1] <= files:
            return
        await asyncio.sleep(0.02)
    assert (held()[0] - tasks, held()[1] - files) == (set(), set())


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Makes clients that may fetch from the server at a base address, and closes them."""
    made: list[Http] = []

    def make(base: str, resolver: Names | None = None, budgets: Unlimited | None = None, **settings: Any) -> Http:
        allowed = (base.partition("://")[2],)
        values = {"attempts": 2, "max_bytes": MAX_BYTES, "allowed": allowed, **settings}
        made.append(Http(HttpSettings(**values), budgets or Unlimited(), resolver))
        return made[-1]

    yield make
    for http in made:
        await http.aclose()


@pytest.fixture
async def base() -> AsyncIterator[str]:
    async with misbehaving_server() as address:
        yield address


@pytest.fixture
def http(client: Client, base: str) -> Http:
    return client(base)


@pytest.fixture(params=["call", "fetch"])
def ask(request: pytest.FixtureRequest, http: Http, base: str) -> Ask:
    """Both ways of asking the server for a path."""

    async def by_call(path: str, deadline_s: float = DEADLINE_S) -> Response:
        return await http.call("wiki", "GET", base + path, deadline_s=deadline_s)

    async def by_fetch(path: str, deadline_s: float = DEADLINE_S) -> Response:
        return await http.fetch("wiki", base + path, deadline_s=deadline_s)

    return by_call if request.param == "call" else by_fetch
