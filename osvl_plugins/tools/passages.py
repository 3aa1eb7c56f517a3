"""How found pages are shown to the model."""

from __future__ import annotations

from pydantic import Field

from osvl_plugins.corpus.page import Page
from osvl_plugins.settings import Settings


class SearchSettings(Settings):
    """Bounds of what a search or a visit shows."""

    top_k: int = Field(default=5, ge=1, le=20)
    """Most results of one search."""
    summary_chars: int = Field(default=800, ge=40)
    """Most characters of one result's summary."""
    page_chars: int = Field(default=8000, ge=40)
    """Most characters of a visited page."""
    lead: bool = True
    """Whether a summary starts with the page's lead; without, it is the fact box alone."""


def clip(text: str, limit: int) -> str:
    """``text`` cut to ``limit`` characters, marked where something was cut."""
    return text if len(text) <= limit else text[: limit - 2].rstrip() + " …"


def passage(page: Page, rank: int, settings: SearchSettings) -> str:
    """One search result: title, address, summary."""
    parts = [page.lead] if settings.lead or not page.facts else []
    parts += [page.fact_box] if page.facts else []
    summary = clip("\n".join(parts), settings.summary_chars)
    return f"[Passage {rank}]\nTitle: {page.title}\nURL: {page.url}\nSummary: {summary}"
