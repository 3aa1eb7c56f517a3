"""Memory and speed of the SFT dataset over a file of pictures, next to verl's own dataset over the same file.

    python benchmarks/sft_dataset.py [--gb 2] [--rows 200]

The file has conversations of three turns with three pictures of about half a megabyte each. Each dataset is opened in
a fresh process, which reads rows at random; memory is the process's peak above what it had after its imports.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from osvl_plugins.curation.rows import SFT_SCHEMA
from osvl_plugins.protocol import format_answer, format_call
from osvl_plugins.tiny import build_tiny

DATASETS = {"this package's": "ours", "verl's MultiTurnSFTDataset": "verls"}
ROW_GROUP = 8


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Conversations with pictures that do not compress."""
    noise = np.random.default_rng(0)
    pictures = []
    for _ in range(32):
        buffer = io.BytesIO()
        Image.fromarray(noise.integers(0, 256, (420, 420, 3), dtype=np.uint8)).save(buffer, "PNG", compress_level=1)
        pictures.append({"bytes": buffer.getvalue()})
    draw = random.Random(0)
    for _ in range(count):
        words = " ".join(str(draw.random()) for _ in range(60))
        messages = [
            {"role": "system", "content": "Tools:"},
            {"role": "user", "content": f"<image>{words}"},
            {"role": "assistant", "content": format_call("crop", {"image": "img_1"}, words)},
            {"role": "tool", "content": "<image>img_2"},
            {"role": "assistant", "content": format_call("text_search", {"q": words}, words)},
            {"role": "tool", "content": f"<image>{words * 4}"},
            {"role": "assistant", "content": format_answer("Oslo", words)},
        ]
        yield {"messages": messages, "images": draw.sample(pictures, 3), "tools": None}


def write(path: Path, gigabytes: float) -> int:
    """A file of about that size; gives its number of rows."""
    count = 0
    with pq.ParquetWriter(path, SFT_SCHEMA, compression="zstd") as writer:
        source = rows(10**9)
        while path.stat().st_size < gigabytes * 2**30:
            portion = [next(source) for _ in range(ROW_GROUP)]
            writer.write_table(pa.Table.from_pylist(portion, schema=SFT_SCHEMA))
            count += ROW_GROUP
    return count


def dataset(which: str, path: Path, model: Path) -> Any:
    """One of the two over ``path``."""
    from omegaconf import OmegaConf
    from verl.utils import hf_processor, hf_tokenizer
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    from osvl_plugins.verl.sft_dataset import ConversationDataset

    # A tool message with pictures is one of the cases for which verl has ignore_input_ids_mismatch.
    settings = {"pad_mode": "no_padding", "max_length": 32_000, "ignore_input_ids_mismatch": True, "tools_key": "none"}
    kind = {"ours": ConversationDataset, "verls": MultiTurnSFTDataset}[which]
    return kind(str(path), hf_tokenizer(str(model)), OmegaConf.create(settings), hf_processor(str(model)))


def peak_mb() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(which: str, path: Path, model: Path, count: int) -> dict[str, float]:
    """In this process: seconds to open, rows a second, and memory."""
    import verl.trainer.sft_trainer  # noqa: F401

    before = peak_mb()
    start = time.perf_counter()
    opened = dataset(which, path, model)
    seconds = time.perf_counter() - start
    order = random.Random(1).sample(range(len(opened)), count + 1)
    opened[order[0]]  # makes what is made at first use
    start = time.perf_counter()
    for number in order[1:]:
        opened[number]
    return {
        "open_s": seconds,
        "rows_per_s": count / (time.perf_counter() - start),
        "peak_mb": peak_mb() - before,
    }


def main() -> None:
    """Write the file, measure both, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--measure", nargs=3, metavar=("WHICH", "FILE", "MODEL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        which, path, model = given.measure
        print(json.dumps(measure(which, Path(path), Path(model), given.rows)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path, model = Path(folder) / "rows.parquet", Path(folder) / "model"
        build_tiny(model, ["a question and its answer"] * 20, ["crop"], ["capital"])
        count = write(path, given.gb)
        print(f"{count} rows, {path.stat().st_size / 2**30:.2f} GB; {given.rows} rows read at random")
        for name, which in DATASETS.items():
            command = [sys.executable, __file__, "--rows", str(given.rows), "--measure", which, str(path), str(model)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
            if done.returncode:
                sys.exit(f"{name} dataset: {done.stderr[-2000:]}")
            figures = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{name} dataset: opened in {figures['open_s']:.1f} s, {figures['rows_per_s']:.1f} rows/s, "
                f"peak {figures['peak_mb']:.0f} MB above the imports"
            )


if __name__ == "__main__":
    main()
