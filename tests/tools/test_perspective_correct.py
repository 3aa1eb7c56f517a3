"""perspective_correct on pages whose corners are known, in front of plain and of real backgrounds."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.perspective_correct import PerspectiveCorrect, correct, find_corners, flatten
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import ToolCall
from tests.agents import context
from tests.pages import Photo, character_error, page, photographed

SIDE = 1100
AT_AN_ANGLE = [(500.0, 60.0), (930.0, 420.0), (560.0, 920.0), (80.0, 520.0)]


def scene(seed: int, background: Image.Image) -> Photo:
    """A page with its corners anywhere in the outer parts of the scene."""
    chance = random.Random(seed)

    def near(x: int, y: int) -> tuple[float, float]:
        return (x + chance.uniform(-85, 85), y + chance.uniform(-85, 85))

    corners = [near(235, 185), near(865, 185), near(865, 915), near(235, 915)]
    return photographed(page(width=600, height=800), corners, background)


def distance(photo: Photo) -> float:
    """Pixels between the farthest found corner and the true one; infinite when there is none."""
    found = find_corners(photo.image)
    return float("inf") if found is None else float(np.abs(found - photo.corners).max())


@pytest.mark.parametrize("grey", [0, 70, 150, 225])
def test_corners_on_a_plain_background_are_found_within_four_pixels(grey: int) -> None:
    background = Image.new("RGB", (SIDE, SIDE), (grey, grey, grey))
    assert max(distance(scene(seed, background)) for seed in range(10)) < 4


def backgrounds(atlas: Corpus) -> list[Image.Image]:
    names = [picture.file for p in atlas.pages.values() for picture in p.pictures if picture.file.endswith(".jpg")]
    return [Image.open(atlas.folder / "images" / name).convert("RGB") for name in names]


def test_most_pages_in_front_of_a_photograph_are_found_and_none_wrongly(atlas: Corpus) -> None:
    found = [distance(scene(i, image.resize((SIDE, SIDE)))) for i, image in enumerate(backgrounds(atlas)[:40])]
    assert sum(pixels < 6 for pixels in found) >= 0.65 * len(found)
    assert not [pixels for pixels in found if 6 <= pixels < float("inf")]


def test_hardly_a_photograph_without_a_page_is_taken_for_one(atlas: Corpus) -> None:
    photographs = backgrounds(atlas)
    assert sum(find_corners(image) is not None for image in photographs) <= 0.05 * len(photographs)


def test_what_could_not_be_read_can_be_read_afterwards() -> None:
    pytest.importorskip("rapidocr")
    from osvl_plugins.backends.ocr import read_picture

    photo = photographed(page(), AT_AN_ANGLE, Image.new("RGB", (1000, 1000), (70, 60, 50)))
    before, after = (
        character_error("\n".join(block.text for block in read_picture(image, False).blocks))
        for image in (photo.image, correct(photo.image))
    )
    assert before > 0.05
    assert after < 0.01


def test_the_result_is_upright_and_as_large_as_the_page_was_seen() -> None:
    sheet = Image.new("RGB", (400, 300), "white")
    sheet.paste("red", (0, 0, 200, 150))
    sheet.paste("lime", (200, 0, 400, 150))
    sheet.paste("blue", (0, 150, 200, 300))
    photo = photographed(sheet, [(100, 120), (520, 90), (500, 430), (130, 400)], Image.new("RGB", (640, 480)))
    flat = flatten(photo.image, photo.corners)
    assert flat.size == (421, 340)
    colours = [flat.getpixel((x * flat.width // 4, y * flat.height // 4)) for x, y in ((1, 1), (3, 1), (1, 3), (3, 3))]
    assert np.abs(np.subtract(colours, [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])).max() < 5


@given(st.lists(st.integers(-200, 700), min_size=8, max_size=8))
def test_the_result_has_no_more_pixels_than_the_picture(values: list[int]) -> None:
    corners = np.array(values, np.float32).reshape(4, 2)
    if np.hypot(*(corners - np.roll(corners, 1, axis=0)).T).min() < 1:
        return
    flat = flatten(Image.new("RGB", (300, 200)), corners)
    assert 1 <= flat.width * flat.height <= 300 * 200


def small_page() -> Image.Image:
    image = Image.new("RGB", (800, 600), "black")
    ImageDraw.Draw(image).polygon([(300, 200), (500, 210), (490, 380), (310, 370)], fill="white")
    return image


def triangle() -> Image.Image:
    image = Image.new("RGB", (800, 600), "black")
    ImageDraw.Draw(image).polygon([(100, 500), (400, 60), (700, 520)], fill="white")
    return image


def circle() -> Image.Image:
    image = Image.new("RGB", (800, 600), "black")
    ImageDraw.Draw(image).ellipse((150, 50, 650, 550), fill="white")
    return image


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.new("RGB", (800, 600), "white"), id="nothing"),
        pytest.param(page(), id="a page without a background"),
        pytest.param(small_page(), id="under a tenth of the picture"),
        pytest.param(triangle(), id="a triangle"),
        pytest.param(circle(), id="a circle"),
        pytest.param(Image.effect_noise((400, 300), 90), id="noise"),
        pytest.param(Image.new("RGB", (1, 1)), id="one pixel"),
        pytest.param(Image.new("RGB", (3000, 2)), id="a strip"),
    ],
)
def test_without_an_outline_the_picture_is_refused(image: Image.Image) -> None:
    with pytest.raises(ToolError, match=r"no outline with four corners .* crop the picture") as caught:
        correct(image)
    assert caught.value.kind == "not_found"


def test_the_tool_gives_a_new_picture_with_its_origin() -> None:
    photo = photographed(page(), AT_AN_ANGLE, Image.new("RGB", (1000, 1000), (70, 60, 50)))
    where = context(photo.image)
    tools = ToolSet([PerspectiveCorrect()], CallSettings())
    observation = asyncio.run(tools.run(ToolCall("perspective_correct", {"image": "img_1"}), where))
    assert observation.error is None
    assert observation.image_ids == ("img_2",)
    record = where.images.records[1]
    assert (record.tool, record.source) == ("perspective_correct", "img_1")
    assert record.width == pytest.approx(624, abs=5)
    assert record.height == pytest.approx(622, abs=5)
