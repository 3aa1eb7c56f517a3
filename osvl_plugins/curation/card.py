"""The data card: what an export holds, where it comes from, and what was left out and why; Markdown and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.curation.examples import Example
from osvl_plugins.curation.folder import NOTING, STAGES, RunFolder, RunManifest, StageCount, write_json
from osvl_plugins.curation.graph.files import Origin
from osvl_plugins.curation.process import PROCESS, ProcessRules
from osvl_plugins.curation.stages.trajectories import TrajectoriesSettings

CARD_MD, CARD_JSON = "card.md", "card.json"
NO_LICENCE = "not stated"
PRIVATE = frozenset(("http", "recording", "services", "key_env", "corpus", "local_folder", "similarity_model"))
"""Settings that decide no row, or that name places on the machine of the run."""


@dataclass
class Side:
    """Counts of one side of the split. ``turns``: of all examples together."""

    questions: int = 0
    examples: int = 0
    turns: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    hops: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    anchors: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, row: Candidate, example: Example | None) -> None:
        """Count a row, and its example where it has one."""
        self.questions += 1
        self.sources[row.source] += 1
        self.hops[str(len(row.hops)) if row.path else "imported"] += 1
        self.views[row.view or "plain"] += 1
        self.licences[row.image_licence or NO_LICENCE] += 1
        if row.repair is not None:
            self.repairs[f"{row.repair.tool}, proven by {row.repair.metric}"] += 1
        if row.path:
            self.anchors.add(row.path[0])
            self.ends[row.path[-1]] += 1
        if example is not None:
            self.examples += 1
            self.turns += len(example.trajectory.turns)
            self.tools.update(turn.call.name for turn in example.trajectory.turns if turn.call is not None)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, counters by name."""
        return {
            "questions": self.questions,
            "examples": self.examples,
            "turns": self.turns,
            "anchors": len(self.anchors),
            **{
                name: dict(sorted(getattr(self, name).items()))
                for name in ("sources", "hops", "views", "repairs", "tools", "licences")
            },
        }


@dataclass(frozen=True)
class Card:
    """All that is said of an export."""

    manifest: RunManifest
    origin: Origin
    train: Side
    held_out: Side
    stages: Mapping[str, StageCount]
    wire: str

    @property
    def shared_anchors(self) -> int:
        """Anchors, which pictures show, on both sides."""
        return len(self.train.anchors & self.held_out.anchors)

    @property
    def shared_ends(self) -> int:
        """Held-out questions about a page that a training question is about too."""
        return sum(count for page, count in self.held_out.ends.items() if page in self.train.ends)

    @property
    def makers(self) -> dict[str, str]:
        """Who worded, filtered, answered and judged, with the versions of prompts and rules."""
        shown = TrajectoriesSettings.model_validate(self.manifest.settings["trajectories"])
        solver, expert, judge = self.manifest.settings["filter"]["solver"], shown.expert, shown.judge.model
        rules = ProcessRules.version
        return {
            "language": self.manifest.language,
            "solver": solver["engine"] if solver["engine"] != "server" else f"server, {solver['model']}",
            "expert": expert.engine if expert.engine != "server" else f"server, {expert.model}, n = {shown.attempts}",
            "answer judge": "rules" if shown.answers == "rules" else f"rules, {judge}",
            "process judge": rules if shown.process == "rules" else f"{rules}, {judge}, {PROCESS.version}",
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "graph": {"fingerprint": self.manifest.graph, "name": self.origin.name, "licence": self.origin.licence},
            "corpus": self.manifest.corpus,
            "seed": self.manifest.settings["seed"],
            "wire": self.wire,
            "made by": self.makers,
            "splits": {"train": self.train.to_dict(), "held_out": self.held_out.to_dict()},
            "anchors on both sides": self.shared_anchors,
            "held-out questions that end on a page of training": self.shared_ends,
            "stages": {stage: count._asdict() for stage, count in self.stages.items()},
            "settings": public(self.manifest.settings),
        }

    def to_markdown(self) -> str:
        """As a page for people."""
        manifest, sides = self.manifest, (self.train, self.held_out)
        makers = [(name, version) for name, version in self.makers.items()]
        return "\n\n".join(
            (
                "# Data card",
                "Questions over a wiki that need the picture, its page and a path from there; made by `osvl curate`.",
                _table(
                    ("", "train", "held out"),
                    [
                        ("questions (RL)", *(f"{side.questions:,}" for side in sides)),
                        ("examples (SFT)", *(f"{side.examples:,}" for side in sides)),
                        ("turns an example", *(f"{side.turns / max(1, side.examples):.1f}" for side in sides)),
                        ("anchors", *(f"{len(side.anchors):,}" for side in sides)),
                    ],
                ),
                f"{self.shared_anchors:,} anchors are on both sides. {self.shared_ends:,} held-out questions end on a "
                "page that a training question ends on too.",
                *(self._counts(name) for name in ("sources", "hops", "views", "repairs", "tools")),
                self._counts("licences", "Licences of pictures"),
                f"Text: {_cell(self.origin.name)}, {_cell(self.origin.licence)}.",
                "## Stages",
                _table(("stage", "in", "kept", "rejected, by reason"), [self._stage(stage) for stage in self.stages]),
                f"Rejects of {' and '.join(NOTING)} are rows that stay: without a degraded picture, or as a question "
                "alone.",
                "## Made by",
                _table(("", "version"), makers),
                f"Graph {manifest.graph}, corpus {manifest.corpus or 'none'}, seed {manifest.settings['seed']}, wire "
                f"profile {self.wire}. `{CARD_JSON}` has the settings.\n",
            )
        )

    def _counts(self, name: str, title: str = "") -> str:
        train, held_out = getattr(self.train, name), getattr(self.held_out, name)
        rows = [(key, f"{train[key]:,}", f"{held_out[key]:,}") for key in sorted({*train, *held_out})]
        return f"## {title or name.capitalize()}\n\n" + (_table(("", "train", "held out"), rows) if rows else "None.")

    def _stage(self, stage: str) -> tuple[str, ...]:
        count = self.stages[stage]
        rejected = ", ".join(f"{reason} {number:,}" for reason, number in count.rejected.items())
        return stage, f"{count.given:,}", f"{count.kept:,}", rejected


def public(value: Any) -> Any:
    """Settings without what is this site's alone: addresses, names of keys, and folders; of a file its name is left."""
    if isinstance(value, Mapping):
        kept = {name: public(item) for name, item in value.items() if name not in PRIVATE and not name.endswith("url")}
        return kept | ({"path": Path(kept["path"]).name} if "path" in kept else {})
    return [public(item) for item in value] if isinstance(value, list | tuple) else value


def make_card(folder: RunFolder, origin: Origin, train: Side, held_out: Side, wire: str) -> Card:
    """The card of a run whose stages are through."""
    stages = {stage: folder.count(stage) for stage in STAGES if folder.complete(stage)}
    return Card(folder.manifest, origin, train, held_out, stages, wire)


def write_card(card: Card, out: Path) -> None:
    """Write both forms of a card into the folder ``out``."""
    (out / CARD_MD).write_text(card.to_markdown(), encoding="utf-8")
    write_json(out / CARD_JSON, card.to_dict())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
