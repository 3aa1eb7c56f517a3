"""Pictures that rows name, within bounds."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.data import pictures
from osvl_plugins.data.pictures import Pictures, check, fit, peek
from osvl_plugins.data.report import Rejected
from osvl_plugins.images import ImageSettings
from tests.data import released

SETTINGS = ImageSettings(max_pixels=10_000)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def reason(data: bytes, settings: ImageSettings = SETTINGS) -> str:
    with pytest.raises(Rejected) as rejected:
        fit(data, settings)
    return rejected.value.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_within_the_bounds_keeps_its_bytes(kind: str) -> None:
    data = released.picture(1, (100, 100), kind)
    assert fit(data, SETTINGS) == (data, pictures.SUFFIXES[kind], "unchanged")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_a_large_picture_is_scaled_to_the_bound(kind: str) -> None:
    fitted = fit(released.picture(1, (400, 300), kind), SETTINGS)
    image = peek(fitted.data)
    assert (fitted.change, fitted.suffix, image.format) == ("scaled", ".jpg", "JPEG")
    assert 0.95 * 10_000 < image.width * image.height <= 10_000
    assert image.width / image.height == pytest.approx(4 / 3, rel=0.03)


def test_a_picture_that_readers_would_see_differently_is_converted() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    flat = Image.new("RGB", (60, 40), "red")
    clear = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    for data, size, colour in (
        (encoded(flat, "JPEG", exif=turned), (40, 60), (254, 0, 0)),
        (encoded(clear, "PNG"), (60, 40), (255, 255, 255)),
        (encoded(flat, "GIF"), (60, 40), (254, 0, 0)),
        (encoded(flat.convert("CMYK"), "JPEG"), (60, 40), (254, 0, 0)),
        (encoded(flat, "PNG", save_all=True, append_images=[flat.rotate(90)]), (60, 40), (254, 0, 0)),
    ):
        fitted = fit(data, SETTINGS)
        image = peek(fitted.data)
        assert (fitted.change, image.size) == ("converted", size)
        assert image.convert("RGB").getpixel((5, 5)) == pytest.approx(colour, abs=3)


def test_a_damaged_picture_is_unreadable() -> None:
    whole = released.picture(1, (90, 90))
    for data in (b"", b"text", whole[: len(whole) // 2], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"):
        assert reason(data) == "picture_unreadable"
        with pytest.raises(Rejected):
            check(data, SETTINGS)


def test_a_giant_picture_is_too_large() -> None:
    flat = Image.new("L", (20_000, 10_000))
    assert reason(encoded(flat, "PNG")) == "picture_too_large"
    assert reason(released.picture(1, (300, 100)), ImageSettings(max_source_pixels=20_000)) == "picture_too_large"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("place", "reference"),
    [
        ("images/1.jpg", "images/1.jpg"),
        ("images/1.jpg", "new_fvqa/images/1.jpg"),
        ("images/1.jpg", "/home/somebody/data/fvqa/images/1.jpg"),
        ("images/1.jpg", "1.jpg"),
        ("images/1.jpg", "images\\1.jpg"),
        ("images/images/1.jpg", "images/1.jpg"),
    ],
)
def test_a_reference_is_found_where_downloads_put_it(tmp_path: Path, packed: bool, place: str, reference: str) -> None:
    (released.write_zip if packed else released.write_folder)(
        tmp_path / "images.zip" if packed else tmp_path, {place: b"it", "images/2.jpg": b"other"}
    )
    assert Pictures([tmp_path]).read(reference) == b"it"


def test_a_folder_before_those_of_the_archive_is_no_hindrance(tmp_path: Path) -> None:
    released.write_zip(tmp_path / "a.zip", {"fvqa/images/1.jpg": b"it"})
    assert Pictures([tmp_path]).read("images/1.jpg") == b"it"


def test_of_two_pictures_that_a_reference_may_mean_none_is_taken(tmp_path: Path) -> None:
    released.write_zip(tmp_path / "a.zip", {"fvqa/images/1.jpg": b"a", "palace/images/1.jpg": b"b"})
    with pytest.raises(Rejected, match="picture_missing"):
        Pictures([tmp_path]).read("images/1.jpg")


@pytest.mark.parametrize("reference", ["../secret.jpg", "images/../../secret.jpg", "{}/secret.jpg", "", "\0", "\ud800"])
def test_nothing_outside_the_folder_is_read(tmp_path: Path, reference: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "data" / "images").mkdir(parents=True)
    with pytest.raises(Rejected, match="picture_missing"):
        Pictures([tmp_path / "data"]).read(reference.format(tmp_path))


def test_a_file_of_too_many_bytes_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 100)
    (tmp_path / "1.jpg").write_bytes(bytes(200))
    with pytest.raises(Rejected, match="picture_too_large"):
        Pictures([tmp_path]).read("1.jpg")


def test_a_row_of_too_many_bytes_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_ROW_BYTES", 100)
    released.write_folder(tmp_path, {"1.jpg": bytes(60), "2.jpg": bytes(60)})
    found = Pictures([tmp_path]).read_all(["1.jpg", "2.jpg", "none.jpg"])
    assert next(found) == bytes(60)
    with pytest.raises(Rejected, match="picture_too_large"):
        next(found)
