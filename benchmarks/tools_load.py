"""256 episodes at a time on one event loop: how much longer than their critical path, and how late the loop gets.

    python benchmarks/tools_load.py ATLAS [--episodes 256] [--turns 4]

First, tools that wait: web_search and visit at live services, played by a second process over real sockets, which
answers after 0.2 to 0.8 s; the policy takes 0.5 to 1.5 s a turn. The critical path is the slowest episode's own sum of
these. The peers make the same calls, with the standard library's blocking client: in asyncio's default thread pool, in
one of 64 threads, and one by one (a sample, extrapolated). Second, tools that work, all offline ones mixed, as fast
as they go: only the loop's lateness counts. Lateness is how much later than asked a timer of 5 ms fires.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web
from PIL import Image
from rich.console import Console
from rich.table import Table

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.episode import EpisodeSettings, Task, run_episode
from osvl_plugins.fatal import FatalSettings
from osvl_plugins.protocol import format_answer, format_call
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Trajectory

PATH_LIMIT, LAG_LIMIT_MS = 1.15, 50.0
SAMPLE = 20
Plan = list[tuple[float, str, dict[str, Any]]]


def service_s(key: str) -> float:
    """How long the services take for a query or an address: the same each time."""
    return random.Random(key).uniform(0.2, 0.8)


def serve() -> None:
    """The services' process: SearXNG's and Jina reader's answers, late."""

    async def search(request: web.Request) -> web.Response:
        await asyncio.sleep(service_s(request.query["q"]))
        hits = [{"title": f"Result {n}", "url": f"http://e.org/{n}", "content": "words " * 30} for n in range(10)]
        return web.json_response({"results": hits})

    async def read(request: web.Request) -> web.Response:
        await asyncio.sleep(service_s(request.path.rsplit("/", 1)[1]))
        page = {"title": "A page", "url": "http://e.org/", "content": "text " * 2000}
        return web.json_response({"code": 200, "data": page})

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.get("/search", search), web.get("/reader/{tail:.*}", read)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())


def waiting(seed: int, turns: int) -> Plan:
    """An episode of searches and visits: seconds of the policy, tool, arguments."""
    chance = random.Random(seed)
    plan: Plan = []
    for _ in range(turns):
        key = f"q{chance.randrange(10**9)}"
        call = ("web_search", {"q": key}) if chance.random() < 0.6 else ("visit", {"url": f"http://e.org/{key}"})
        plan.append((chance.uniform(0.5, 1.5), *call))
    return plan


def working(seed: int, turns: int) -> Plan:
    """An episode of local tools."""
    chance = random.Random(seed)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("crop", {"image": "img_1", "x": 8, "y": 8, "width": 200, "height": 200}),
        ("sharpen", {"image": "img_1"}),
        ("perspective_correct", {"image": "img_1"}),
        ("text_search", {"q": "capital of Mexico"}),
        ("web_search", {"q": "river in France"}),
        ("image_search", {"url": "img_1"}),
        ("visit", {"url": "mexico"}),
        ("python_interpreter", {"code": "sum(i * i for i in range(1000))"}),
        ("layout_parsing", {"image": "img_1"}),
        ("super_resolution", {"image": "img_1", "scale": 2}),
    ]
    weights = [4, 4, 2, 4, 4, 4, 4, 4, 0.3, 0.3]
    return [(0.0, *call) for call in chance.choices(calls, weights, k=turns)]


class Scripted:
    """A policy that writes the calls of a plan, each after its time."""

    def __init__(self, plan: Plan) -> None:
        self._turns = iter(plan)

    async def start(self, messages: Any, images: Any, tools: Any) -> None:
        """Nothing to prepare."""

    async def act(self) -> tuple[str, None]:
        """The next call, or the answer."""
        turn = next(self._turns, None)
        if turn is None:
            return format_answer("done", ""), None
        seconds, tool, arguments = turn
        await asyncio.sleep(seconds)
        return format_call(tool, arguments, ""), None

    async def observe(self, message: Any, images: Any) -> bool:
        """There is always room."""
        return True


async def lateness(samples: list[float]) -> None:
    """Milliseconds by which a timer is late, again and again."""
    while True:
        start = time.perf_counter()
        await asyncio.sleep(0.005)
        samples.append((time.perf_counter() - start - 0.005) * 1000)


async def run(plans: Sequence[Plan], tools: ToolSet, image: Image.Image) -> tuple[float, list[float], Counter[str]]:
    """Seconds of all episodes together, lateness of the loop, outcomes of the calls."""
    lag: list[float] = []

    async def episode(plan: Plan) -> Trajectory:
        task = Task([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}], [image])
        return await run_episode(task, Scripted(plan), tools, EpisodeSettings(), FatalSettings(mode="vanilla", k=999))

    warm = [(0.0, tool, arguments) for tool, arguments in {call[1]: call[2] for p in plans for call in p}.items()]
    await episode(warm)
    watch = asyncio.create_task(lateness(lag))
    start = time.perf_counter()
    done = await asyncio.gather(*(episode(plan) for plan in plans))
    wall = time.perf_counter() - start
    watch.cancel()
    outcomes = Counter(
        turn.observation.error.kind if turn.observation.error else "ok"
        for trajectory in done
        for turn in trajectory.turns
        if turn.observation
    )
    return wall, lag, outcomes


