from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from osvl_plugins.corpus.image_index import ImageIndex, describe
from osvl_plugins.errors import CorpusError, ToolError

COLOURS = ["#ce1126", "#002395", "#fcd116", "#009b3a", "#ffffff", "#111111"]


def stripes(colours: list[str], upright: bool = False) -> Image.Image:
    image = Image.new("RGB", (300, 200))
    draw = ImageDraw.Draw(image)
    for at, colour in enumerate(colours):
        box = (at * 300 // len(colours), 0, 300, 200) if upright else (0, at * 200 // len(colours), 300, 200)
        draw.rectangle(box, fill=colour)
    return image


def scene(seed: int) -> Image.Image:
    """A picture with much detail: shapes of random place, size and colour."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (400, 300), tuple(int(value) for value in rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(120):
        x, y, w, h = (int(value) for value in rng.integers([0, 0, 8, 8], [380, 280, 70, 70]))
        colour = tuple(int(value) for value in rng.integers(0, 255, 3))
        (draw.rectangle if rng.random() < 0.5 else draw.ellipse)((x, y, x + w, y + h), fill=colour)
    return image


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    small = image.resize((256, round(256 * image.height / image.width)))
    return Image.fromarray(cv2.GaussianBlur(np.asarray(small), (0, 0), sigma))


def sharpened(image: Image.Image, amount: float) -> Image.Image:
    pixels = np.asarray(image).astype(np.float32)
    return Image.fromarray(
        np.clip((1 + amount) * pixels - amount * cv2.GaussianBlur(pixels, (0, 0), 3), 0, 255).astype(np.uint8)
    )


@functools.cache
def pictures() -> dict[str, Image.Image]:
    return {
        "red-blue-yellow": stripes(COLOURS[:3]),
        "blue-white-red": stripes(["#002395", "#ffffff", "#ce1126"], upright=True),
        "green-white-red": stripes(["#009b3a", "#ffffff", "#ce1126"], upright=True),
        "twin-a": stripes(["#009b3a", "#fcd116"]),
        "twin-b": stripes(["#029a3c", "#fbd018"]),
        **{f"scene-{seed}": scene(seed) for seed in range(6)},
    }


@functools.cache
def index() -> ImageIndex:
    return ImageIndex.build({(name, 0): describe(image) for name, image in pictures().items()})


def sure(image: Image.Image) -> set[str]:
    return {hit.page_id for hit in index().search(image, 5) if hit.confident}


ALONE = [name for name in pictures() if not name.startswith("twin")]
SCENES = [name for name in pictures() if name.startswith("scene")]


@pytest.mark.parametrize("name", ALONE)
def test_a_picture_is_its_own_only_confident_hit(name: str) -> None:
    assert sure(pictures()[name]) == {name}


@pytest.mark.parametrize("name", ALONE)
def test_a_small_copy_is_recognised(name: str) -> None:
    assert sure(pictures()[name].resize((128, 90))) == {name}


@pytest.mark.parametrize("name", ALONE)
def test_a_strong_blur_leaves_no_confident_hit_and_sharpening_brings_it_back(name: str) -> None:
    soft = blurred(pictures()[name], 4.0)
    assert sure(soft) == set()
    assert sure(sharpened(soft, 3.0)) == {name}


@pytest.mark.parametrize("name", SCENES)
def test_a_crop_is_recognised(name: str) -> None:
    assert sure(pictures()[name].crop((60, 40, 340, 250))) == {name}


@pytest.mark.parametrize("name", ALONE)
def test_a_slightly_tight_crop_is_recognised(name: str) -> None:
    image = pictures()[name]
    edge = round(image.width * 0.01)
    assert sure(image.crop((edge, edge, image.width - edge, image.height - edge))) == {name}


def test_a_collage_has_no_confident_hit() -> None:
    canvas = Image.new("RGB", (256, 256))
    for at, name in enumerate(SCENES[:4]):
        canvas.paste(pictures()[name].resize((128, 128)), (at % 2 * 128, at // 2 * 128))
    assert sure(canvas) == set()


def test_an_unknown_picture_has_no_confident_hit() -> None:
    assert sure(scene(99)) == set()


def test_a_flat_picture_has_no_confident_hit() -> None:
    assert sure(Image.new("RGB", (200, 100), "#ce1126")) == set()


def test_nearly_equal_pictures_are_ambiguous() -> None:
    assert index().ambiguous() == {("twin-a", 0), ("twin-b", 0)}


def test_an_index_read_back_answers_alike(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    index().save(file)
    opened = ImageIndex.open(file)
    for image in pictures().values():
        hits = opened.search(image, 3)
        assert [hit[:2] for hit in hits if hit.confident] == [
            hit[:2] for hit in index().search(image, 3) if hit.confident
        ]


def test_a_damaged_index_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    file.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="build the corpus again"):
        ImageIndex.open(file)


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    ImageIndex.build({}).save(tmp_path / "images.npz")
    assert ImageIndex.open(tmp_path / "images.npz").search(scene(1), 3) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3000, 2)])
def test_odd_shapes_are_searched(size: tuple[int, int]) -> None:
    assert len(index().search(Image.new("RGB", size, "white"), 3)) == 3


def test_k_must_be_positive() -> None:
    with pytest.raises(ToolError) as caught:
        index().search(scene(1), 0)
    assert caught.value.kind == "bad_arguments"


def test_a_huge_picture_is_over_the_limit() -> None:
    with pytest.raises(ToolError) as caught:
        index().search(Image.new("1", (8000, 8000)), 1)
    assert caught.value.kind == "limit"
