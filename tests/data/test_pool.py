"""Work in processes that end with their owner."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from osvl_plugins.data.pool import run
from osvl_plugins.errors import OsvlError

OWNER = """
import sys, time
from pathlib import Path
from osvl_plugins.data.pool import run
from pool_work import sleep
print(*run(sleep, [Path(sys.argv[1]) / name for name in "ab"], 2))
"""
WORK = """
import os, signal, time
from osvl_plugins.errors import OsvlError

def touch(file):
    file.write_text(str(os.getpid()))

def sleep(file):
    touch(file)
    time.sleep(600)

def die(file):
    os.kill(os.getpid(), signal.SIGKILL)

def fail(file):
    raise OsvlError(f"{file.name} failed")
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Functions that another process can import, which it cannot from a test."""
    (tmp_path / "pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("pool_work")


@pytest.mark.parametrize("processes", [1, 3])
def test_every_task_is_done_once(work: ModuleType, tmp_path: Path, processes: int) -> None:
    tasks = [tmp_path / str(number) for number in range(9)]
    assert sorted(run(work.touch, tasks, processes)) == sorted(tasks)
    workers = {int(task.read_text()) for task in tasks}
    assert workers == {os.getpid()} if processes == 1 else os.getpid() not in workers


def test_tasks_are_taken_as_they_are_needed(work: ModuleType, tmp_path: Path) -> None:
    taken = 0

    def tasks() -> Iterator[Path]:
        nonlocal taken
        for taken in range(1, 20):
            yield tmp_path / str(taken)

    for done, _ in enumerate(run(work.touch, tasks(), 2), 1):
        assert taken - done <= 3


def test_an_error_of_a_task_is_the_callers(work: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match="a failed"):
        list(run(work.fail, [tmp_path / "a"], 2))


def test_a_process_that_is_killed_ends_the_work_with_a_message(work: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match="run the command again"):
        list(run(work.die, [tmp_path / "a"], 2))


def test_no_process_outlives_its_owner(work: ModuleType, tmp_path: Path) -> None:
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], env={**os.environ, "PYTHONPATH": path})
    files = [tmp_path / name for name in "ab"]
    deadline = time.monotonic() + 120
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline
        assert owner.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(file.read_text())) for file in files]
    owner.kill()
    owner.wait(timeout=30)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []
