"""Views of a picture."""

from __future__ import annotations

import io
import random

import pytest
from PIL import Image

from osvl_plugins.curation.views import FRAME, QUADRANTS, SIDE, VIEW_SHARES, blurred, framed, inside, plain

COLOURS = ("lime", "blue", "yellow", "black")
PICTURES = [Image.new("RGB", (300, 200), colour) for colour in COLOURS]


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(one - other) < 40 for one, other in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("size", [(1000, 500), (100, 400), (40, 30)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_a_plain_view_keeps_the_shape_and_fits(size: tuple[int, int], mode: str) -> None:
    view = opened(plain(Image.new(mode, size)))
    assert (view.format, view.mode) == ("JPEG", "RGB")
    assert max(view.size) <= SIDE
    assert view.width / view.height == pytest.approx(size[0] / size[1], rel=0.03)


def test_a_blurred_view_has_its_size_and_less_detail() -> None:
    noise = Image.effect_noise((200, 200), 80)
    sharp, soft = opened(plain(noise)), opened(blurred(noise, 3.0))
    assert sharp.size == soft.size
    spread = [high - low for high, low in (image.convert("L").getextrema()[::-1] for image in (sharp, soft))]
    assert spread[1] < spread[0] / 2


@pytest.mark.parametrize("quadrant", sorted(QUADRANTS))
def test_the_first_picture_stands_in_the_red_frame(quadrant: str) -> None:
    sheet = opened(framed(PICTURES, quadrant, random.Random(0)))
    assert sheet.size == (SIDE, SIDE)
    box = QUADRANTS[quadrant]
    inner = inside(box)
    middle = (inner.x + inner.width // 2, inner.y + inner.height // 2)
    assert near(sheet.getpixel(middle), (0, 255, 0))
    assert near(sheet.getpixel((box.x + FRAME // 2, middle[1])), (255, 0, 0))
    assert near(sheet.getpixel((box.x + box.width - FRAME // 2, middle[1])), (255, 0, 0))


def test_every_other_picture_stands_in_another_quadrant() -> None:
    sheet = opened(framed(PICTURES, "top left", random.Random(0)))
    middles = [(box.x + box.width // 2, box.y + box.height // 2) for box in QUADRANTS.values()]
    wanted = [(0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0)]
    assert [sum(near(sheet.getpixel(middle), colour) for middle in middles) for colour in wanted] == [1] * 4


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_sheet_of_other_than_four_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"shows 4 pictures, got {count}"):
        framed([PICTURES[0]] * count, "top left", random.Random(0))


def test_quadrants_cover_the_sheet_without_overlap() -> None:
    covered = {
        (x, y)
        for box in QUADRANTS.values()
        for x in range(box.x, box.x + box.width)
        for y in range(box.y, box.y + box.height)
    }
    assert len(covered) == SIDE * SIDE == sum(box.width * box.height for box in QUADRANTS.values())


def test_the_shares_of_views_add_up() -> None:
    assert sum(VIEW_SHARES.values()) == pytest.approx(1)
