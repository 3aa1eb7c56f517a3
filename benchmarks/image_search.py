"""How well the embedded corpus recognises its own pictures after they were damaged, and how fast.

    python benchmarks/image_search.py ATLAS [--every N]

For each damage: how often the right picture is first, how often it is a confident hit, how often another picture is
(for pictures without a twin), and the time of a query. Then the blurs: at which strength is the blurred picture no
confident hit while the sharpened one is a right one?
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.image_index import PictureKey

SIDE = 256
SIGMAS = (2.0, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0)
AMOUNTS = (1.5, 3.0, 4.0)
AGENT_AMOUNTS = (1.5, 3.0)
SEED = 0

Damage = Callable[[Image.Image], Image.Image]


class Outcome(NamedTuple):
    """Of one query: the right picture is first, is confident; another one is confident; seconds."""

    first: bool
    confident: bool
    wrong: bool
    seconds: float


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Scaled so that the longer side has ``side`` pixels."""
    scale = side / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Gaussian blur, sigma in pixels."""
    return Image.fromarray(cv2.GaussianBlur(np.asarray(image), (0, 0), sigma))


def sharpened(image: Image.Image, amount: float) -> Image.Image:
    """Unsharp mask: (1 + amount) I - amount G(I, 3)."""
    pixels = np.asarray(image).astype(np.float32)
    mask = cv2.GaussianBlur(pixels, (0, 0), 3.0)
    return Image.fromarray(np.clip((1 + amount) * pixels - amount * mask, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Encoded and decoded again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    """The middle ``share`` of each side."""
    width, height = round(image.width * share), round(image.height * share)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def padded(image: Image.Image, share: float) -> Image.Image:
    """On a grey ground that is larger by ``share`` on each side."""
    dx, dy = round(image.width * share), round(image.height * share)
    canvas = Image.new("RGB", (image.width + 2 * dx, image.height + 2 * dy), (128, 128, 128))
    canvas.paste(image, (dx, dy))
    return canvas


def collage(images: Sequence[Image.Image]) -> Image.Image:
    """Four pictures of 128 x 128 in 256 x 256."""
    canvas = Image.new("RGB", (SIDE, SIDE))
    for at, image in enumerate(images):
        canvas.paste(image.resize((SIDE // 2, SIDE // 2)), (at % 2 * SIDE // 2, at // 2 * SIDE // 2))
    return canvas


def ask(corpus: Corpus, image: Image.Image, right: set[PictureKey]) -> Outcome:
    """Search for ``image``, which shows the pictures ``right``."""
    start = time.perf_counter()
    hits = corpus.search_image(image, 5)
    seconds = time.perf_counter() - start
    keys = [(hit.page_id, hit.picture_index) for hit in hits]
    sure = {key for key, hit in zip(keys, hits, strict=True) if hit.confident}
    return Outcome(keys[0] in right, bool(sure & right), bool(sure - right), seconds)


def report(
    table: Table, name: str, keys: Sequence[PictureKey], outcomes: Sequence[Outcome], twins: frozenset[PictureKey]
) -> None:
    """Add a row."""
    plain = [outcome for key, outcome in zip(keys, outcomes, strict=True) if key not in twins]
    times = sorted(outcome.seconds * 1000 for outcome in outcomes)
    table.add_row(
        name,
        f"{np.mean([outcome.first for outcome in outcomes]):.3f}",
        f"{np.mean([outcome.confident for outcome in outcomes]):.3f}",
        f"{np.mean([outcome.wrong for outcome in plain]):.4f}",
        f"{np.mean(times):.1f}",
        f"{times[int(len(times) * 0.95)]:.1f}",
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Recognition and speed of the embedded corpus's picture search.")
    parser.add_argument("atlas", help="folder of a built corpus")
    parser.add_argument("--every", type=int, default=1, help="use every N-th picture")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    corpus = Corpus.open(options.atlas)
    keys = [(page.id, at) for page in corpus.pages.values() for at in range(len(page.pictures))][:: options.every]
    pictures = {key: fitted(corpus.picture(*key), SIDE) for key in keys}
    twins = corpus.ambiguous_pictures
    damages: dict[str, Damage] = {
        "clean": lambda image: image,
        "JPEG quality 40": lambda image: jpeg(image, 40),
        "JPEG quality 15": lambda image: jpeg(image, 15),
        "128 px": lambda image: fitted(image, 128),
        "64 px": lambda image: fitted(image, 64),
        "128 x 128": lambda image: image.resize((128, 128)),
        "middle 94 %": lambda image: cropped(image, 0.94),
        "middle 60 %": lambda image: cropped(image, 0.6),
        "grey edge 3 %": lambda image: padded(image, 0.03),
        "turned by 10 degrees": lambda image: image.rotate(10),
        **{f"blur {sigma:g}": partial(blurred, sigma=sigma) for sigma in SIGMAS},
    }
    console = Console()
    table = Table("damage", "first", "confident", "wrong", "ms mean", "ms p95", title=f"{len(keys)} pictures")
    for name, damage in damages.items():
        report(table, name, keys, [ask(corpus, damage(pictures[key]), {key}) for key in keys], twins)
    chance = random.Random(SEED)
    mixed = [[key, *chance.sample([other for other in keys if other != key], 3)] for key in keys]
    collages = [collage([pictures[key] for key in group]) for group in mixed]
    outcomes = [ask(corpus, image, set(group)) for image, group in zip(collages, mixed, strict=True)]
    report(table, "2x2 collage (any of its four)", keys, outcomes, twins)
    quadrants = [image.crop((0, 0, SIDE // 2, SIDE // 2)) for image in collages]
    report(
        table,
        "its first quadrant",
        keys,
        [ask(corpus, q, {key}) for q, key in zip(quadrants, keys, strict=True)],
        twins,
    )
    console.print(table)

    table = Table(
        "blur", "blurred", *[f"sharpened {amount:g}" for amount in AMOUNTS], "wrong", "useful", title="confident hits"
    )
    useful_somewhere: set[PictureKey] = set()
    for sigma in SIGMAS:
        soft = {key: blurred(pictures[key], sigma) for key in keys}
        before = {key: ask(corpus, soft[key], {key}) for key in keys}
        after = {amount: {key: ask(corpus, sharpened(soft[key], amount), {key}) for key in keys} for amount in AMOUNTS}
        useful = {
            key
            for key in keys
            if not before[key].confident
            and not before[key].wrong
            and any(after[amount][key].confident for amount in AGENT_AMOUNTS)
        }
        useful_somewhere |= useful
        wrong = [answers[key].wrong for answers in after.values() for key in keys if key not in twins]
        table.add_row(
            f"{sigma:g}",
            f"{np.mean([outcome.confident for outcome in before.values()]):.3f}",
            *[f"{np.mean([outcome.confident for outcome in answers.values()]):.3f}" for answers in after.values()],
            f"{np.mean(wrong):.4f}",
            f"{len(useful) / len(keys):.3f}",
        )
    console.print(table)
    console.print(f"A useful blur exists for {len(useful_somewhere) / len(keys):.3f} of the pictures.")


if __name__ == "__main__":
    main()
