"""What the search tools stand on: finding text, finding pictures, and reading pages.

A hit's or a page's title, address and text may be a stranger's: no model reads them but through ``clean``. All
methods raise ``ToolError`` when the service fails; finding nothing is an empty list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from osvl_plugins.errors import ToolError

# Control characters, marks that turn the direction of writing, and characters that nobody sees but a tokenizer does.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]")
# Framing of chat templates and of the wire format, whatever the model's own tokens are.
_FRAMING = re.compile(
    r"<(?=\||/?(?:think|tools?|tool_call|tool_response|response|observation|image|page)\s*>)", re.IGNORECASE
)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")


@dataclass(frozen=True)
class Hit:
    """One search result. ``text`` is a summary or a snippet.

    ``page`` names the result in an episode's record: the id of a corpus page, or the address.
    """

    title: str
    url: str
    text: str = ""
    page: str = ""


@dataclass(frozen=True)
class Reading:
    """A page as text; ``page`` as in ``Hit``."""

    title: str
    url: str
    text: str
    page: str = ""


class TextSearch(Protocol):
    """Pages about a query."""

    name: str

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        """At most ``k`` hits, best first. ``language`` is a code such as ``en`` or ``zh-cn``."""
        ...


class ImageSearch(Protocol):
    """Pages that show a picture."""

    name: str

    async def search(self, image: Image.Image, k: int) -> list[Hit]:
        """At most ``k`` pages that show ``image``, best first."""
        ...

    async def search_url(self, url: str, k: int) -> list[Hit]:
        """At most ``k`` pages that show the picture at ``url``, best first."""
        ...


class Pages(Protocol):
    """Pages by address."""

    name: str

    async def read(self, url: str, goal: str) -> Reading:
        """The page at ``url``; ``goal`` says what the reader looks for and may be empty."""
        ...


def language_code(text: str) -> str:
    """``text`` as services take it. Raises ``ToolError`` when it has not the form of a language code."""
    code = text.strip()
    if not _LANGUAGE.fullmatch(code):
        raise ToolError("bad_arguments", f"{text[:20]!r} is no language code; write e.g. en, de or zh-cn")
    return code


def clean(text: str) -> str:
    """``text`` without hidden characters, and with a space in what would read as the framing of a conversation."""
    return _FRAMING.sub("< ", _HIDDEN.sub("", text))
