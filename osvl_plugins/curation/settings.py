"""Settings of ``osvl curate``: a group for each stage, named like it; published values are the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from osvl_plugins.backends.http import HttpSettings
from osvl_plugins.backends.recorder import RecordingSettings
from osvl_plugins.curation.graph.rules import PRESETS, PathRules
from osvl_plugins.curation.language.server import LanguageSettings
from osvl_plugins.curation.stages.enhance import EnhanceSettings
from osvl_plugins.curation.stages.export import ExportSettings
from osvl_plugins.curation.stages.filter import FilterSettings
from osvl_plugins.curation.stages.ground import GroundSettings
from osvl_plugins.curation.stages.merge import MergeSettings
from osvl_plugins.curation.stages.question import QuestionSettings
from osvl_plugins.curation.stages.rewrite import RewriteSettings
from osvl_plugins.curation.stages.trajectories import TrajectoriesSettings
from osvl_plugins.settings import Settings

GROUP = "curate"
"""Where the settings stand in a YAML file."""


class CurateSettings(Settings):
    """What decides the rows of a run."""

    seed: int = 0
    draws: int = Field(default=20_000, ge=1)
    """Paths that are drawn, dead ends and repetitions included."""
    shards: int = Field(default=16, ge=1, le=99_999)
    """Parts that the rows are dealt to, the unit of parallel work; one's rows and pictures are in memory together."""
    preset: Literal["wikipedia", "small"] = "wikipedia"
    """Defaults of ``paths``: the published rules, or those scaled for a graph of some hundred pages."""
    paths: PathRules = PathRules()
    question: QuestionSettings = QuestionSettings()
    rewrite: RewriteSettings = RewriteSettings()
    ground: GroundSettings = GroundSettings()
    merge: MergeSettings = MergeSettings()
    filter: FilterSettings = FilterSettings()
    enhance: EnhanceSettings = EnhanceSettings()
    trajectories: TrajectoriesSettings = TrajectoriesSettings()
    export: ExportSettings = ExportSettings()
    language: LanguageSettings = LanguageSettings()
    http: HttpSettings = HttpSettings()
    """Requests to models."""
    recording: RecordingSettings = RecordingSettings()
    """Whether the models' answers are recorded or replayed."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("paths", {}), Mapping):
            return values
        preset = PRESETS.get(values.get("preset", "wikipedia"))
        return values if preset is None else {**values, "paths": {**preset.model_dump(), **values.get("paths", {})}}

    def draws_of(self, shard: int) -> int:
        """Paths that a shard draws."""
        return self.draws // self.shards + (shard < self.draws % self.shards)
