"""The real sample of Wikipedia, and the graphs of it and of the embedded corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.graph.build import build_atlas_graph, build_dump
from osvl_plugins.curation.graph.dump import Piece, read_piece, read_wiki
from osvl_plugins.curation.graph.sample import wiki_sample
from osvl_plugins.curation.graph.store import Graph


@pytest.fixture(scope="session")
def sample() -> Path:
    """The sample's dump, downloaded once and kept."""
    return wiki_sample(Path(__file__).parents[3] / ".cache" / "sources")


@pytest.fixture(scope="session")
def sample_graph(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    out = tmp_path_factory.mktemp("sample") / "graph"
    build_dump([sample], out)
    return Graph.open(out)


@pytest.fixture(scope="session")
def sample_texts(sample: Path) -> dict[str, str]:
    """Wikitext of the sample's articles by title."""
    found: dict[str, str] = {}

    def keep(page_id: str, title: str, text: str, *rest: object) -> None:
        found[title] = text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("osvl_plugins.curation.graph.dump.read_article", keep)
        list(read_piece(Piece(sample, 0, sample.stat().st_size), read_wiki(sample)))
    return found


@pytest.fixture(scope="session")
def atlas_graph(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    out = tmp_path_factory.mktemp("atlas") / "graph"
    build_atlas_graph(atlas, out)
    return Graph.open(out)
