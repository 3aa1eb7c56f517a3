"""PP-StructureV3: what is sent, and where the parts of its answer lie in the picture that was given."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from osvl_plugins.backends.layout import Block, Box
from osvl_plugins.backends.paddle import PaddleReader, PaddleSettings, rows
from osvl_plugins.errors import ToolError
from tests.backends.doubles import KEY, KEY_ENV, Doubles, client, recorder, serving

PICTURE = Image.new("RGB", (600, 400), "white")


def part(label: str, content: str, *corners: float) -> dict[str, Any]:
    return {"block_label": label, "block_content": content, "block_bbox": list(corners), "block_id": 0}


@pytest.fixture
async def doubles(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doubles]:
    monkeypatch.setenv(KEY_ENV, KEY)
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def reader(doubles: Doubles, tmp_path: Path) -> AsyncIterator[PaddleReader]:
    settings = PaddleSettings(url=f"{doubles.url}/paddle", key_env=KEY_ENV, max_blocks=3, max_chars=100)
    async with client(tmp_path) as http:
        yield PaddleReader(settings, http, recorder(tmp_path))


async def test_the_picture_goes_out_as_a_file_with_the_options(reader: PaddleReader, doubles: Doubles) -> None:
    await reader.read(PICTURE, True, False)
    [seen] = doubles.seen
    sent = Image.open(io.BytesIO(base64.b64decode(seen.json["file"])))
    assert (sent.format, sent.size) == ("JPEG", (600, 400))
    assert {name: value for name, value in seen.json.items() if name != "file"} == {
        "fileType": 1,
        "useDocOrientationClassify": False,
        "useChartRecognition": True,
        "useDocUnwarping": False,
        "visualize": False,
    }
    assert seen.headers["Authorization"] == f"token {KEY}"


async def test_parts_come_in_order_with_kind_place_and_score(reader: PaddleReader, doubles: Doubles) -> None:
    doubles.results = [
        part("doc_title", "Harbour dues", 10, 20, 110, 50),
        part("figure_title", "Fig. 1", 5.4, 60.6, 50, 80),
        part("something_new", "42", 0, 90, 900, 100),
    ]
    doubles.extra = {
        "layout_det_res": {"boxes": [{"coordinate": [9, 19, 111, 51], "label": "doc_title", "score": 0.9}]}
    }
    layout = await reader.read(PICTURE, False, False)
    assert layout.blocks == (
        Block("title", Box(10, 20, 100, 30), "Harbour dues", 0.9),
        Block("caption", Box(5, 61, 45, 19), "Fig. 1", 0.0),
        Block("text", Box(0, 90, 600, 10), "42", 0.0),
    )
    assert (layout.turned, layout.scale, layout.omitted, layout.charts) == (0, 1.0, 0, False)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
async def test_boxes_are_of_the_picture_as_it_was_given(angle: int, reader: PaddleReader, doubles: Doubles) -> None:
    picture = Image.new("RGB", (600, 400), "black")
    picture.paste("white", (30, 50, 230, 90))
    seen_by_server = picture.rotate(angle, expand=True).getbbox()  # Pillow turns counter-clockwise, as the server does
    assert seen_by_server is not None
    doubles.results = [part("text", "x", *seen_by_server)]
    doubles.extra = {"doc_preprocessor_res": {"angle": angle, "model_settings": {}}}
    layout = await reader.read(picture, False, True)
    assert layout.blocks[0].box == Box(30, 50, 200, 40)
    assert layout.turned == (360 - angle) % 360


async def test_boxes_of_a_picture_that_was_scaled_down_are_scaled_back(doubles: Doubles, tmp_path: Path) -> None:
    doubles.results = [part("text", "x", 10, 10, 20, 20)]
    async with client(tmp_path) as http:
        reader = PaddleReader(PaddleSettings(url=f"{doubles.url}/paddle", max_pixels=60_000), http, recorder(tmp_path))
        layout = await reader.read(PICTURE, False, False)
    assert layout.blocks[0].box == Box(20, 20, 20, 20)
    assert layout.scale == 0.5


async def test_what_is_too_much_is_left_out_and_counted(reader: PaddleReader, doubles: Doubles) -> None:
    doubles.results = [part("text", "x" * 60, 0, 0, 1, 1)] * 5
    layout = await reader.read(PICTURE, False, False)
    assert (len(layout.blocks), layout.omitted) == (1, 4)


@pytest.mark.parametrize("corners", [(float("nan"), 0, 1, 1), ("a", 0, 1, 1), (0, 0, 1)])
async def test_a_box_that_is_none_has_failed(corners: tuple[Any, ...], reader: PaddleReader, doubles: Doubles) -> None:
    doubles.results = [part("text", "x", *corners)]
    with pytest.raises(ToolError) as caught:
        await reader.read(PICTURE, False, False)
    assert caught.value.kind == "failed"


def test_a_table_is_its_rows() -> None:
    html = "<html><body><table><tr><th>a</th><td>b\n c</td></tr><tr><td>1</td><td></td></tr></table></body></html>"
    assert rows(html) == "a | b c\n1 | "
    assert rows("no table") == "no table"
