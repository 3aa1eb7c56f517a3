"""Tokens a second of BatchGenerator, and of transformers' own generate one row after the other.

    python benchmarks/generation.py --threads 2

The model is the tiny one (1.3 M parameters) with random weights; a row has one to three pictures, 30 to 200 tokens of
prompt and samples 64 tokens at temperature 1, or fewer when it meets the stop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by OpenMP when torch loads; spinning threads slow each other down on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from PIL import Image

from osvl_plugins import torchvision_ops
from osvl_plugins.generation import BatchGenerator, Request, Sampling
from osvl_plugins.tiny import build_tiny

NEW_TOKENS = 64


def load(folder: Path) -> tuple[Any, Any]:
    """The tiny model and its processor."""
    torchvision_ops.allow_missing()
    from transformers import AutoModelForImageTextToText, AutoProcessor

    build_tiny(folder, ["What is the capital of Norway? Oslo."] * 20, words=["crop", "visit"], labels=["capital"])
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval(), AutoProcessor.from_pretrained(folder)


def requests(processor: Any, count: int) -> list[Request]:
    """Prompts with pictures, the same for the same count."""
    draw = random.Random(count)
    picture = processor.tokenizer("<|vision_start|>" + 4 * "<|image_pad|>" + "<|vision_end|>")["input_ids"]
    made = []
    for _ in range(count):
        images = [
            Image.new("RGB", (64, 64), tuple(draw.randrange(256) for _ in range(3))) for _ in range(draw.randint(1, 3))
        ]
        ids: list[int] = []
        for _ in images:
            ids += [draw.randrange(200) for _ in range(draw.randint(20, 60))] + picture
        made.append(Request(ids, images, Sampling(max_new_tokens=NEW_TOKENS)))
    return made


def batched(model: Any, processor: Any, rows: list[Request]) -> int:
    """Tokens sampled by BatchGenerator for rows that ask at the same time."""

    async def ask() -> int:
        turns = await asyncio.gather(*(generator.generate(row, 600) for row in rows))
        return sum(len(turn.token_ids) for turn in turns)

    generator = BatchGenerator(model, processor)
    try:
        return asyncio.run(ask())
    finally:
        generator.close()


def one_by_one(model: Any, processor: Any, rows: list[Request]) -> int:
    """Tokens sampled by transformers' generate."""
    total = 0
    for row in rows:
        ids = torch.tensor([row.prompt_ids], device=model.device)
        pixels = processor.image_processor(images=list(row.images), return_tensors="pt").to(model.device)
        with torch.inference_mode():
            whole = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == model.config.image_token_id).int(),
                **pixels,
                do_sample=True,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=processor.tokenizer.pad_token_id,
            )
        total += whole.shape[1] - ids.shape[1]
    return total


def tokens_per_second(sample: Callable[[Any, Any, list[Request]], int], *given: Any, repeats: int) -> float:
    """Median rate after one unmeasured round."""
    rates = []
    for repeat in range(repeats + 1):
        start = time.perf_counter()
        tokens = sample(*given)
        if repeat:
            rates.append(tokens / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    with tempfile.TemporaryDirectory() as folder:
        model, processor = load(Path(folder))
        print(f"{settings.threads} threads, {model.device}; tokens a second")
        single = tokens_per_second(one_by_one, model, processor, requests(processor, 8), repeats=settings.repeats)
        print(f"one by one, transformers' generate: {single:,.0f}")
        for count in (1, 16, 64):
            rate = tokens_per_second(batched, model, processor, requests(processor, count), repeats=settings.repeats)
            print(f"BatchGenerator, {count:2d} rows: {rate:,.0f} ({rate / single:.1f} x)")


if __name__ == "__main__":
    main()