async def peer(plans: Sequence[Plan], ask: Callable[[str, dict[str, Any]], Awaitable[None]]) -> float:
    """Seconds of the same episodes when ``ask`` makes the calls."""

    async def episode(plan: Plan) -> None:
        for seconds, tool, arguments in plan:
            await asyncio.sleep(seconds)
            await ask(tool, arguments)

    start = time.perf_counter()
    await asyncio.gather(*(episode(plan) for plan in plans))
    return time.perf_counter() - start


def blocking(base: str, tool: str, arguments: dict[str, Any]) -> None:
    """One call by the standard library's client."""
    query = urllib.parse.urlencode({"q": arguments.get("q"), "format": "json"})
    address = f"{base}/search?{query}" if tool == "web_search" else f"{base}/reader/{arguments['url']}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        json.load(answer)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def wait_for_tools(base: str, episodes: int, turns: int, console: Console) -> None:
    """The first table."""
    plans = [waiting(seed, turns) for seed in range(episodes)]
    path = max(sum(s + service_s(a.get("q") or a["url"].rsplit("/", 1)[1]) for s, _, a in plan) for plan in plans)
    settings = AgentSettings.model_validate(
        {
            "tools": ["web_search", "visit"],
            "backends": {"web_search": "searxng", "visit": "jina"},
            "services": {"searxng": {"url": base}, "jina": {"url": f"{base}/reader", "key_env": ""}},
        }
    )
    tools = build_tools(settings)
    wall, lag, outcomes = await run(plans, tools, Image.new("RGB", (64, 64)))
    await tools.aclose()
    table = Table("", "seconds", "of the critical path", f"limit {PATH_LIMIT}", title="tools that wait")
    table.add_row("critical path", f"{path:.2f}", "1.00", "")
    table.add_row("run_episode", f"{wall:.2f}", f"{wall / path:.2f}", "within" if wall <= PATH_LIMIT * path else "over")
    loop = asyncio.get_running_loop()
    for name, threads in (("thread pool, asyncio's default", None), ("thread pool of 64", 64)):
        with ThreadPoolExecutor(threads or min(32, (__import__("os").cpu_count() or 1) + 4)) as pool:

            async def ask(tool: str, arguments: dict[str, Any], pool: ThreadPoolExecutor = pool) -> None:
                await loop.run_in_executor(pool, blocking, base, tool, arguments)

            seconds = await peer(plans, ask)
        table.add_row(name, f"{seconds:.2f}", f"{seconds / path:.2f}", "")
    calls = [(tool, arguments) for plan in plans for _, tool, arguments in plan]
    start = time.perf_counter()
    for tool, arguments in calls[:SAMPLE]:
        await asyncio.to_thread(blocking, base, tool, arguments)
    alone = (time.perf_counter() - start) / SAMPLE * len(calls) + max(sum(s for s, _, _ in plan) for plan in plans)
    table.add_row(
        f"one by one ({SAMPLE} of {len(calls)} calls, extrapolated)", f"{alone:.0f}", f"{alone / path:.0f}", ""
    )
    console.print(table)
    console.print(f"{episodes} episodes of {turns} calls: {dict(outcomes)}")
    report(lag, console)


async def work_with_tools(atlas: str, episodes: int, turns: int, console: Console) -> None:
    """The second report."""
    corpus = Corpus.open(atlas)
    page = next(page for page in corpus.pages.values() if page.pictures)
    tools = build_tools(AgentSettings(), corpus)
    plans = [working(seed, turns) for seed in range(episodes)]
    wall, lag, outcomes = await run(plans, tools, corpus.picture(page.id))
    await tools.aclose()
    console.print(f"tools that work: {sum(outcomes.values())} calls in {wall:.1f} s, {dict(outcomes)}")
    report(lag, console)


def report(lag: Sequence[float], console: Console) -> None:
    """Print how late the loop was."""
    p99 = percentile(lag, 0.99)
    console.print(
        f"event loop late by p50 {percentile(lag, 0.5):.1f}, p99 {p99:.1f}, at most {max(lag):.1f} ms; "
        f"p99 is {p99 / LAG_LIMIT_MS:.2f} of the limit of {LAG_LIMIT_MS:g} ms"
    )


def main() -> None:
    """Print both."""
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    parser = argparse.ArgumentParser(description="Concurrent episodes against their critical path.")
    parser.add_argument("atlas", help="folder of a built corpus")
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    console = Console()
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{int(server.stdout.readline())}"
        asyncio.run(wait_for_tools(base, options.episodes, options.turns, console))
    finally:
        server.terminate()
        server.wait(timeout=10)
    asyncio.run(work_with_tools(options.atlas, options.episodes, options.turns, console))


if __name__ == "__main__":
    main()
