"""How found pages are shown to the model. What comes from the web is cleaned and bounded here, and only here."""

from __future__ import annotations

from pydantic import Field

from osvl_plugins.backends.search import Hit, Reading, clean
from osvl_plugins.settings import Settings

MAX_TITLE = 300
"""Most characters of a title."""
MAX_URL = 2000
"""Most characters of an address: what ``visit`` takes."""


class SearchSettings(Settings):
    """Bounds of what a search or a visit shows."""

    top_k: int = Field(default=5, ge=1, le=20)
    """Most results of one text or image search."""
    web_results: int = Field(default=10, ge=1, le=20)
    """Most results of one web search."""
    summary_chars: int = Field(default=800, ge=40)
    """Most characters of one result's summary."""
    snippet_chars: int = Field(default=300, ge=40)
    """Most characters of one result's snippet."""
    page_chars: int = Field(default=8000, ge=40)
    """Most characters of a visited page."""
    lead: bool = True
    """Whether a summary of the corpus starts with the page's lead; without, it is the fact box alone."""


def clip(text: str, limit: int) -> str:
    """``text`` cut to ``limit`` characters, marked where something was cut."""
    return text if len(text) <= limit else text[: limit - 2].rstrip() + " …"


def passage(hit: Hit, rank: int, settings: SearchSettings) -> str:
    """One result of a text search: title, address, summary."""
    return f"{_head('Passage', hit, rank)}\nSummary: {clip(clean(hit.text), settings.summary_chars)}"


def result(hit: Hit, rank: int, settings: SearchSettings) -> str:
    """One result of a web search: title, address, and a snippet on one line."""
    return f"{_head('Result', hit, rank)}\nSnippet: {_line(hit.text, settings.snippet_chars)}"


def picture(hit: Hit, rank: int) -> str:
    """One result of an image search: title and address."""
    return _head("Image", hit, rank)


def page(reading: Reading, settings: SearchSettings) -> str:
    """A page: title and text."""
    text = clean(reading.text)
    return clip(f"Title: {_line(reading.title, MAX_TITLE)}" + ("\n" + text if text else ""), settings.page_chars)


def _head(kind: str, hit: Hit, rank: int) -> str:
    return f"[{kind} {rank}]\nTitle: {_line(hit.title, MAX_TITLE)}\nURL: {_line(hit.url, MAX_URL)}"


def _line(text: str, limit: int) -> str:
    # A line break in a title would let it write the next field.
    return clip(" ".join(clean(text).split()), limit)
