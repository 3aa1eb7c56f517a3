"""Connections to judges, closed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from osvl_plugins.reward import custom
from osvl_plugins.reward.build import build_scorer
from osvl_plugins.reward.composite import Scorer


@pytest_asyncio.fixture
async def connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Closes what the reward function of a stock launch keeps open for as long as its worker lives."""
    made: list[Scorer] = []

    def kept(*args: Any, **kwargs: Any) -> Scorer:
        made.append(build_scorer(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(custom, "build_scorer", kept)
    yield
    custom._scorer.cache_clear()
    for scorer in made:
        await scorer.aclose()
