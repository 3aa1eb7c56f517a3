"""A PP-StructureV3 server as a reader of pictures (PaddleX serving, ``POST /layout-parsing``)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Literal

from PIL import Image
from pydantic import Field

from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.jpeg import Jpeg, jpeg
from osvl_plugins.backends.layout import Block, Box, Layout
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.recording_store import JSON
from osvl_plugins.backends.remote import Answer, Text, ask, secret
from osvl_plugins.settings import Settings
from osvl_plugins.threads import in_thread

PROVIDER = "paddle"
_KINDS = {
    "doc_title": "title",
    "paragraph_title": "title",
    "abstract_title": "title",
    "content_title": "title",
    "reference_title": "title",
    "figure_title": "caption",
    "table_title": "caption",
    "chart_title": "caption",
    "figure_table_chart_title": "caption",
    "image": "figure",
    "seal": "figure",
    "formula": "equation",
    "reference_content": "reference",
    "header_image": "header",
    "footer_image": "footer",
    "number": "footer",
    "footnote": "footer",
}
_WORDS = frozenset(("text", "table", "chart", "header", "footer", "reference"))

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


class PaddleSettings(Settings):
    """A PP-StructureV3 server."""

    url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Address of the server, without ``/layout-parsing``."""
    key_env: str = ""
    """Environment variable with a token that goes out as ``Authorization: token``; empty where none is asked for."""
    max_pixels: int = Field(default=4_000_000, ge=784)
    """Most pixels of what is sent."""
    max_blocks: int = Field(default=200, ge=1)
    """Most parts of one picture."""
    max_chars: int = Field(default=20_000, ge=100)
    """Most characters of text of one picture."""
    deadline_s: float = Field(default=40.0, gt=0)
    """Seconds for one picture, waiting and retries included."""


class _Part(Answer):
    block_label: Text
    block_content: Text = ""
    block_bbox: Corners


class _Detected(Answer):
    coordinate: Corners
    score: float = Field(ge=0, le=1)


class _Detection(Answer):
    boxes: list[_Detected] = Field(default_factory=list)


class _Preprocessing(Answer):
    angle: Literal[-1, 0, 90, 180, 270] = -1


class _Pruned(Answer):
    parsing_res_list: list[_Part]
    layout_det_res: _Detection = _Detection()
    doc_preprocessor_res: _Preprocessing = _Preprocessing()


class _Page(Answer):
    prunedResult: _Pruned


class _Pages(Answer):
    layoutParsingResults: list[_Page] = Field(min_length=1)


class _Parsed(Answer):
    errorCode: Literal[0] = 0
    result: _Pages


class PaddleReader:
    """OCR and layout by PP-StructureV3. Tables come as rows with cells between bars."""

    name = "pp-structurev3"

    def __init__(self, settings: PaddleSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def read(self, image: Image.Image, charts: bool, orientation: bool) -> Layout:
        sent = await in_thread(jpeg, image, self._settings.max_pixels)
        # What would bend the picture or send pictures back is off whatever the server's defaults are.
        options: dict[str, JSON] = {
            "fileType": 1,
            "useDocOrientationClassify": orientation,
            "useChartRecognition": charts,
            "useDocUnwarping": False,
            "visualize": False,
        }

        async def send() -> Response:
            token = self._settings.key_env
            return await self._http.call(
                PROVIDER,
                "POST",
                self._settings.url.rstrip("/") + "/layout-parsing",
                headers={"Authorization": f"token {secret(PROVIDER, token)}"} if token else {},
                json={"file": base64.b64encode(sent.data).decode(), **options},
                deadline_s=self._settings.deadline_s,
            )

        parsed = await ask(self._recorder, PROVIDER, _Parsed, {"file": sent.digest, **options}, send)
        page = parsed.result.layoutParsingResults[0].prunedResult
        angle = max(0, page.doc_preprocessor_res.angle)  # -1: not looked for
        blocks = self._blocks(page, _Turn(angle, sent, image.width / sent.width))
        return Layout(
            tuple(blocks),
            turned=(360 - angle) % 360,
            scale=sent.width / image.width,
            omitted=len(page.parsing_res_list) - len(blocks),
            charts=charts,
        )

    def _blocks(self, page: _Pruned, turn: _Turn) -> list[Block]:
        blocks: list[Block] = []
        room = self._settings.max_chars
        for part in page.parsing_res_list[: self._settings.max_blocks]:
            label, text = part.block_label, part.block_content.strip()
            if label == "table":
                text = rows(text)
            room -= len(text)
            if room < 0:
                break
            kind = _KINDS.get(label, label if label in _WORDS else "text")
            blocks.append(Block(kind, turn.back(part.block_bbox), text, _confidence(part.block_bbox, page)))
        return blocks


@dataclass(frozen=True)
class _Turn:
    """How the server saw the picture: turned counter-clockwise by ``angle`` degrees, and smaller by ``scale``."""

    angle: int
    sent: Jpeg
    scale: float

    def back(self, corners: Corners) -> Box:
        """The box, in pixels of the given picture, of what the server places at ``corners``."""
        left, top, right, bottom = corners
        width, height = self.sent.width, self.sent.height
        if self.angle == 90:
            left, top, right, bottom = width - bottom, left, width - top, right
        elif self.angle == 180:
            left, top, right, bottom = width - right, height - bottom, width - left, height - top
        elif self.angle == 270:
            left, top, right, bottom = top, height - right, bottom, height - left
        x, right = (round(min(max(at, 0), width) * self.scale) for at in (left, right))
        y, bottom = (round(min(max(at, 0), height) * self.scale) for at in (top, bottom))
        return Box(x, y, max(0, right - x), max(0, bottom - y))


def _confidence(corners: Corners, page: _Pruned) -> float:
    """Score of the detection that a part was made from, 0 for a part that was made from none."""

    def overlap(detected: _Detected) -> float:
        width = min(corners[2], detected.coordinate[2]) - max(corners[0], detected.coordinate[0])
        height = min(corners[3], detected.coordinate[3]) - max(corners[1], detected.coordinate[1])
        return max(0.0, width) * max(0.0, height)

    best = max(page.layout_det_res.boxes, key=overlap, default=None)
    return best.score if best is not None and overlap(best) else 0.0


class _Rows(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def rows(table: str) -> str:
    """A table in HTML as lines, with bars between cells; what holds no row is given as it is."""
    parser = _Rows()
    parser.feed(table)
    parser.close()
    return "\n".join(" | ".join(" ".join(cell.split()) for cell in row) for row in parser.rows) or table
