"""The patches for verl's own repository, applied to its released sources."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

import torch

Run = Callable[..., dict[str, Any]]
SCRIPT = "upstream_batch.py"


def test_its_own_unit_tests_pass(upstream: Path) -> None:
    command = [sys.executable, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider", "--rootdir", str(upstream)]
    environment = {**os.environ, "PYTHONPATH": str(upstream)}
    done = subprocess.run(command, cwd=upstream, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "4 passed" in done.stdout


def test_with_it_verls_own_trainer_gives_the_clamped_advantage(
    run: Run, expected: Callable[[str], torch.Tensor], upstream: Path
) -> None:
    report = run(upstream, SCRIPT, "v1")
    *rows, padding = report["advantages"]
    assert padding == [0.0]
    for got, tokens in zip(rows, expected("grpo"), strict=True):
        torch.testing.assert_close(torch.tensor(got), tokens[: len(got)])
    assert report["metrics"]["osvl/clamped_rows"] == 1.0
    assert report["metrics"]["osvl/fatal_rate/mean"] == pytest.approx(4 / 7), "padding is not counted"


def test_the_legacy_trainers_get_the_same_from_it(
    run: Run, expected: Callable[[str], torch.Tensor], upstream: Path
) -> None:
    report = run(upstream, SCRIPT, "legacy")
    torch.testing.assert_close(torch.tensor(report["advantages"]), expected("grpo"))
