"""Pictures of a graph: files of a folder, or entries of a ZIM archive."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from osvl_plugins.errors import CorpusError

if TYPE_CHECKING:
    from libzim.reader import Archive

MAX_PIXELS = 100_000_000
MAX_BYTES = 64 * 2**20


def read_picture(images: Path, file: str) -> Image.Image:
    """The picture ``file`` of ``images``, RGB.

    Raises ``CorpusError`` when it is not there, is no picture, or is over 64 MiB or 100 million pixels.
    """
    try:
        with Image.open(io.BytesIO(picture_bytes(images, file))) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CorpusError(f"{file}: over {MAX_PIXELS} pixels")
            rgb: Image.Image = image.convert("RGB")
            return rgb
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise CorpusError(f"{images}: no picture {file!r} ({error}); put it there under that name") from error


def picture_size(data: bytes) -> tuple[int, int]:
    """(width, height) in pixels from a picture's first bytes; zeros when they are no picture's."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.width, image.height
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return 0, 0


def picture_bytes(images: Path, file: str) -> bytes:
    """The content of the picture ``file`` of ``images``.

    Raises ``CorpusError`` as ``read_picture``.
    """
    if images.is_file():
        return zim_bytes(open_zim(images), file)
    path = images / file
    if Path(file).name != file:
        raise CorpusError(f"{file!r} is no file name")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorpusError(f"{path}: over {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{images}: no picture {file!r} ({error}); put it there under that name") from error


def open_zim(file: Path) -> Archive:
    """A ZIM archive.

    Raises ``CorpusError`` when libzim is missing or the file is no archive.
    """
    try:
        from libzim.reader import Archive
    except ImportError as error:
        raise CorpusError("ZIM archives need libzim: pip install 'osvl-plugins[zim]'") from error
    try:
        return Archive(file)
    except RuntimeError as error:
        raise CorpusError(f"{file}: no ZIM archive ({error})") from error


def zim_bytes(archive: Archive, path: str) -> bytes:
    """The content of an entry of at most 64 MiB.

    Raises ``CorpusError`` when there is none.
    """
    if not archive.has_entry_by_path(path):
        raise CorpusError(f"{archive.filename}: no entry {path!r}")
    item = archive.get_entry_by_path(path).get_item()
    if item.size > MAX_BYTES:
        raise CorpusError(f"{archive.filename}: {path!r} is over {MAX_BYTES} bytes")
    return bytes(item.content)
