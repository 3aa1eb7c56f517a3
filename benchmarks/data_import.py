"""How fast the SFT import is, and how much memory its processes take.

    python benchmarks/data_import.py [--rows N] [--jobs N] [--folder FOLDER]

The data is a look-alike of Search-VL-SFT-36K: seven JSON lists of trajectories of about 37 kB, and JPEG pictures of
0.3 to 2 megapixels, some 0.25 MB each, 1.17 a row. There are 240 different pictures, each under many names by hard
links, so that a run needs 5 GB of disk and not 13.

The limit is measured in the same run on the same number of processes: reading each picture's file, decoding it,
scaling it and encoding it as JPEG, and nothing else. On a machine that does other things too, compare CPU seconds. The
import may take at most 1 GiB in all its processes together.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from osvl_plugins.data.pool import run
from osvl_plugins.data.sft import import_sft
from osvl_plugins.images import ImageSettings

SUBSETS = {
    "fvqa/fvqa_llama_factory_clean": 4413,
    "livevqa/livevqa_llama_factory_filtered": 13326,
    "palace/palace_llama_factory_filtered": 2973,
    "webqa/webqa_llama_factory_filtered": 3804,
    "wiki_art/wikiart_llama_factory_filtered": 5093,
    "wiki_en/wiki_en_llama_factory_filtered": 3503,
    "wiki_zh/wiki_zh_llama_factory_filtered": 3480,
}
PICTURES = 240
PICTURES_A_ROW = 1.17
MEMORY_LIMIT = 2**30
MANUAL = "".join(topics.values())
SETTINGS = ImageSettings()


def write_pictures(folder: Path) -> list[Path]:
    """Pictures as smooth and as noisy as photographs."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    files = []
    for number in range(PICTURES):
        width = int(draw.integers(640, 1600))
        height = width * 3 // 4
        coarse = draw.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(smooth + draw.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{number}.jpg")
        Image.fromarray(noisy).save(files[-1], quality=85)
    return files


def trajectory(chance: random.Random, images: Sequence[str]) -> dict[str, object]:
    """A row: a picture search, a crop for each further picture, two text searches with long observations."""

    def prose(size: int) -> str:
        start = chance.randrange(len(MANUAL) - size)
        return MANUAL[start : start + size]

    def step(observation: str, name: str, **arguments: object) -> list[tuple[str, str]]:
        call = json.dumps({"name": name, "arguments": arguments})
        return [("gpt", f"<think>{prose(400)}</think>\n<tool_call>{call}</tool_call>"), ("observation", observation)]

    turns = [("human", "<image>" + prose(100)), *step(prose(2600), "image_search", url="img_1")]
    for number in range(1, len(images)):
        turns += step(f"<image>New image ID: img_{number + 2}.", "crop", image="img_1", x=0, y=0, width=9, height=9)
    for _ in range(2):
        turns += step(f"<observation>{prose(10_900)}</observation>", "text_search", q=prose(60), hl="en", top_k=5)
    turns.append(("gpt", f"<think>{prose(900)}</think>\n<response>{prose(800)}</response>"))
    return {
        "conversations": [{"from": role, "value": text} for role, text in turns],
        "images": list(images),
        "system": MANUAL[:7000],
        "tools": json.dumps([{"name": "text_search", "description": MANUAL[:4000], "parameters": {}}]),
    }


def write_release(folder: Path, rows: int) -> list[Path]:
    """The look-alike with ``rows`` rows in all; gives every picture's file."""
    originals = write_pictures(folder.parent / "originals")
    chance = random.Random(0)
    files: list[Path] = []
    whole = sum(SUBSETS.values())
    for name, share in SUBSETS.items():
        file = folder / f"{name}.json"
        (file.parent / "images").mkdir(parents=True)
        with open(file, "w", encoding="utf-8") as out:
            for number in range(max(1, rows * share // whole)):
                images = [f"images/{number}_{i}.jpg" for i in range(1 + (chance.random() < PICTURES_A_ROW - 1))]
                for image in images:
                    files.append(file.parent / image)
                    os.link(chance.choice(originals), files[-1])
                out.write(("[" if not number else ",\n") + json.dumps(trajectory(chance, images), indent=2))
            out.write("]")
    return files


def reencode(files: Sequence[Path]) -> None:
    """What the limit is made of."""
    for file in files:
        picture = Image.open(io.BytesIO(file.read_bytes())).convert("RGB")
        scale = (SETTINGS.max_pixels / (picture.width * picture.height)) ** 0.5
        size = (round(picture.width * scale), round(picture.height * scale))
        picture.resize(size, Image.Resampling.LANCZOS).save(io.BytesIO(), "JPEG", quality=95, subsampling=0)


class Cost(NamedTuple):
    """Seconds by the clock, and of CPU in this process and those that it has ended."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Cost:
        """Since some moment in the past."""
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cls(time.monotonic(), sum(usage.ru_utime + usage.ru_stime for usage in used))

    def since(self, start: Cost) -> Cost:
        """From ``start`` to this."""
        return Cost(self.clock - start.clock, self.cpu - start.cpu)


class Memory:
    """The most that this process and its children have held together, sampled 20 times a second."""

    def __init__(self) -> None:
        self.most = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._stop.wait(0.05):
            self.most = max(self.most, sum(map(_held, [own, *own.children(recursive=True)])))


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def main() -> int:
    """Print the figures; 1 when the import takes too much memory."""
    parser = argparse.ArgumentParser(description="Speed and memory of osvl data import sft.")
    parser.add_argument("--rows", type=int, default=36_592)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the 5 GB may lie for as long as it takes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="data_import-", dir=options.folder))
    console = Console()
    try:
        files = write_release(folder / "release", options.rows)
        size = sum(file.stat().st_size for file in folder.glob("release/*/*.json"))
        pictures = sum(file.stat().st_size for file in files)
        console.print(f"{len(files):,} pictures, {pictures / 1e9:.2f} GB; {size / 1e9:.2f} GB of JSON")

        batches: Iterator[list[Path]] = (files[start : start + 256] for start in range(0, len(files), 256))
        started = Cost.now()
        for _ in run(reencode, batches, options.jobs):
            pass
        limit = Cost.now().since(started)

        started = Cost.now()
        with Memory() as memory:
            report = import_sft(folder / "release", folder / "out", SETTINGS, options.jobs, lambda text: None)
        taken = Cost.now().since(started)
    finally:
        shutil.rmtree(folder)
    table = Table("", "pictures alone", "import", title=f"{report.kept:,} rows, {options.jobs} processes")
    table.add_row("seconds", f"{limit.clock:.0f}", f"{taken.clock:.0f}")
    table.add_row("CPU seconds", f"{limit.cpu:.0f}", f"{taken.cpu:.0f}")
    table.add_row("rows/s", f"{report.kept / limit.clock:.0f}", f"{report.kept / taken.clock:.0f}")
    table.add_row("rows/CPU second", f"{report.kept / limit.cpu:.0f}", f"{report.kept / taken.cpu:.0f}")
    table.add_row("MB/s of pictures and JSON", "", f"{(size + pictures) / taken.clock / 1e6:.0f}")
    table.add_row("of the limit, by CPU seconds", "", f"{limit.cpu / taken.cpu:.0%}")
    table.add_row("memory, all processes", "", f"{memory.most / 2**20:.0f} MiB")
    console.print(table)
    return int(memory.most > MEMORY_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
