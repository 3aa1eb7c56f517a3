"""How long a cached answer takes, and how many of them several processes get in a second.

    python benchmarks/cache.py [--folder FOLDER] [--hits N]

A hit is a whole ``Recorder.call``: the key, the file, its checksum, unpacking. It is measured against reading a plain
file and a row of sqlite3, both of which hold the bare answer, in turns. The limit of a hit is 1 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics

from rich.console import Console
from rich.table import Table

from osvl_plugins.backends.recorder import Recorder, RecordingSettings
from osvl_plugins.backends.recording_store import Call, Entry, Store

LIMIT_MS = 1.0
SIZES = {"1 KB": 1_000, "20 KB": 20_000, "200 KB": 200_000}
KINDS = ("text", "picture")
PROCESSES = (1, 2, 4)
ENTRIES = 64
MANUAL = "".join(topics.values()).encode()
SECONDS = 2.0


def text(size: int, chance: random.Random) -> bytes:
    """Prose: a piece of Python's reference manual."""
    start = chance.randrange(len(MANUAL) - size)
    return MANUAL[start : start + size]


def body(kind: str, size: int, chance: random.Random) -> bytes:
    """An answer: text, or bytes that cannot be packed, as those of a picture."""
    return text(size, chance) if kind == "text" else chance.randbytes(size)


def request(kind: str, size: int, number: int) -> dict[str, str | int]:
    """What an answer of the benchmark is kept under."""
    return {"q": f"{kind} {number}", "hl": "en", "k": size}


async def unreachable() -> bytes:
    """The service, which a hit does not ask."""
    raise RuntimeError("a hit asked the service")


async def timed_ms(calls: Sequence[Callable[[int], Awaitable[bytes]]], hits: int) -> list[list[float]]:
    """Sorted times of ``hits`` calls of each, in turns."""
    times: list[list[float]] = [[] for _ in calls]
    for hit in range(hits):
        for call, taken in zip(calls, times, strict=True):
            start = time.perf_counter()
            await call(hit % ENTRIES)
            taken.append(1000 * (time.perf_counter() - start))
    return [sorted(taken) for taken in times]


def latency(folder: Path, kind: str, size: int, hits: int) -> list[list[float]]:
    """Times of the cache, a plain file and sqlite3, in ms."""
    chance = random.Random(size)
    store, plain = Store(folder / "cache"), folder / "plain"
    plain.mkdir(exist_ok=True)
    database = sqlite3.connect(folder / f"{kind}-{size}.sqlite")
    database.execute("CREATE TABLE answers (number INTEGER PRIMARY KEY, body BLOB)")
    for number in range(ENTRIES):
        answer = body(kind, size, chance)
        store.write(Entry.now(Call.of("search", request(kind, size, number)), answer))
        (plain / f"{kind}-{size}-{number}").write_bytes(answer)
        database.execute("INSERT INTO answers VALUES (?, ?)", (number, answer))
    database.commit()
    recorder = Recorder(RecordingSettings(mode="cache", folder=str(folder / "cache")))

    async def hit(number: int) -> bytes:
        return await recorder.call("search", request(kind, size, number), unreachable)

    async def read_file(number: int) -> bytes:
        return (plain / f"{kind}-{size}-{number}").read_bytes()

    async def read_row(number: int) -> bytes:
        found: bytes = database.execute("SELECT body FROM answers WHERE number = ?", (number,)).fetchone()[0]
        return found

    times = asyncio.run(timed_ms((hit, read_file, read_row), hits))
    database.close()
    return times


def count_hits(folder: Path, start: float) -> int:
    """Hits of this process on the 20 KB texts within ``SECONDS`` from ``start`` on."""
    recorder = Recorder(RecordingSettings(mode="cache", folder=str(folder / "cache")))

    async def run() -> int:
        time.sleep(max(0.0, start - time.monotonic()))
        count = 0
        while time.monotonic() < start + SECONDS:
            await recorder.call("search", request("text", SIZES["20 KB"], count % ENTRIES), unreachable)
            count += 1
        return count

    return asyncio.run(run())


def count_writes(folder: Path, start: float) -> int:
    """20 KB texts that this process records within ``SECONDS`` from ``start`` on, all processes the same 64."""
    store, answer, count = Store(folder / "written"), text(SIZES["20 KB"], random.Random(0)), 0
    time.sleep(max(0.0, start - time.monotonic()))
    while time.monotonic() < start + SECONDS:
        store.write(Entry.now(Call.of("search", {"n": count % ENTRIES}), answer))
        count += 1
    return count


def throughput(count: Callable[[Path, float], int], folder: Path, processes: int) -> float:
    """What ``processes`` do together in a second."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        pool.starmap(time.sleep, [(0.5,)] * processes)  # all have started before the clock does
        start = time.monotonic() + 1.5
        return sum(pool.starmap(count, [(folder, start)] * processes, chunksize=1)) / SECONDS


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to measure (the folder for temporary files)")
    parser.add_argument("--hits", type=int, default=3000)
    options = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        table = Table("answer", "read", "p50 ms", "p99 ms", f"p50 / {LIMIT_MS:g} ms", f"p99 / {LIMIT_MS:g} ms")
        for kind in KINDS:
            for label, size in SIZES.items():
                named = zip(("cache", "file", "sqlite3"), latency(folder, kind, size, options.hits), strict=True)
                for way, times in named:
                    p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
                    of_limit = (f"{p50 / LIMIT_MS:.2f}", f"{p99 / LIMIT_MS:.2f}") if way == "cache" else ("", "")
                    table.add_row(f"{kind}, {label}", way, f"{p50:.3f}", f"{p99:.3f}", *of_limit)
        console.print(table)
        table = Table("processes", "hits/s", "writes/s", title="20 KB of text")
        for processes in PROCESSES:
            rates = [throughput(count, folder, processes) for count in (count_hits, count_writes)]
            table.add_row(str(processes), *(f"{rate:,.0f}" for rate in rates))
        console.print(table)


if __name__ == "__main__":
    main()
