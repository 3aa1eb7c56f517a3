"""The graph of the embedded corpus says what the corpus says."""

from __future__ import annotations

from collections import defaultdict

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.curation.graph.store import Graph


def test_every_page_is_the_corpuss(atlas: Corpus, atlas_graph: Graph) -> None:
    assert len(atlas_graph) == len(atlas.pages)
    for page in atlas.pages.values():
        node = atlas_graph.node(page.id)
        assert node is not None
        assert atlas_graph.page(node) == page
        assert (atlas_graph.id(node), atlas_graph.title(node)) == (page.id, page.title)


def test_labelled_edges_are_the_facts_that_lead_to_a_page(atlas: Corpus, atlas_graph: Graph) -> None:
    graph = atlas_graph
    edges = {
        (graph.id(node), graph.relations[graph.fact_relations[edge]], graph.id(int(graph.fact_targets[edge])))
        for node in range(len(graph))
        for edge in range(int(graph.fact_offsets[node]), int(graph.fact_offsets[node + 1]))
    }
    facts = {
        (page.id, fact.relation, fact.target) for page in atlas.pages.values() for fact in page.facts if fact.target
    }
    assert edges == facts
    assert graph.manifest.facts == len(facts)


def test_the_inverse_index_is_exhaustive_and_puts_first_what_names_one_page(atlas: Corpus, atlas_graph: Graph) -> None:
    graph = atlas_graph
    sources: dict[tuple[str, str], list[str]] = defaultdict(list)
    for page in atlas.pages.values():
        for fact in page.facts:
            if fact.target:
                sources[fact.relation, fact.target].append(page.id)
    for (relation, target), expected in sources.items():
        node = graph.node(target)
        assert node is not None
        assert sorted(map(graph.id, graph.sources_of(relation, node).tolist())) == sorted(expected)
    for node in range(len(graph)):
        start, stop = int(graph.inverse_offsets[node]), int(graph.inverse_offsets[node + 1])
        alone = [
            len(sources[graph.relations[number], graph.id(node)]) == 1 for number in graph.inverse_relations[start:stop]
        ]
        assert alone == sorted(alone, reverse=True)
        assert sum(alone) == graph.inverse_unique[node]


def test_an_unknown_relation_has_no_sources(atlas_graph: Graph) -> None:
    assert atlas_graph.sources_of("no such relation", 0).tolist() == []


def test_hyperlinks_are_the_facts_that_lead_to_a_page_with_their_values_as_text(
    atlas: Corpus, atlas_graph: Graph
) -> None:
    for page in atlas.pages.values():
        links = atlas_graph.links(atlas_graph.node(page.id) or 0)
        assert [(atlas_graph.id(link.target), link.anchor) for link in links] == [
            (fact.target, fact.value) for fact in page.facts if fact.target
        ]
        assert all(page.fact_box[link.position :].startswith(link.anchor) for link in links)


def test_titles_and_aliases_find_their_page(atlas: Corpus, atlas_graph: Graph) -> None:
    titles = {page.title for page in atlas.pages.values()}
    for page in atlas.pages.values():
        assert atlas_graph.find(page.title) == atlas_graph.node(page.id)
        for alias in set(page.aliases) - titles:
            node = atlas_graph.find(alias)
            assert node is not None
            assert alias in atlas_graph.page(node).aliases


def test_pictures_are_the_corpuss_and_twins_are_no_anchors(atlas: Corpus, atlas_graph: Graph) -> None:
    node = atlas_graph.node("chichen-itza")
    assert node is not None
    assert atlas_graph.picture(node).tobytes() == atlas.picture("chichen-itza").tobytes()
    assert atlas_graph.image_side[node] == 545
    for page in atlas.pages.values():
        usable = bool(page.pictures) and (page.id, 0) not in atlas.ambiguous_pictures
        assert bool(atlas_graph.flags[atlas_graph.node(page.id)] & NodeFlag.PICTURE) == usable
