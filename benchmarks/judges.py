"""2,000 trajectories before a judge that is slow and fails: how much longer than the ideal, and whether any is lost.

    python benchmarks/judges.py [--trajectories 2000] [--in-flight 50]

The judge is a second process over real sockets. It answers after 200 ms, and each request fails with a probability of
5 %, after the same time: a third each with status 500, with text that is no verdict, and with a broken connection. At
most 50 requests are in flight, by the budget. Every second trajectory has its answer judged, the others their searches
rated; what the judge must say follows from the trajectory's number, so a verdict that is not its own is seen.

ideal = ceil(trajectories / 0.95 / in flight) · 0.2 s: an attempt succeeds with a probability of 0.95, so a verdict
takes 1 / 0.95 attempts on average, and all slots are always taken. Attempts of a failed request wait 0.25 to 0.5 s in
between, outside the slots. The judge is asked so often (5 HTTP attempts, 2 retries of an unread verdict) that a failure
is not to be expected: 2,000 · (1/60)³ < 0.01.

The peer sends as many requests as were needed by aiohttp alone, 50 at a time by a semaphore, and reads nothing from the
answers: what the machine can do while it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from rich.console import Console
from rich.table import Table

from osvl_plugins.backends.budget import BudgetSettings, FileBudgets
from osvl_plugins.backends.http import Http, HttpSettings
from osvl_plugins.backends.recorder import Recorder, RecordingSettings
from osvl_plugins.errors import JudgeFailed
from osvl_plugins.reward.judges.openai import JudgeSettings, accuracy_judge, query_judge
from osvl_plugins.trajectory import Observation, ToolCall, Trajectory, Turn

LATENCY_S, FAILING, LIMIT = 0.2, 0.05, 1.2
QUESTION = "Since when does the lighthouse on the picture stand?"
CALLS = 4


def serve(seed: int) -> None:
    """The judge's process."""
    chance = random.Random(seed)
    running = most = 0

    async def judge(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        body = await request.json()
        running += 1
        most = max(most, running)
        await asyncio.sleep(LATENCY_S)
        running -= 1
        fault = chance.choice(("status", "garbage", "connection")) if chance.random() < FAILING else ""
        if fault == "status":
            return web.Response(status=500)
        if fault == "connection" and request.transport is not None:
            request.transport.close()
        said = re.search(r"number (\d+)", body["messages"][1]["content"])
        text = "Incorrect: yes" if fault == "garbage" or said is None else verdict(int(said[1]))
        choices = [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]
        return web.json_response({"id": "1", "object": "chat.completion", "choices": choices})

    async def highest(request: web.Request) -> web.StreamResponse:
        return web.json_response(most)

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", judge), web.get("/most", highest)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def verdict(number: int) -> str:
    """What the judge says about a trajectory."""
    if number % 2 == 0:
        return json.dumps({"reason": "told", "verdict": "correct" if number % 4 == 0 else "incorrect"})
    return json.dumps({"reason": "told", "relevance": 1 + number % 5, "progression": 3, "signal": 3, "modalities": 3})


def trajectory(number: int) -> Trajectory:
    """One with searches whose results are as long as a judge is shown."""
    turns = [
        Turn(
            "", ToolCall("text_search", {"q": f"lighthouse {step}"}), observation=Observation("It stands there. " * 30)
        )
        for step in range(CALLS)
    ]
    return Trajectory(QUESTION, [*turns, Turn("", answer=f"number {number}")], end="answer")


async def peer(port: int, requests: int, in_flight: int) -> float:
    """Seconds of ``requests`` by aiohttp alone."""
    turn = asyncio.Semaphore(in_flight)
    body = {"messages": [{}, {"content": "number 1 " + "x" * 2000}]}

    async def one(session: aiohttp.ClientSession) -> None:
        async with turn:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as answer:
                    await answer.read()

    start = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(requests)))
    return time.perf_counter() - start


async def run(port: int, trajectories: int, in_flight: int, folder: Path) -> tuple[float, Counter[str], int, int]:
    """Seconds, outcomes, requests under way at most, and requests sent."""
    base = f"http://127.0.0.1:{port}"
    sent = 0
    budgets = FileBudgets(folder, {"judge": BudgetSettings(in_flight=in_flight)})
    http = Http(HttpSettings(attempts=5), budgets)
    recorder = Recorder(RecordingSettings())
    settings = JudgeSettings(url=f"{base}/v1", model="judge", retries=2, deadline_s=300)
    answers = accuracy_judge(settings, http, recorder, "judge")
    searches = query_judge(settings, http, recorder, "judge")
    slot = budgets.slot

    def counted(provider: str) -> Any:
        nonlocal sent
        sent += 1
        return slot(provider)

    budgets.slot = counted  # type: ignore[method-assign]

    async def one(number: int) -> str:
        try:
            if number % 2 == 0:
                said = await answers.judge(QUESTION, ["1531"], f"number {number}")
                return "its own verdict" if said.right is (number % 4 == 0) else "another's verdict"
            rated = await searches.rate(QUESTION, ["1531"], trajectory(number))
            return "its own verdict" if math.isclose(rated.relevance, number % 5 / 4) else "another's verdict"
        except JudgeFailed:
            return "JudgeFailed"

    start = time.perf_counter()
    outcomes = Counter(await asyncio.gather(*(one(number) for number in range(trajectories))))
    wall = time.perf_counter() - start
    requests = sent
    most = int((await http.call("server", "GET", f"{base}/most")).json())
    await http.aclose()
    return wall, outcomes, most, requests


def main() -> None:
    """Print the figures; the exit code is 1 when one of them is out of its limit."""
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description="Many verdicts of a judge that is slow and fails.")
    parser.add_argument("--trajectories", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    command = [sys.executable, __file__, "--serve", str(options.seed)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with tempfile.TemporaryDirectory() as folder:
            wall, outcomes, most, requests = asyncio.run(
                run(port, options.trajectories, options.in_flight, Path(folder))
            )
        alone = asyncio.run(peer(port, requests, options.in_flight))
    finally:
        server.terminate()
        server.wait(10)
    ideal = math.ceil(options.trajectories / (1 - FAILING) / options.in_flight) * LATENCY_S
    table = Table("", "", "limit")
    table.add_row("wall time", f"{wall:.2f} s", "")
    table.add_row("ideal", f"{ideal:.2f} s", "")
    table.add_row("wall time / ideal", f"{wall / ideal:.3f}", f"{LIMIT:g}")
    table.add_row("aiohttp alone, as many requests", f"{alone:.2f} s", "")
    table.add_row("wall time / aiohttp alone", f"{wall / alone:.3f}", "")
    table.add_row(
        "requests a trajectory", f"{requests / options.trajectories:.4f}", f"expected {1 / (1 - FAILING):.4f}"
    )
    table.add_row("requests in flight at most", str(most), str(options.in_flight))
    for outcome in ("its own verdict", "JudgeFailed", "another's verdict"):
        table.add_row(outcome, str(outcomes[outcome]), "0" if outcome == "another's verdict" else "")
    table.add_row("lost", str(options.trajectories - outcomes.total()), "0")
    Console().print(table)
    good = wall <= LIMIT * ideal and most <= options.in_flight and not outcomes["another's verdict"]
    sys.exit(0 if good and outcomes.total() == options.trajectories else 1)


if __name__ == "__main__":
    main()
