"""Pictures get public addresses that depend on nothing but their pixels."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.backends.image_host import ImageHost, ImageHostSettings
from osvl_plugins.errors import SettingError, ToolError
from osvl_plugins.settings import read
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving

PICTURE = Image.linear_gradient("L").convert("RGB")


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def host(doubles: Doubles, tmp_path: Path) -> AsyncIterator[ImageHost]:
    settings = ImageHostSettings(
        put_url=f"{doubles.url}/store/{{name}}",
        public_url="https://pictures.example.org/{name}?v=1",
        key_env=KEY_ENV,
        max_pixels=10_000,
    )
    async with client(tmp_path) as http:
        yield ImageHost(settings, http, recorder(tmp_path))


async def test_what_is_published_is_a_bounded_jpeg_of_the_picture(host: ImageHost, doubles: Doubles) -> None:
    url = await host.publish(PICTURE)
    [(name, data)] = doubles.stored.items()
    assert url == f"https://pictures.example.org/{name}?v=1"
    stored = Image.open(io.BytesIO(data))
    assert (stored.format, stored.size) == ("JPEG", (100, 100))
    assert doubles.seen[0].headers["Content-Type"] == "image/jpeg"


async def test_equal_pictures_have_one_address_and_others_another(host: ImageHost) -> None:
    first, second, other = [await host.publish(each) for each in (PICTURE, PICTURE.copy(), PICTURE.rotate(90))]
    assert first == second != other


async def test_without_a_host_the_error_names_the_settings(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        with pytest.raises(ToolError, match=r"image_host\.put_url and image_host\.public_url") as caught:
            await ImageHost(ImageHostSettings(), http, recorder(tmp_path)).publish(PICTURE)
    assert caught.value.kind == "unavailable"


@pytest.mark.parametrize("url", ["https://example.org/", "ftp://example.org/{name}", "{name}"])
def test_an_address_without_a_place_for_the_name_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingError, match=r"image_host\.put_url: .*must be an http address with \{name\}"):
        read(ImageHostSettings, {"put_url": url}, "image_host")
