"""What tests of the HTTP client share: budgets without limits, and what a request ends with."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from osvl_plugins.backends.http import Http, Response
from osvl_plugins.errors import ToolError

DEADLINE_S = 4.0
SHORT_S = 0.4
SLACK_S = 3.0
MAX_BYTES = 1_000_000

Ask = Callable[..., Awaitable[Response]]
Client = Callable[..., Http]


class Unlimited:
    """Budgets without limits that count what is under way."""

    def __init__(self) -> None:
        self.entered = 0
        self.held = 0

    @contextlib.asynccontextmanager
    async def slot(self, provider: str) -> AsyncIterator[None]:
        self.entered += 1
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


async def kind(asked: Awaitable[Response], deadline_s: float = DEADLINE_S) -> str:
    """The kind of error that ``asked`` ends with, which it does within its deadline."""
    start = time.monotonic()
    with pytest.raises(ToolError) as caught:
        await asked
    assert time.monotonic() - start < deadline_s + SLACK_S
    assert "wiki" in str(caught.value)
    assert "://" not in str(caught.value)
    return caught.value.kind


async def requests(http: Http, base: str, path: str) -> int:
    """How often the server was asked for ``path``."""
    return int((await http.call("wiki", "GET", base + "/requests")).json().get(path, 0))
