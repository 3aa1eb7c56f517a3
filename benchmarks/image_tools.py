"""How well the image tools repair and read pictures whose truth is known, and how fast.

    python benchmarks/image_tools.py ATLAS [--photos N]

Four tables: reading damaged pages (character error), super-resolution against Lanczos interpolation (decibels),
reading before and after the perspective is corrected with the share of outlines found by the reference's one attempt
and by all, and what a worker process costs. ATLAS is the embedded corpus, whose photographs are used.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from osvl_plugins.backends.layout import Layout
from osvl_plugins.backends.ocr import EmbeddedReader, read_picture
from osvl_plugins.backends.upscale import enlarge, interpolate
from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
from osvl_plugins.errors import ToolError
from osvl_plugins.tools import perspective_correct

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import pages  # the pages that the tests use

T = TypeVar("T")
CROP = 384
SCENE = 1100


def timed(function: Callable[..., T], *args: object) -> tuple[T, float]:
    """The result and the seconds."""
    started = time.perf_counter()
    return function(*args), time.perf_counter() - started


def error(layout: Layout) -> float:
    """Character error of the page's text."""
    return pages.character_error("\n".join(block.text for block in layout.blocks))


def noisy(image: Image.Image) -> Image.Image:
    """Gaussian noise, sigma 40."""
    noise = np.random.default_rng(0).normal(0, 40, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def damaged() -> dict[str, Image.Image]:
    """One page in nine states."""
    page = pages.page()
    scene = Image.new("RGB", (1000, 1000), (70, 60, 50))
    return {
        "straight": page,
        "turned 90": page.rotate(90, expand=True),
        "turned 180": page.rotate(180),
        "turned 270": page.rotate(270, expand=True),
        "mild perspective": pages.photographed(page, [(150, 120), (860, 60), (930, 830), (90, 760)], scene).image,
        "blur 2.5": pages.blurred(page, 2.5),
        "8-pixel type": pages.scaled(page, 0.35),
        "JPEG 15": pages.compressed(page, 15),
        "noise 40": noisy(page),
    }


def reading() -> Table:
    """Character error and seconds of each damaged page; before that one page to load the models."""
    table = Table("page", "size", "character error", "turned", "seconds", title="layout_parsing (rapidocr)")
    read_picture(pages.page(), False)
    for name, image in damaged().items():
        layout, seconds = timed(read_picture, image, False)
        size = f"{image.width}x{image.height}"
        table.add_row(name, size, f"{error(layout):.3f}", str(layout.turned), f"{seconds:.2f}")
    return table


def middle(image: Image.Image) -> Image.Image:
    """The middle square."""
    x, y = (image.width - CROP) // 2, (image.height - CROP) // 2
    return image.crop((x, y, x + CROP, y + CROP))


def enlarging(photos: list[Image.Image]) -> Table:
    """Mean decibels over photographs and over pages of text, and seconds of the net."""
    table = Table("truth", "scale", "waifu2x dB", "Lanczos dB", "seconds", "from", title="super_resolution")
    sets = {
        "photographs": [middle(image) for image in photos if min(image.size) >= CROP],
        "text": [middle(pages.page(font_size=size)) for size in (20, 24, 32)],
    }
    for name, truths in sets.items():
        for scale in (2, 4):
            side = CROP // scale
            small = [truth.resize((side, side), Image.Resampling.BICUBIC) for truth in truths]
            results = [timed(enlarge, image, scale) for image in small]
            net = np.mean([pages.psnr(result, truth) for (result, _), truth in zip(results, truths, strict=True)])
            plain = np.mean(
                [pages.psnr(interpolate(image, scale), truth) for image, truth in zip(small, truths, strict=True)]
            )
            seconds = np.median([seconds for _, seconds in results])
            table.add_row(name, str(scale), f"{net:.2f}", f"{plain:.2f}", f"{seconds:.2f}", f"{side}x{side}")
    for side in (256, 512):
        _, seconds = timed(enlarge, photos[0].resize((side, side)), 4)
        table.add_row("(time alone)", "4", "", "", f"{seconds:.2f}", f"{side}x{side}")
    return table


ANGLES = {
    "from below": [(330, 180), (700, 190), (960, 860), (40, 800)],
    "from the side": [(120, 60), (560, 400), (560, 640), (120, 960)],
    "on its corner": [(500, 60), (930, 420), (560, 920), (80, 520)],
    "flat": [(120, 420), (900, 380), (960, 640), (60, 680)],
}


def flattening() -> Table:
    """Character error without and with correction."""
    table = Table("seen", "error as seen", "error corrected", "seconds", title="perspective_correct, then reading")
    scene = Image.new("RGB", (1000, 1000), (70, 60, 50))
    for name, corners in ANGLES.items():
        photo = pages.photographed(pages.page(), corners, scene)
        before = error(read_picture(photo.image, False))
        try:
            flat, seconds = timed(perspective_correct.correct, photo.image)
        except ToolError as failure:
            table.add_row(name, f"{before:.3f}", failure.kind, "")
            continue
        table.add_row(name, f"{before:.3f}", f"{error(read_picture(flat, False)):.3f}", f"{seconds:.3f}")
    return table


def scenes(backgrounds: list[Image.Image]) -> Iterator[pages.Photo]:
    """A page at a random angle in front of each background."""
    for seed, background in enumerate(backgrounds):
        chance = random.Random(seed)
        corners = [
            (x + chance.uniform(-85, 85), y + chance.uniform(-85, 85))
            for x, y in ((235, 185), (865, 185), (865, 915), (235, 915))
        ]
        yield pages.photographed(pages.page(width=600, height=800), corners, background.resize((SCENE, SCENE)))


def finding(photos: list[Image.Image]) -> Table:
    """Outlines found with all corners within 6 pixels, and wrong ones, by the first attempt alone and by all."""
    table = Table("background", "scenes", "first attempt", "all attempts", "wrong", "seconds", title="outlines")
    plain = {f"grey {level}": [Image.new("RGB", (8, 8), (level,) * 3)] * 20 for level in (70, 150, 225)}
    attempts = perspective_correct._masks
    for name, backgrounds in {**plain, "photographs": photos}.items():
        first = right = wrong = 0
        seconds = []
        for photo in scenes(backgrounds):
            found, spent = timed(perspective_correct.find_corners, photo.image)
            seconds.append(spent)
            good = found is not None and np.abs(found - photo.corners).max() < 6
            right += good
            wrong += found is not None and not good
            perspective_correct._masks = lambda pixels: iter([next(attempts(pixels))])
            found, _ = timed(perspective_correct.find_corners, photo.image)
            perspective_correct._masks = attempts
            first += found is not None and bool(np.abs(found - photo.corners).max() < 6)
        table.add_row(name, str(len(seconds)), str(first), str(right), str(wrong), f"{np.median(seconds):.3f}")
    taken = sum(perspective_correct.find_corners(photo) is not None for photo in photos)
    table.add_row("photographs without a page", str(len(photos)), "", "", str(taken), "")
    return table


async def processes() -> Table:
    """Start, first and later jobs, memory, and what sending a picture costs."""
    table = Table("what", "value", title="a worker process")
    workers = ProcessWorkers(WorkerSettings(processes=1))
    reader = EmbeddedReader(workers)

    async def spent(job: Callable[[], object]) -> str:
        started = time.perf_counter()
        await job()  # type: ignore[misc]
        return f"{time.perf_counter() - started:.3f} s"

    page = pages.page()
    table.add_row("start", await spent(lambda: workers.run(os.getpid)))
    table.add_row("empty job", await spent(lambda: workers.run(os.getpid)))
    table.add_row("first page (loads the models)", await spent(lambda: reader.read(page, False, False)))
    table.add_row("next page", await spent(lambda: reader.read(page, False, False)))
    for megapixels in (1, 4, 12, 40):
        side = round((megapixels * 1e6) ** 0.5)
        image = Image.new("RGB", (side, side))
        table.add_row(f"sending {megapixels} MP", await spent(lambda image=image: workers.run(id, image)))
    process = psutil.Process(await workers.run(os.getpid))
    table.add_row("memory after these", f"{process.memory_info().rss / 1e6:.0f} MB")
    for _ in range(2):
        await reader.read(pages.page(font_size=60, width=2000, height=2000), False, False)
    table.add_row("memory after 2000x2000 pages", f"{process.memory_info().rss / 1e6:.0f} MB")
    table.add_row("threads", str(process.num_threads()))
    workers.close()
    return table


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("atlas", type=Path)
    parser.add_argument("--photos", type=int, default=24)
    arguments = parser.parse_args()
    names = sorted((arguments.atlas / "images").glob("*.jpg"))
    photos = [Image.open(name).convert("RGB") for name in names[:: max(1, len(names) // arguments.photos)]]
    console = Console()
    console.print(asyncio.run(processes()))
    console.print(reading())
    console.print(enlarging(photos))
    console.print(flattening())
    console.print(finding(photos))


if __name__ == "__main__":
    main()
