"""What every stage builds its agent from: the settings group ``osvl`` and the tools over a world."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.episode import EpisodeSettings
from osvl_plugins.settings import Settings
from osvl_plugins.tools.base import Tool
from osvl_plugins.tools.crop import Crop
from osvl_plugins.tools.image_search import ImageSearch
from osvl_plugins.tools.passages import SearchSettings
from osvl_plugins.tools.sharpen import Sharpen
from osvl_plugins.tools.text_search import TextSearch
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.tools.visit import Visit

ToolName = Literal["crop", "sharpen", "text_search", "image_search", "visit"]


class AgentSettings(Settings):
    """What stands under ``osvl`` in a config."""

    corpus: str
    """Folder of the corpus that the search tools use (``osvl atlas build`` makes one)."""
    tools: tuple[ToolName, ...] = Field(
        default=("crop", "sharpen", "text_search", "image_search", "visit"), min_length=1
    )
    max_turn_tokens: int = Field(default=4096, ge=1)
    """Most tokens of one sampled turn."""
    episode: EpisodeSettings = EpisodeSettings()
    search: SearchSettings = SearchSettings()
    calls: CallSettings = CallSettings()


@lru_cache(maxsize=4)
def open_corpus(path: str) -> Corpus:
    """The corpus at ``path``, opened once a process."""
    return Corpus.open(Path(path).expanduser())


def build_tools(settings: AgentSettings, corpus: Corpus | None = None) -> ToolSet:
    """The tool set that ``settings`` name, over ``corpus`` or the one at ``settings.corpus``.

    Raises ``CorpusError`` when there is no corpus.
    """
    world = corpus or open_corpus(settings.corpus)
    available: dict[str, Tool] = {
        "crop": Crop(),
        "sharpen": Sharpen(),
        "text_search": TextSearch(world, settings.search),
        "image_search": ImageSearch(world, settings.search),
        "visit": Visit(world, settings.search),
    }
    return ToolSet([available[name] for name in settings.tools], settings.calls)
