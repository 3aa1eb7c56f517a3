"""A small run over the atlas, from paths to trajectories, whose rejects are kept as the runner keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from osvl_plugins.backends.budget import FileBudgets
from osvl_plugins.backends.http import Http
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, Reject, StageResult
from osvl_plugins.curation.folder import STAGES, RunFolder, RunManifest
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.settings import CurateSettings
from osvl_plugins.curation.stages import enhance, export, ground, trajectories
from tests.backends.doubles import recorder
from tests.curation.stages.making import asked, context, drawn, rewritten


class Run(NamedTuple):
    """A run that is through but for its export."""

    folder: RunFolder
    graph: Graph
    corpus: Corpus
    settings: CurateSettings

    def rows(self, stage: str = "trajectories") -> list[Candidate]:
        return list(self.folder.rows(stage))

    def export(self, out: Path, **settings: Any) -> Path:
        out.mkdir(parents=True)
        export.run(self.folder, out, context(self.graph, export.ExportSettings(**settings), self.corpus))
        return out


@pytest.fixture(scope="session")
def run(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    build_atlas_graph(atlas, folder / "graph")
    graph = Graph.open(folder / "graph")
    settings = CurateSettings.model_validate({"shards": 1, "preset": "small", "enhance": {"share": 0.4}})
    made = RunFolder(folder / "out")
    made.start(RunManifest(json.loads(settings.model_dump_json()), graph.fingerprint, atlas.fingerprint, "offline-1"))
    rows = drawn(graph, 160)
    found = asked(graph, rows)
    made.write("paths", 0, StageResult(rows, []))
    made.write("question", 0, found)
    made.write("unique", 0, StageResult(found.rows, []))
    found = rewritten(graph, rows)
    made.write("rewrite", 0, found)
    found = ground.run(found.rows, context(graph, settings.ground, atlas))
    # As no rule of the graph's cuts here: every fourth anchor is held out. One row is rejected as too easy.
    held_out = set(sorted({row.path[0] for row in found.rows})[::4])
    found = StageResult(
        [replace(row, split="held_out" if row.path[0] in held_out else "train") for row in found.rows], found.rejects
    )
    made.write("ground", 0, found)
    easy, *hard = found.rows
    if "merge" in STAGES:
        made.write("merge", 0, StageResult([easy, *hard], []))
    made.write("filter", 0, StageResult(hard, [Reject(easy.id, "filter", "no_tools")]))
    found = enhance.run(hard, context(graph, settings.enhance, atlas))
    made.write("enhance", 0, found)
    http = Http(settings.http, FileBudgets(folder / "budgets", {}))
    crew = trajectories.build_crew(settings.trajectories, http, recorder(folder))
    made.write("trajectories", 0, trajectories.run(found.rows, context(graph, settings.trajectories, atlas), crew))
    return Run(made, graph, atlas, settings)
