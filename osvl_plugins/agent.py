"""What every stage builds its agent from: the settings group ``osvl`` and the tools over a world."""

from __future__ import annotations

import datetime
from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.episode import EpisodeSettings
from osvl_plugins.errors import SettingError
from osvl_plugins.reward.settings import RewardSettings
from osvl_plugins.tools.build import Shared, ToolSettings, build_toolset
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.wire import WireName


class AgentSettings(ToolSettings):
    """What stands under ``osvl`` in a config."""

    wire: WireName = "native"
    """How the model is spoken to: ``osvl_plugins.wire``."""
    date: datetime.date | None = Field(default=None, validate_default=True)
    """The day that the wire profile ``rl`` names; None: that on which the run starts."""
    max_turn_tokens: int = Field(default=4096, ge=1)
    """Most tokens of one sampled turn."""
    episode: EpisodeSettings = EpisodeSettings()
    reward: RewardSettings = RewardSettings()

    @field_validator("date")
    @classmethod
    def _pinned(cls, date: datetime.date | None, values: ValidationInfo) -> datetime.date | None:
        services = values.data.get("services")
        if date is None and values.data.get("wire") == "rl" and services and services.recording.mode == "replay":
            raise ValueError("a replay with the wire profile rl needs the day of the recording: 2026-01-31")
        return date


@lru_cache(maxsize=4)
def open_corpus(path: str) -> Corpus:
    """The corpus at ``path``, opened once a process. Raises ``CorpusError``."""
    return Corpus.open(Path(path).expanduser())


def build_tools(settings: AgentSettings, corpus: Corpus | None = None, shared: Shared | None = None) -> ToolSet:
    """The tool set that ``settings`` name, over ``corpus`` or the one at ``settings.corpus``.

    Raises ``CorpusError`` when there is no corpus and a tool needs one, ``SettingError`` where a setting is missing.
    """

    def opened() -> Corpus:
        if not settings.corpus:
            raise SettingError("osvl.corpus", "must name the folder of a corpus for the offline search tools")
        return open_corpus(settings.corpus)

    return build_toolset(settings, corpus or opened, shared)
