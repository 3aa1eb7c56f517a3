"""The pictures that rows name: where they lie, their bytes, and their bytes within bounds."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from PIL import ExifTags, Image

from osvl_plugins.data.archive import Archive, Member, is_inside, open_archive, read_member
from osvl_plugins.data.report import Rejected
from osvl_plugins.errors import ToolError
from osvl_plugins.images import ImageSettings, bounded, decode

MAX_PICTURE_BYTES = 64 * 2**20
MAX_ROW_BYTES = 128 * 2**20
"""Of all pictures of a row."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""Formats whose bytes are kept."""
JPEG_QUALITY = 95

Change = Literal["unchanged", "scaled", "converted"]


class Picture(NamedTuple):
    """A picture as it is written: what every reader decodes to the same RGB pixels."""

    data: bytes
    suffix: str
    change: Change


def archives_in(folder: Path) -> list[Archive]:
    """The zip files in ``folder``."""
    return [open_archive(file) for file in sorted(folder.glob("*.zip")) if file.is_file()]


class Pictures:
    """The pictures of one file of rows: in ``folders`` or below their ``images``, or in the zip files there."""

    def __init__(self, folders: Sequence[Path]) -> None:
        archives = [archive for folder in folders for archive in archives_in(folder)]
        self._folders = [*folders, *(folder / "images" for folder in folders)]
        self._members: dict[str, tuple[Path, Member] | None] = {}
        for archive in archives:
            for name, member in archive.members.items():
                for tail in _tails(name):
                    # Two entries of one name but for the folders before it: neither is meant by it.
                    self._members[tail] = None if tail in self._members else (archive.file, member)
        for archive in reversed(archives):
            for name, member in archive.members.items():
                self._members[name] = (archive.file, member)

    def read_all(self, references: Sequence[str]) -> Iterator[bytes]:
        """The bytes of each picture of a row. Raises ``Rejected``."""
        total = 0
        for reference in references:
            data = self.read(reference)
            total += len(data)
            if total > MAX_ROW_BYTES:
                raise Rejected("picture_too_large", f"over {MAX_ROW_BYTES} bytes in one row")
            yield data

    def read(self, reference: str) -> bytes:
        """The bytes of the picture that a row calls ``reference``.

        The folders that a reference starts with may be missing here or have other names, so they are left out one
        after the other while one remains. Nothing outside ``folders`` is looked at. Raises ``Rejected``.
        """
        if not is_inside(reference.lstrip("/\\")):
            raise Rejected("picture_missing", f"{reference}: leads out of the folder")
        for tail in _tails(reference):
            if member := self._members.get(tail) or self._members.get(f"images/{tail}"):
                return read_member(*member, MAX_PICTURE_BYTES)
            for folder in self._folders:
                if (folder / tail).is_file():
                    return _read_file(folder / tail)
        raise Rejected("picture_missing", reference)


@lru_cache(maxsize=1)
def pictures_in(folders: tuple[Path, ...]) -> Pictures:
    """The pictures of the file of rows that this process works on."""
    return Pictures(folders)


def _tails(name: str) -> Iterator[str]:
    """The path ``name`` without a root, then without its first folder, … down to one folder and the file."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "/"]
    for start in range(max(1, len(parts) - 1)):
        yield "/".join(parts[start:])


def _read_file(file: Path) -> bytes:
    with open(file, "rb") as data:
        content = data.read(MAX_PICTURE_BYTES + 1)
    if len(content) > MAX_PICTURE_BYTES:
        raise Rejected("picture_too_large", f"{file.name}: over {MAX_PICTURE_BYTES} bytes")
    return content


def check(data: bytes, settings: ImageSettings) -> None:
    """Decode ``data`` whole. Raises ``Rejected``."""
    _decode(data, settings)


def fit(data: bytes, settings: ImageSettings) -> Picture:
    """``data`` within the bounds: its own bytes where they do, otherwise JPEG. Raises ``Rejected``."""
    image, suffix = _decode(data, settings)
    scaled = bounded(image, settings)
    if scaled is image and suffix:
        return Picture(data, suffix, "unchanged")
    buffer = io.BytesIO()
    scaled.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return Picture(buffer.getvalue(), SUFFIXES["JPEG"], "converted" if scaled is image else "scaled")


def peek(data: bytes) -> Image.Image:
    """The picture with its size and format, its pixels not decoded yet. Raises ``Rejected``."""
    Image.init()  # or the formats are not known
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the settings have a limit of their own
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Rejected("picture_too_large", str(error)) from None
    except Exception as error:
        raise _unreadable(error) from None


def _decode(data: bytes, settings: ImageSettings) -> tuple[Image.Image, str | None]:
    """The pixels of ``data`` as a tool sees them, and its file suffix where every reader sees the same."""
    source = peek(data)
    try:
        image = decode(source, settings)
        return image, SUFFIXES.get(str(source.format)) if _is_plain(source) else None
    except ToolError as error:
        too_large = error.kind == "limit"
        raise Rejected("picture_too_large" if too_large else "picture_unreadable", str(error)) from None
    except Exception as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> Rejected:
    """For whatever Pillow's decoders stumble over in damaged bytes."""
    return Rejected("picture_unreadable", f"{type(error).__name__}: {error}")


def _is_plain(source: Image.Image) -> bool:
    """Whether a reader that knows neither orientation, transparency nor frames sees the same."""
    return (
        source.mode in ("RGB", "L")
        and not source.has_transparency_data
        and not getattr(source, "is_animated", False)
        and source.getexif().get(ExifTags.Base.Orientation, 1) == 1
    )
