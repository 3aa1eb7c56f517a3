"""open_image: how an MCP client brings a picture into its session."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import ClassVar

from PIL import Image
from pydantic import Field

from osvl_plugins.errors import SettingError, ToolError
from osvl_plugins.images import ImageSettings, decode
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult

MAX_BYTES = 20 * 2**20
"""Most bytes of an encoded picture."""

MAX_DATA_CHARS = MAX_BYTES * 4 // 3 + 200
"""Most characters of ``data``: base64 takes four for three bytes; the rest is for the head of a data: URL."""


class OpenImageArguments(Arguments):
    data: str = Field(default="", max_length=MAX_DATA_CHARS, description="The picture, as base64 or as a data: URL.")
    path: str = Field(default="", max_length=1000, description="Or its path in the server's folder of pictures.")


class OpenImage:
    """Takes a picture from the call itself, or from ``folder`` and nowhere else on this machine.

    Raises ``SettingError`` when ``folder`` is given and is no folder.
    """

    name: ClassVar[str] = "open_image"
    description: ClassVar[str] = "Open a picture, so that the other tools can use it. Gives its name and size."
    arguments: ClassVar[type[Arguments]] = OpenImageArguments
    backend = "pillow"

    def __init__(self, folder: Path | None, settings: ImageSettings) -> None:
        if folder is not None and not folder.is_dir():
            raise SettingError("--images", f"{folder} is no folder")
        self._folder = Path(os.path.realpath(folder)) if folder is not None else None
        self._settings = settings

    async def run(self, arguments: OpenImageArguments, context: ToolContext) -> ToolResult:
        if bool(arguments.data) == bool(arguments.path):
            raise ToolError("bad_arguments", "give either data or path")
        return ToolResult(image=await in_thread(self._open, arguments))

    def _open(self, arguments: OpenImageArguments) -> Image.Image:
        encoded = _from_data(arguments.data) if arguments.data else self._from_folder(arguments.path)
        if len(encoded) > MAX_BYTES:
            raise ToolError("limit", f"the picture has more than {MAX_BYTES} bytes")
        return decode(encoded, self._settings)

    def _from_folder(self, path: str) -> bytes:
        if self._folder is None:
            raise ToolError("denied", "this server opens no files: send the picture as data")
        try:
            # Links are followed before the check, so none leads out of the folder.
            file = Path(os.path.realpath(self._folder / path))
            if not file.is_relative_to(self._folder):
                raise ToolError("denied", f"{path!r} is not in the server's folder of pictures")
            if not file.is_file():
                raise ToolError("not_found", f"there is no file {path!r} in the server's folder of pictures")
            with file.open("rb") as opened:
                return opened.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise ToolError("not_found", f"cannot read {path!r}: {type(error).__name__}") from None


def _from_data(data: str) -> bytes:
    text = data
    if data[:5].lower() == "data:":
        head, comma, text = data.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ToolError("bad_arguments", "a data: URL must look like data:image/png;base64,...")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ToolError("bad_arguments", "data is not base64") from None
