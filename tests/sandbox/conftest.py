"""Real sandboxes that are kept for the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from osvl_plugins.sandbox.runner import SandboxResult
from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings

Runs = Callable[[str], SandboxResult]


def kept(timeout_s: float) -> Iterator[Runs]:
    sandbox = Sandbox(SandboxSettings(timeout_s=timeout_s, memory_mb=256, output_chars=2000, processes=4))
    loop = asyncio.new_event_loop()
    yield lambda code: loop.run_until_complete(sandbox.run(code))
    loop.run_until_complete(sandbox.aclose())
    loop.close()


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Runs one piece of code, which may take long: the machine may be busy."""
    yield from kept(60)


@pytest.fixture(scope="session")
def hurries() -> Iterator[Runs]:
    """Runs one piece of code, which may take two seconds."""
    yield from kept(2)
