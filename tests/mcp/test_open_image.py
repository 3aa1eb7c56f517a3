"""open_image: pictures from the call or from one folder."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from osvl_plugins.errors import SettingError
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.mcp import open_image as module
from osvl_plugins.mcp.open_image import OpenImage
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Observation, ToolCall

BLUE, RED = (0, 0, 255), (255, 0, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of blue pictures; the red one beside it is secret."""
    top = tmp_path_factory.mktemp("top")
    folder = top / "pictures"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.png"):
        Image.new("RGB", (8, 8), BLUE).save(folder / name)
    (top / "pictures2").mkdir()
    for name in ("secret.png", "pictures2/secret.png"):
        Image.new("RGB", (8, 8), RED).save(top / name)
    (folder / "out").symlink_to(top)
    (folder / "secret.png").symlink_to(top / "secret.png")
    (folder / "inside.png").symlink_to("a.png")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


def open_one(folder: Path | None, arguments: dict[str, Any]) -> tuple[Observation, ImageStore]:
    store = ImageStore(ImageSettings())
    tools = ToolSet([OpenImage(folder, ImageSettings())], CallSettings())
    return asyncio.run(tools.run(ToolCall("open_image", arguments), ToolContext(store))), store


def kind(observation: Observation) -> str | None:
    return observation.error.kind if observation.error is not None else None


@pytest.mark.parametrize("path", ["a.png", "sub/b.png", "sub/../a.png", "inside.png"])
def test_a_path_in_the_folder_opens(folder: Path, path: str) -> None:
    observation, store = open_one(folder, {"path": path})
    assert observation.text == "img_1 (8x8)"
    assert store.original("img_1").getpixel((0, 0)) == BLUE


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("../secret.png", "denied"),
        ("secret.png", "denied"),
        ("out/secret.png", "denied"),
        ("../pictures2/secret.png", "denied"),
        ("/etc/passwd", "denied"),
        ("../no such file", "denied"),
        ("none.png", "not_found"),
        ("sub", "not_found"),
        ("pipe", "not_found"),
        ("loop", "not_found"),
        ("a.png\0", "not_found"),
        ("x" * 900, "not_found"),
    ],
)
def test_any_other_path_is_refused(folder: Path, path: str, expected: str) -> None:
    assert kind(open_one(folder, {"path": path})[0]) == expected


@given(st.lists(st.sampled_from(["..", ".", "", "out", "sub", "pictures", "pictures2", "a.png", "secret.png", "~"])))
def test_no_path_leads_out_of_the_folder(folder: Path, parts: list[str]) -> None:
    observation, store = open_one(folder, {"path": "/".join(parts)})
    assert all(store.original(image_id).getpixel((0, 0)) == BLUE for image_id in observation.image_ids)


def test_without_a_folder_no_path_opens(folder: Path) -> None:
    assert kind(open_one(None, {"path": str(folder / "a.png")})[0]) == "denied"


def encoded() -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 5), RED).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("form", ["{}", "data:image/png;base64,{}", "DATA:;base64,{}", "\n{}\n"])
def test_base64_and_data_urls_open(form: str) -> None:
    assert open_one(None, {"data": form.format(encoded())})[0].text == "img_1 (9x5)"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"data": "", "path": ""},
        {"data": encoded(), "path": "a.png"},
        {"data": "no base64!"},
        {"data": "data:image/png,abc"},
        {"data": "data:image/png;base64"},
        {"data": base64.b64encode(b"no picture").decode()},
    ],
)
def test_what_is_no_picture_is_said(folder: Path, arguments: dict[str, str]) -> None:
    assert kind(open_one(folder, arguments)[0]) == "bad_arguments"


def test_a_file_over_the_bound_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert kind(open_one(folder, {"path": "a.png"})[0]) == "limit"


def test_a_folder_that_is_none_stops_the_server(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--images"):
        OpenImage(tmp_path / "none", ImageSettings())
