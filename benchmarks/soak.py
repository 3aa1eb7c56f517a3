"""What 20,000 calls of all ten tools leave behind, good and bad calls, live services included.

    python benchmarks/soak.py ATLAS [--calls 20000]

Prints memory, open files, threads and processes of this process and its children as the calls go by, and compares the
second quarter of the run with the last: exit code 1 when one of them grew. Live services are played by the second
process of ``benchmarks/tools_load.py``, over real sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import ToolCall

AT_ONCE = 16
SAMPLES = 40
GROWTH = 0.05
"""Share by which memory may differ between two quarters of a run that does not leak."""
CONNECTIONS = 8
"""Idle connections that a quarter may hold more than another: how many are open depends on chance."""

LOCAL: list[tuple[float, str, dict[str, Any]]] = [
    (4, "crop", {"image": "img_1", "x": 1, "y": 1, "width": 90, "height": 60}),
    (2, "crop", {"image": "img_7", "x": 1}),
    (4, "sharpen", {"image": "img_1"}),
    (2, "perspective_correct", {"image": "img_1"}),
    (4, "text_search", {"q": "capital of Mexico"}),
    (4, "image_search", {"url": "img_1"}),
    (4, "python_interpreter", {"code": "import numpy; numpy.ones(1000).sum()"}),
    (2, "python_interpreter", {"code": "1 / 0"}),
    (0.2, "python_interpreter", {"code": "while True: pass"}),
    (0.2, "python_interpreter", {"code": "x = [0] * 10**10"}),
    (0.3, "layout_parsing", {"image": "img_1"}),
    (0.3, "super_resolution", {"image": "img_1", "scale": 2}),
    (2, "nonsense", {"x": float("nan")}),
]
LIVE: list[tuple[float, str, dict[str, Any]]] = [
    (6, "web_search", {"q": "anything"}),
    (6, "visit", {"url": "http://e.org/page"}),
    (1, "visit", {"url": "http://e.org/page/%00"}),
]


class Sample(NamedTuple):
    """What the process and its children hold: bytes, descriptors, threads, processes, asyncio tasks."""

    memory: int
    files: int
    threads: int
    processes: int
    tasks: int

    @classmethod
    def take(cls) -> Sample:
        """Now."""
        own = psutil.Process()
        family = [own, *own.children(recursive=True)]
        memory = files = threads = 0
        for each in family:
            try:
                memory += each.memory_info().rss
                files += each.num_fds()
                threads += each.num_threads()
            except psutil.Error:  # it has just ended
                continue
        return cls(memory, files, threads, len(family), len(asyncio.all_tasks()))


async def soak(local: ToolSet, live: ToolSet, corpus: Corpus, calls: int) -> tuple[list[Sample], Counter[str]]:
    """Samples, taken while no call runs, and outcomes."""
    page = next(page for page in corpus.pages.values() if page.pictures)
    image = corpus.picture(page.id)
    image.thumbnail((256, 256))
    chance = random.Random(0)
    choices = [(weight, local, name, arguments) for weight, name, arguments in LOCAL]
    choices += [(weight, live, name, arguments) for weight, name, arguments in LIVE]
    weights = [choice[0] for choice in choices]
    outcomes: Counter[str] = Counter()

    async def caller(count: int) -> None:
        for _ in range(count):
            _, tools, name, arguments = chance.choices(choices, weights)[0]
            store = ImageStore(ImageSettings())
            store.add(image)
            if name == "web_search":
                arguments = {"q": f"q{chance.randrange(10**6)}"}
            observation = await tools.run(ToolCall(name, arguments), ToolContext(store))
            outcomes[observation.error.kind if observation.error else "ok"] += 1

    samples = []
    for _ in range(SAMPLES):
        await asyncio.gather(*(caller(math.ceil(calls / SAMPLES / AT_ONCE)) for _ in range(AT_ONCE)))
        samples.append(Sample.take())
    return samples, outcomes


async def run(base: str, corpus: Corpus, calls: int) -> tuple[list[Sample], Counter[str]]:
    """The whole run with its tool sets."""
    local = build_tools(AgentSettings.model_validate({"sandbox": {"timeout_s": 0.5}}), corpus)
    live = build_tools(
        AgentSettings.model_validate(
            {
                "tools": ["web_search", "visit"],
                "backends": {"web_search": "searxng", "visit": "jina"},
                "services": {"searxng": {"url": base}, "jina": {"url": f"{base}/reader", "key_env": ""}},
            }
        )
    )
    try:
        return await soak(local, live, corpus, calls)
    finally:
        await local.aclose()
        await live.aclose()


def main() -> int:
    """Print the samples and what grew."""
    parser = argparse.ArgumentParser(description="Many calls, and what they leave behind.")
    parser.add_argument("atlas", help="folder of a built corpus")
    parser.add_argument("--calls", type=int, default=20_000)
    options = parser.parse_args()
    console = Console()
    script = Path(__file__).with_name("tools_load.py")
    server = subprocess.Popen([sys.executable, str(script), "--serve"], stdout=subprocess.PIPE, text=True)
    started = time.monotonic()
    try:
        assert server.stdout is not None
        base = f"http://127.0.0.1:{int(server.stdout.readline())}"
        samples, outcomes = asyncio.run(run(base, Corpus.open(options.atlas), options.calls))
    finally:
        server.terminate()
        server.wait(timeout=10)
    quarter = SAMPLES // 4
    table = Table("", *(f"quarter {n}" for n in range(1, 5)), "", title=f"medians over {sum(outcomes.values())} calls")
    grew = False
    for name in Sample._fields:
        values = [getattr(sample, name) for sample in samples]
        medians = [statistics.median(values[n * quarter : (n + 1) * quarter]) for n in range(4)]
        allowed = medians[1] + {"memory": GROWTH * medians[1], "files": CONNECTIONS}.get(name, 0)
        grew |= medians[3] > allowed
        shown = [f"{m / 2**20:.0f} MiB" if name == "memory" else f"{m:g}" for m in medians]
        table.add_row(name, *shown, "grew" if medians[3] > allowed else "steady")
    console.print(table)
    console.print(f"{dict(outcomes)} in {time.monotonic() - started:.0f} s; {os.cpu_count()} cores")
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
