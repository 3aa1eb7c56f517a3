"""Work in other processes: results, errors, crashes, cancelling, and how the processes end.

The jobs are functions of the standard library and of the package: a worker imports them by name.
"""

from __future__ import annotations

import asyncio
import operator
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import ToolError
from osvl_plugins.images import ImageSettings, bounded, decode


@pytest.fixture
def workers() -> Iterator[ProcessWorkers]:
    made = ProcessWorkers(WorkerSettings(processes=1, waiting=2))
    yield made
    made.close()


def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    try:
        psutil.Process(pid).wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


async def test_a_function_runs_in_another_process_that_stays(workers: ProcessWorkers) -> None:
    first, second = await workers.run(os.getpid), await workers.run(os.getpid)
    assert first == second != os.getpid()


async def test_a_picture_goes_there_and_back_unchanged(workers: ProcessWorkers) -> None:
    image = Image.effect_noise((300, 200), 90).convert("RGB")
    returned = await workers.run(bounded, image, ImageSettings())
    assert (np.asarray(returned) == np.asarray(image)).all()


async def test_a_tool_error_arrives_as_itself(workers: ProcessWorkers) -> None:
    with pytest.raises(ToolError, match="cannot read a picture from int") as caught:
        await workers.run(decode, 3, ImageSettings())
    assert caught.value.kind == "bad_arguments"


async def test_any_other_error_is_a_failure_and_leaves_the_process(workers: ProcessWorkers) -> None:
    before = await workers.run(os.getpid)
    with pytest.raises(ToolError, match=r"the tool broke \(ValueError\)") as caught:
        await workers.run(int, "no number")
    assert caught.value.kind == "failed"
    assert await workers.run(os.getpid) == before


async def test_a_result_that_cannot_be_sent_is_a_failure(workers: ProcessWorkers) -> None:
    with pytest.raises(ToolError, match=r"the tool broke \(TypeError\)"):
        await workers.run(threading.Lock)


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [(os._exit, 3, "ended with exit code 3"), (signal.raise_signal, signal.SIGSEGV, "was ended by signal 11")],
)
async def test_a_crash_is_a_failure_and_the_next_job_gets_a_fresh_process(
    workers: ProcessWorkers, function: object, argument: int, message: str
) -> None:
    before = await workers.run(os.getpid)
    with pytest.raises(ToolError, match=message) as caught:
        await workers.run(function, argument)  # type: ignore[arg-type]
    assert caught.value.kind == "failed"
    assert await workers.run(os.getpid) != before


async def test_a_process_that_died_idle_is_replaced_unnoticed(workers: ProcessWorkers) -> None:
    before = await workers.run(os.getpid)
    os.kill(before, signal.SIGKILL)
    # Its other threads end a little after the first.
    while psutil.Process(before).status() != psutil.STATUS_ZOMBIE or psutil.Process(before).num_threads() > 1:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert await workers.run(os.getpid) != before


async def test_a_deadline_kills_the_process_and_the_next_job_runs(workers: ProcessWorkers) -> None:
    before = await workers.run(os.getpid)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(workers.run(time.sleep, 600), 0.2)
    assert await workers.run(os.getpid) != before
    assert gone(before)


async def test_a_job_that_is_cancelled_while_it_waits_never_runs(workers: ProcessWorkers, tmp_path: Path) -> None:
    running = asyncio.create_task(workers.run(time.sleep, 0.5))
    waiting = asyncio.create_task(workers.run(os.mkdir, str(tmp_path / "made")))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await running
    await workers.run(os.getpid)
    assert not (tmp_path / "made").exists()


async def test_cancelling_one_job_leaves_the_others() -> None:
    two = ProcessWorkers(WorkerSettings(processes=2))
    try:
        doomed = asyncio.create_task(two.run(time.sleep, 600))
        fine = asyncio.create_task(two.run(operator.add, 1, 2))
        assert await fine == 3
        doomed.cancel()
        assert await two.run(operator.add, 3, 4) == 7
    finally:
        two.close()


async def test_more_jobs_than_may_wait_are_refused(workers: ProcessWorkers) -> None:
    jobs = [asyncio.create_task(workers.run(time.sleep, 600)) for _ in range(3)]
    await asyncio.sleep(0.1)
    with pytest.raises(ToolError, match="3 jobs are already running or waiting") as caught:
        await workers.run(os.getpid)
    assert caught.value.kind == "rate_limited"
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert await workers.run(os.getpid) != os.getpid()


def test_one_set_of_processes_serves_several_event_loops(workers: ProcessWorkers) -> None:
    async def job() -> int:
        return await workers.run(os.getpid)

    assert asyncio.run(job()) == asyncio.run(job())


async def test_nothing_starts_before_the_first_job() -> None:
    before = psutil.Process().children()
    ProcessWorkers(WorkerSettings()).close()
    assert psutil.Process().children() == before


async def test_close_ends_the_processes_and_refuses_jobs(workers: ProcessWorkers) -> None:
    pid = await workers.run(os.getpid)
    workers.close()
    assert gone(pid)
    with pytest.raises(ToolError, match="the worker processes were closed") as caught:
        await workers.run(os.getpid)
    assert caught.value.kind == "unavailable"


async def test_close_ends_jobs_that_run_and_that_wait_as_errors(workers: ProcessWorkers) -> None:
    pid = await workers.run(os.getpid)
    running = asyncio.create_task(workers.run(time.sleep, 600))
    waiting = asyncio.create_task(workers.run(os.getpid))
    await asyncio.sleep(0.1)
    workers.close()
    with pytest.raises(ToolError, match="was ended by signal 9"):
        await running
    with pytest.raises(ToolError, match="the worker processes were closed"):
        await waiting
    assert gone(pid)


async def test_libraries_get_one_thread_and_no_gpu(workers: ProcessWorkers) -> None:
    assert await workers.run(os.getenv, "OMP_NUM_THREADS") == "1"
    assert await workers.run(os.getenv, "CUDA_VISIBLE_DEVICES") == ""


SCRIPT = """
import asyncio, os, time
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings

async def main():
    workers = ProcessWorkers(WorkerSettings(processes=1))
    print(await workers.run(os.getpid), flush=True)
    {then}

asyncio.run(main())
"""


@pytest.mark.parametrize("then", ["pass", "await workers.run(time.sleep, 600)"], ids=["idle", "busy"])
def test_the_processes_die_with_an_owner_that_is_killed(then: str) -> None:
    script = SCRIPT.format(then=f"{then}; await asyncio.sleep(600)")
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    time.sleep(0.2)
    assert psutil.pid_exists(pid)
    owner.kill()
    owner.communicate(timeout=10)
    assert gone(pid)


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(then="print('done')")))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert done.stdout.split()[1:] == ["done"], done.stderr
    assert gone(int(done.stdout.split()[0]))
