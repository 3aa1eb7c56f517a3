"""What reading a picture gives: blocks of text with their place, and who reads.

A reader is OCR with layout analysis: the embedded one (``osvl_plugins.backends.ocr``) or a service. Boxes are always
in pixels of the picture that was given, whatever the reader did to it first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from PIL import Image


class Box(NamedTuple):
    """A rectangle in pixels of the picture that was given; ``x``, ``y`` is its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column right of it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below it."""
        return self.y + self.height


@dataclass(frozen=True)
class Block:
    """One part of a page.

    ``kind`` is a short lower-case word: title, text, table, figure, caption, header, footer, equation, reference, …
    ``text`` has the lines of the page as lines, of a table the rows, and is empty for a part that holds no text.
    ``confidence`` lies in [0, 1].
    """

    kind: str
    box: Box
    text: str
    confidence: float


@dataclass(frozen=True)
class Layout:
    """A picture as it was read.

    ``blocks`` are in reading order. ``turned`` says by how many degrees clockwise the picture was turned before it was
    read: 0, 90, 180 or 270. ``scale`` is the factor by which it was resized for that, ``omitted`` the number of
    blocks that were left out for length, and ``charts`` says whether charts were read as data.
    """

    blocks: tuple[Block, ...]
    turned: int = 0
    scale: float = 1.0
    omitted: int = 0
    charts: bool = False


class Reader(Protocol):
    """Reads pictures; ``name`` is what the record calls it."""

    name: str

    async def read(self, image: Image.Image, charts: bool, orientation: bool) -> Layout:
        """Read ``image``; with ``orientation`` a page that lies on its side or its head is turned upright first.

        ``charts`` asks to read charts as data; a reader that cannot leaves ``Layout.charts`` False. Raises
        ``ToolError``.
        """
        ...
