"""Budgets hold over all processes that share a folder, and nothing leaks from them."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.budget import TOLERANCE_S, BudgetSettings, FileBudgets, Pace
from osvl_plugins.backends.locks import FileLock
from osvl_plugins.errors import OsvlError

RATE = 20
IN_FLIGHT = 3
DEADLINE_S = 60

ASK = f"""
import asyncio, sys, time
from pathlib import Path
from osvl_plugins.backends.budget import BudgetSettings, FileBudgets

async def ask(budgets):
    async with budgets.slot("search"):
        start = time.monotonic()
        await asyncio.sleep(0.1)
        print(start, time.monotonic())

async def main():
    budgets = FileBudgets(Path(sys.argv[1]), {{"search": BudgetSettings(per_second={RATE}, in_flight={IN_FLIGHT})}})
    await asyncio.gather(*(ask(budgets) for _ in range(15)))

asyncio.run(main())
"""

HOLD = """
import asyncio, os, sys, time
from pathlib import Path
from osvl_plugins.backends.budget import BudgetSettings, FileBudgets

async def main():
    budgets = FileBudgets(Path(sys.argv[1]), {"search": BudgetSettings(in_flight=1)})
    async with budgets.slot("search"):
        child = os.fork() if sys.argv[2] == "fork" else 0
        if child or sys.argv[2] != "fork":
            print(child, flush=True)
        time.sleep(60)

asyncio.run(main())
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    """A process to be used as a context."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True)


def one_slot(folder: Path) -> FileBudgets:
    return FileBudgets(folder, {"search": BudgetSettings(in_flight=1)})


async def pass_through(budgets: FileBudgets) -> None:
    async def ask() -> None:
        async with budgets.slot("search"):
            pass

    await asyncio.wait_for(ask(), DEADLINE_S)


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    """Start and end of 60 requests of four processes, in order of their start."""
    folder = tmp_path_factory.mktemp("budget")
    with ExitStack() as ends:
        processes = [ends.enter_context(start(ASK, folder)) for _ in range(4)]
        lines = [line for process in processes for line in process.communicate(timeout=DEADLINE_S)[0].splitlines()]
    found = []
    for line in lines:
        began, ended = map(float, line.split())
        found.append((began, ended))
    found.sort()
    assert len(found) == 60
    return found


def test_no_second_has_more_starts_than_the_budget_of_all_processes(spans: list[tuple[float, float]]) -> None:
    starts = [start for start, _ in spans]
    assert max(sum(first <= other <= first + 1 for other in starts) for first in starts) <= RATE + 1


def test_no_moment_has_more_requests_in_flight_than_the_budget_of_all_processes(
    spans: list[tuple[float, float]],
) -> None:
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    assert max(itertools.accumulate(change for _, change in changes)) <= IN_FLIGHT


@pytest.mark.parametrize("forks", ["fork", "alone"])
async def test_a_killed_process_frees_its_slot_even_if_a_child_of_it_lives_on(tmp_path: Path, forks: str) -> None:
    with start(HOLD, tmp_path, forks) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert FileLock.take(tmp_path / "search.slot-0") is None
            holder.kill()
            holder.wait(DEADLINE_S)
            await pass_through(one_slot(tmp_path))
        finally:
            holder.kill()
            if child:
                os.kill(child, signal.SIGKILL)


async def test_a_cancelled_waiter_for_a_slot_leaves_the_queue(tmp_path: Path) -> None:
    budgets = one_slot(tmp_path)
    async with budgets.slot("search"):
        waiters = [asyncio.create_task(pass_through(budgets)) for _ in range(5)]
        await asyncio.sleep(0.05)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
    await pass_through(budgets)


async def test_a_waiter_that_is_cancelled_while_it_waits_for_the_pace_gives_its_slot_back(tmp_path: Path) -> None:
    slow = FileBudgets(tmp_path, {"search": BudgetSettings(per_second=0.01, in_flight=1)})
    await pass_through(slow)
    waiter = asyncio.create_task(pass_through(slow))
    await asyncio.sleep(0.05)
    assert FileLock.take(tmp_path / "search.slot-0") is None
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    await pass_through(one_slot(tmp_path))


async def test_a_failing_request_gives_its_slot_back(tmp_path: Path) -> None:
    budgets = one_slot(tmp_path)
    with pytest.raises(ValueError, match="broken"):
        async with budgets.slot("search"):
            raise ValueError("broken")
    await pass_through(budgets)


async def test_waiters_of_a_process_are_served_in_their_order(tmp_path: Path) -> None:
    budgets = one_slot(tmp_path)
    served: list[int] = []

    async def ask(number: int) -> None:
        async with budgets.slot("search"):
            served.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask(number) for number in range(20)))
    assert served == list(range(20))


async def test_the_event_loop_runs_on_while_others_hold_the_files(tmp_path: Path) -> None:
    budgets = FileBudgets(tmp_path, {"search": BudgetSettings(per_second=100)})
    held = FileLock.take(tmp_path / "search.pace")
    assert held is not None
    waiter = asyncio.create_task(pass_through(budgets))
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert not waiter.done()
    held.release()
    await waiter


async def test_a_provider_without_limits_touches_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "budgets"
    budgets = FileBudgets(folder, {"search": BudgetSettings()})
    async with budgets.slot("search"), budgets.slot("pages"):
        assert not folder.exists()


async def test_providers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    budgets = FileBudgets(tmp_path, {name: BudgetSettings(in_flight=1) for name in ("search", "../pages")})
    async with budgets.slot("../pages"):
        await pass_through(budgets)
        assert len(list(tmp_path.iterdir())) == 2


def test_the_same_budgets_serve_one_event_loop_after_another(tmp_path: Path) -> None:
    budgets = one_slot(tmp_path)

    async def crowd() -> None:
        await asyncio.gather(*(pass_through(budgets) for _ in range(3)))

    asyncio.run(crowd())
    asyncio.run(crowd())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OsvlError, match=r"file/budgets: budgets cannot be kept there"):
        one_slot(tmp_path / "file" / "budgets")


rates = st.floats(0.1, 1000)


@given(rates, st.lists(st.floats(0, 2), min_size=1, max_size=200), st.floats(0.01, 5))
def test_no_window_has_more_starts_than_the_pace_allows(rate: float, pauses: list[float], window_s: float) -> None:
    pace, tat, now, starts = Pace(rate), -math.inf, 0.0, []
    for pause in pauses:
        now += pause / rate
        now += pace.wait_s(tat, now)
        tat = pace.started(tat, now)
        starts.append(now)
    most = max(sum(first <= other <= first + window_s for other in starts) for first in starts)
    assert most <= rate * (window_s + TOLERANCE_S) + 1 + 1e-6


@given(rates, st.lists(st.floats(0, TOLERANCE_S), min_size=2, max_size=100))
def test_waiters_that_are_late_within_the_tolerance_lose_no_throughput(rate: float, late: list[float]) -> None:
    pace, tat, now = Pace(rate), -math.inf, 0.0
    for lateness in late:
        if (wait_s := pace.wait_s(tat, now)) > 0:
            now += wait_s + lateness
        tat = pace.started(tat, now)
    assert now <= (len(late) - 1) / rate + 1e-6


@given(rates, st.floats(0, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, 1e300]) | st.floats())
def test_a_number_that_cannot_be_right_costs_one_interval_at_most(rate: float, now: float, tat: float) -> None:
    assert 0 <= Pace(rate).wait_s(tat, now) <= 1 / rate + 1e-6
    assert Pace(rate).started(tat, now) <= now + 2 / rate + TOLERANCE_S + 1e-6
