"""The graph of the real corpus, and a few hundred questions made over it."""

from __future__ import annotations

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, StageResult
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.graph.store import Graph
from tests.curation.stages.making import asked, drawn, rewritten


@pytest.fixture(scope="session")
def atlas_graph(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("graph") / "atlas"
    build_atlas_graph(atlas, folder)
    return Graph.open(folder)


@pytest.fixture(scope="session")
def rows(atlas_graph: Graph) -> list[Candidate]:
    return drawn(atlas_graph, 900)


@pytest.fixture(scope="session")
def questions(atlas_graph: Graph, rows: list[Candidate]) -> StageResult:
    return asked(atlas_graph, rows)


@pytest.fixture(scope="session")
def rewrites(atlas_graph: Graph, rows: list[Candidate]) -> StageResult:
    return rewritten(atlas_graph, rows)
