"""Latency of a call of the Python sandbox, beside a fresh interpreter and an exec in the same process.

    python benchmarks/sandbox.py [--calls 480]

Every way runs ``print(sum(range(1000)))``. One caller after the other, then 16 callers at once, each waiting for its
own result; "paced" is one caller that thinks for 20 ms between its calls, as an agent does. The limit is 10 ms for the
median of a warm call.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import sys
import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.table import Table

from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings

CODE = "print(sum(range(1000)))"
SHOWN = "499500\n"
LIMIT_MS = 10.0


async def measured(call: Callable[[], Awaitable[str]], calls: int, callers: int, pause_s: float = 0.0) -> list[float]:
    """Milliseconds of each call, ``callers`` of them at a time."""
    taken: list[float] = []

    async def caller() -> None:
        for _ in range(calls // callers):
            await asyncio.sleep(pause_s)
            start = time.perf_counter()
            shown = await call()
            taken.append((time.perf_counter() - start) * 1000)
            if shown != SHOWN:
                raise SystemExit(f"a call gave {shown!r}")

    await asyncio.gather(*(caller() for _ in range(callers)))
    return sorted(taken)


async def interpreter() -> str:
    """A new Python that runs the code, with nothing imported and nothing isolated."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CODE, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


async def in_process() -> str:
    """An exec in this process: no isolation at all."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(CODE, {})
    return shown.getvalue()


async def compare(calls: int) -> Table:
    """Measure all ways."""
    sandbox = Sandbox(SandboxSettings())

    async def sandboxed() -> str:
        return (await sandbox.run(CODE)).stdout

    start = time.perf_counter()
    server = await sandbox.start()
    started_s = time.perf_counter() - start
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    title = f"server ready in {started_s:.2f} s; {server.ready}; {load}"
    table = Table("way", "callers", "p50 ms", "p95 ms", "calls/s", "p50 of the limit", title=title)
    await measured(sandboxed, 20, 1)
    for name, call, number, callers, pause_s in (
        ("sandbox", sandboxed, calls, 1, 0.0),
        ("sandbox, paced", sandboxed, calls, 1, 0.02),
        ("sandbox", sandboxed, calls, 16, 0.0),
        ("new interpreter", interpreter, calls // 3, 1, 0.0),
        ("new interpreter", interpreter, calls // 3, 16, 0.0),
        ("exec in process", in_process, calls, 1, 0.0),
    ):
        start = time.perf_counter()
        taken = await measured(call, number, callers, pause_s)
        rate = len(taken) / (time.perf_counter() - start)
        p50, p95 = taken[len(taken) // 2], taken[int(len(taken) * 0.95)]
        ratio = f"{p50 / LIMIT_MS:.2f}" if call is sandboxed else ""
        table.add_row(name, str(callers), f"{p50:.2f}", f"{p95:.2f}", f"{rate:.0f}", ratio)
    await sandbox.aclose()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=480)
    Console().print(asyncio.run(compare(parser.parse_args().calls)))


if __name__ == "__main__":
    main()
