"""The first stage over the embedded corpus and the sample of Wikipedia."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, StageContext
from osvl_plugins.curation.graph.build import build_atlas_graph, build_dump
from osvl_plugins.curation.graph.rules import PRESETS, PathRules
from osvl_plugins.curation.graph.sample import wiki_sample
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.protocol import Language
from osvl_plugins.curation.stages.paths import REASONS, STAGE, draw
from osvl_plugins.errors import OsvlError


@pytest.fixture(scope="module")
def graph(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    out = tmp_path_factory.mktemp("atlas") / "graph"
    build_atlas_graph(atlas, out)
    return Graph.open(out)


def context(graph: Graph, rules: PathRules = PRESETS["small"], seed: int = 0) -> StageContext[PathRules]:
    # Paths are drawn without any language.
    return StageContext(seed, rules, graph, cast(Language, None))


def test_every_hop_of_a_row_is_a_fact_of_the_corpus(atlas: Corpus, graph: Graph) -> None:
    rows = draw(0, 500, context(graph)).rows
    assert len(rows) > 300
    for row in rows:
        assert len(row.path) == len(row.hops) + 1
        for source, hop, target in zip(row.path, row.hops, row.path[1:], strict=False):
            held, named = (target, source) if hop.inverse else (source, target)
            fact = atlas.pages[held].fact(hop.relation)
            assert fact is not None
            assert fact.target == named
            assert hop.anchor == ("" if hop.inverse else fact.value)
            if hop.inverse:
                sharers = [page for page in atlas.pages.values() if (page.fact(hop.relation) or fact).target == named]
                assert held in {page.id for page in sharers}


def test_a_shard_gives_as_many_rows_and_rejects_as_were_asked_for(graph: Graph) -> None:
    result = draw(3, 400, context(graph))
    assert len(result.rows) + len(result.rejects) == 400
    assert {reject.reason for reject in result.rejects} <= set(REASONS)
    assert {reject.stage for reject in result.rejects} == {STAGE}
    assert len({row.id for row in result.rows}) == len(result.rows)
    assert len({reject.id for reject in result.rejects if reject.reason == "dead_end"}) == sum(
        reject.reason == "dead_end" for reject in result.rejects
    )


def test_a_shard_follows_from_the_seed_and_its_number_alone(graph: Graph) -> None:
    first = draw(1, 100, context(graph))
    draw(0, 50, context(graph))
    assert draw(1, 100, context(Graph.open(graph.folder))) == first
    assert draw(2, 100, context(graph)).rows != first.rows
    assert draw(1, 100, context(graph, seed=1)).rows != first.rows


def test_the_same_path_is_the_same_row_in_every_shard(graph: Graph) -> None:
    rows: dict[str, Candidate] = {}
    again = 0
    for shard in range(4):
        for row in draw(shard, 400, context(graph)).rows:
            again += row.id in rows
            assert rows.setdefault(row.id, row) == row
    assert again


@pytest.mark.parametrize("edges", ["links", "facts"])
@pytest.mark.parametrize("split", ["links", "hash"])
def test_no_entity_is_on_both_sides(graph: Graph, edges: str, split: str) -> None:
    rules = PathRules.model_validate({**PRESETS["small"].model_dump(), "edges": edges, "split": split})
    pages: dict[str, set[str]] = {"train": set(), "held_out": set()}
    for shard in range(5):
        for row in draw(shard, 500, context(graph, rules)).rows:
            pages[row.split] |= set(row.path)
    assert pages["train"]
    assert pages["held_out"]
    assert not pages["train"] & pages["held_out"]


def test_hyperlinks_of_real_articles_are_walked(tmp_path: Path) -> None:
    build_dump([wiki_sample(Path(__file__).parents[3] / ".cache" / "sources")], tmp_path / "graph")
    graph = Graph.open(tmp_path / "graph")
    rules = PRESETS["small"].model_copy(update={"edges": "links"})
    rows = draw(0, 500, context(graph, rules)).rows
    assert len({row.path for row in rows}) > 10
    for row in rows:
        for source, hop, target in zip(row.path, row.hops, row.path[1:], strict=False):
            node, end = graph.node(source), graph.node(target)
            assert node is not None
            assert (end, hop.anchor, hop.position) in graph.links(node)


def test_the_published_rules_find_no_anchor_in_a_small_graph_and_say_what_to_do(graph: Graph) -> None:
    with pytest.raises(OsvlError, match="take the preset for small graphs"):
        draw(0, 10, context(graph, PRESETS["wikipedia"]))
