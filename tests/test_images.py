"""Pictures in, and what the model sees of them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.errors import ToolError
from osvl_plugins.images import ImageSettings, ImageStore, bounded, decode

DEFAULT = ImageSettings()


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header names a size that its few bytes do not hold."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


sizes = st.integers(1, 120) | st.integers(1, 3000)


@given(sizes, sizes, st.integers(1, 60), st.integers(784, 400_000))
@settings(max_examples=300)
def test_what_the_model_sees_is_inside_both_bounds(width: int, height: int, min_side: int, max_pixels: int) -> None:
    bounds = ImageSettings(min_side=min(min_side, int(max_pixels**0.5)), max_pixels=max_pixels)
    view = bounded(Image.new("1", (width, height)), bounds)
    assert min(view.size) >= bounds.min_side
    assert view.width * view.height <= bounds.max_pixels


@given(st.integers(28, 512), st.integers(28, 512))
def test_a_picture_inside_the_bounds_is_left_alone(width: int, height: int) -> None:
    image = Image.new("1", (width, height))
    assert bounded(image, DEFAULT) is image


@given(st.integers(600, 3000), st.integers(600, 3000))
def test_a_large_picture_keeps_its_shape(width: int, height: int) -> None:
    view = bounded(Image.new("1", (width, height)), DEFAULT)
    assert view.width / view.height == pytest.approx(width / height, rel=0.02)


def test_a_store_keeps_the_original_beside_the_view() -> None:
    store = ImageStore(DEFAULT)
    record = store.add(Image.new("RGB", (2000, 1000)))
    assert (record.width, record.height) == store.original("img_1").size == (2000, 1000)
    assert store.view("img_1").size == (724, 362)


def test_orientation_is_applied() -> None:
    image = Image.new("RGB", (20, 10), "white")
    image.paste("red", (0, 0, 5, 5))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise to be seen
    turned = decode(encoded(image, exif=exif), DEFAULT)
    assert turned.size == (10, 20)
    assert turned.getpixel((9, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("P", "PNG"), ("P", "GIF"), ("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP"),
        ("I;16", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("LAB", "TIFF"), ("F", "TIFF"),
    ],
)  # fmt: skip
def test_every_mode_becomes_rgb(mode: str, kind: str) -> None:
    image = decode(encoded(Image.new(mode, (40, 30)), kind), DEFAULT)
    assert (image.mode, image.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    seen = decode(encoded(image.convert(mode)), DEFAULT)
    assert (seen.getpixel((2, 2)), seen.getpixel((6, 6))) == ((0, 0, 0), (255, 255, 255))


def test_sixteen_bits_keep_their_greys() -> None:
    ramp = Image.fromarray(np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256))
    seen = np.asarray(decode(encoded(ramp), DEFAULT))[0, :, 0]
    assert np.abs(seen.astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(data, DEFAULT).getpixel((8, 8)) == (255, 0, 0)


def test_a_picture_comes_as_bytes_path_mapping_or_object(tmp_path: Path) -> None:
    image = Image.new("RGB", (9, 7), "green")
    file = tmp_path / "a.png"
    image.save(file)
    data = file.read_bytes()
    sources = [image, data, bytearray(data), str(file), {"bytes": data}, {"bytes": None, "path": str(file)}]
    assert [decode(source, DEFAULT).getpixel((0, 0)) for source in [*sources, {"image": image}]] == [(0, 128, 0)] * 7


@pytest.mark.parametrize("side", [7000, 20_000, 2**31 - 1], ids=["large", "bomb", "huge"])
def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(ToolError, match=r"pixels|too large") as error:
        decode(png_that_claims(side, side), DEFAULT)
    assert error.value.kind == "limit"


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"not a picture",
        b"\x89PNG\r\n\x1a\n",
        png_that_claims(50, 50),
        "no/such/file.png",
        7,
        None,
        {},
        {"bytes": None},
    ],
)
def test_what_is_no_picture_is_refused(source: object) -> None:
    with pytest.raises(ToolError, match="picture") as error:
        decode(source, DEFAULT)
    assert error.value.kind == "bad_arguments"


WHOLE = {kind: encoded(Image.effect_noise((24, 24), 60).convert("RGB"), kind) for kind in
         ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "JPEG2000")}  # fmt: skip


@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=1000)
def test_a_damaged_file_is_a_picture_or_refused(kind: str, changes: list[tuple[float, int]], kept: float) -> None:
    data = bytearray(WHOLE[kind])
    for where, value in changes:
        data[int(where * min(len(data), 200))] = value
    small = ImageSettings(max_source_pixels=1_000_000)
    try:
        image = decode(bytes(data[: int(kept * len(data)) + 1]), small)
    except ToolError:
        return
    assert image.mode == "RGB"
