"""The real corpus, built once and kept; and property tests without a clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from osvl_plugins.corpus.build import build_atlas
from osvl_plugins.corpus.corpus import Corpus

# How long an example takes is the machine's affair.
settings.register_profile("untimed", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def atlas() -> Corpus:
    """The embedded corpus at $OSVL_ATLAS, or in the checkout's .cache."""
    kept = Path(__file__).parents[1] / ".cache"
    folder = Path(os.environ.get("OSVL_ATLAS", kept / "atlas"))
    build_atlas(folder, kept / "sources")
    return Corpus.open(folder)
