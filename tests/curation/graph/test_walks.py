"""Random paths, checked against the rules one by one and in plain Python."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.curation.graph.rules import PRESETS, PathRules
from osvl_plugins.curation.graph.sides import held_out_nodes
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.graph.walks import Walker
from osvl_plugins.errors import OsvlError, SettingError
from osvl_plugins.settings import read
from tests.curation.graph.graphs import article, graph_of

KINDS = {"list": NodeFlag.LIST, "disambiguation": NodeFlag.DISAMBIGUATION, "date": NodeFlag.DATE}
BOTH = NodeFlag.INFOBOX | NodeFlag.PICTURE


@st.composite
def made(draw: st.DrawFn) -> tuple[list[Any], PathRules]:
    """Articles of a random graph, and random rules."""
    count = draw(st.integers(2, 25))
    numbers = st.integers(0, count - 1)
    articles = []
    for number in range(count):
        links = draw(st.lists(numbers.filter(lambda to, own=number: to != own), max_size=8, unique=True))
        targets = draw(st.lists(numbers.filter(lambda to, own=number: to != own), max_size=4))
        flags = draw(st.sampled_from([BOTH, BOTH, BOTH, NodeFlag.INFOBOX, NodeFlag.PICTURE, BOTH | NodeFlag.LIST,
                                      BOTH | NodeFlag.DATE, BOTH | NodeFlag.DISAMBIGUATION]))  # fmt: skip
        facts = [(f"r{place}", to) for place, to in enumerate(targets)]
        articles.append(article(number, links, facts, flags, side=draw(st.sampled_from([300, 600]))))
    fewest = draw(st.integers(0, 1))
    rules = PathRules(
        edges=draw(st.sampled_from(["links", "facts"])),
        inverse=draw(st.booleans()),
        hop_shares=draw(st.sampled_from([{2: 0.4, 3: 0.4, 4: 0.2}, {1: 1.0}, {2: 1.0, 6: 1.0}])),
        anchor_in_degree=(fewest, draw(st.integers(fewest, 6))),
        hub_in_degree=draw(st.integers(1, 6)),
        min_image_side=draw(st.sampled_from([0, 512])),
        anchor_infobox=draw(st.booleans()),
        excluded=tuple(draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True))),
        retries=draw(st.integers(0, 3)),
        degree_bias=draw(st.sampled_from([0.0, 0.5, 1.0])),
        held_out_share=draw(st.sampled_from([0.0, 0.3])),
        split=draw(st.sampled_from(["hash", "links"])),
    )
    return articles, rules


def check(graph: Graph, rules: PathRules, nodes: list[int], edges: list[int], held_out: list[bool]) -> None:
    """Every rule for one path, without numpy."""
    linked_by = Counter(link.target for node in range(len(graph)) for link in graph.links(node))
    pages = [graph.page(node) for node in nodes]
    assert len(set(nodes)) == len(nodes)
    assert len(edges) in rules.hop_shares
    assert len({held_out[node] for node in nodes}) == 1
    for node in nodes:
        assert linked_by[node] <= rules.hub_in_degree
        assert not any(graph.flags[node] & KINDS[kind] for kind in rules.excluded)
    assert rules.anchor_in_degree[0] <= linked_by[nodes[0]] <= rules.anchor_in_degree[1]
    assert pages[0].pictures
    assert min(pages[0].pictures[0].width, pages[0].pictures[0].height) >= rules.min_image_side
    assert graph.flags[nodes[0]] & NodeFlag.INFOBOX or not rules.anchor_infobox
    assert graph.flags[nodes[-1]] & NodeFlag.INFOBOX
    relations = []
    for source, target, edge in zip(nodes[:-1], nodes[1:], edges, strict=True):
        if rules.edges == "links":
            assert graph.link(edge).target == target
            assert edge in range(int(graph.offsets[source]), int(graph.offsets[source + 1]))
            continue
        if edge >= 0:
            relation = graph.relations[graph.fact_relations[edge]]
            fact = graph.page(source).fact(relation)
            assert fact is not None
            assert fact.target == graph.id(target)
        else:
            assert rules.inverse
            relation = graph.relations[graph.inverse_relations[-2 - edge]]
            assert graph.sources_of(relation, source).tolist() == [target]
        relations.append(relation)
    assert len(set(relations)) == len(relations)


@given(made(), st.integers(0, 1000))
@settings(max_examples=120)
def test_every_path_keeps_every_rule(drawn: tuple[list[Any], PathRules], seed: int) -> None:
    articles, rules = drawn
    with tempfile.TemporaryDirectory() as folder:
        graph = graph_of([articles], Path(folder) / "graph")
        walker = Walker(graph, rules)
        if not len(walker.anchors):
            with pytest.raises(OsvlError, match="no page of the graph can be an anchor"):
                walker.draw(np.random.default_rng(seed), 5)
            return
        paths = walker.draw(np.random.default_rng(seed), 30)
        held_out = walker.held_out.tolist()
        for nodes, edges, length in zip(
            paths.nodes.tolist(), paths.edges.tolist(), paths.lengths.tolist(), strict=True
        ):
            assert nodes[length + 1 :] == [-1] * (len(nodes) - length - 1)
            assert nodes[0] in walker.anchors
            if length:
                check(graph, rules, nodes[: length + 1], edges[:length], held_out)


def ring(tmp_path: Path, count: int = 400) -> Graph:
    """Every page links to the next twelve; page 0 is linked by all."""
    return graph_of(
        [
            [
                article(number, [(number + step) % count for step in range(1, 13)] + [0] * bool(number))
                for number in range(count)
            ]
        ],
        tmp_path / "graph",
    )


RING = PathRules(anchor_in_degree=(0, 20), hub_in_degree=400, held_out_share=0)


def test_path_lengths_come_in_their_shares(tmp_path: Path) -> None:
    lengths = Counter(Walker(ring(tmp_path), RING).draw(np.random.default_rng(0), 20_000).lengths.tolist())
    assert {length: round(count / 20_000, 1) for length, count in lengths.items()} == {2: 0.4, 3: 0.4, 4: 0.2}


def test_a_page_that_many_link_to_is_taken_less_often_with_the_bias(tmp_path: Path) -> None:
    graph = ring(tmp_path)
    visits = {}
    for bias in (0.0, 1.0):
        rules = RING.model_copy(update={"degree_bias": bias, "hop_shares": {1: 1.0}})
        visits[bias] = (Walker(graph, rules).draw(np.random.default_rng(0), 20_000).nodes[:, 1] == 0).mean()
    assert visits[0.0] == pytest.approx(1 / 13, abs=0.01)
    assert visits[1.0] < visits[0.0] / 10


def test_a_failed_path_is_tried_again(tmp_path: Path) -> None:
    # Of the eight pages behind the anchor one leads on.
    ends = [article(number, flags=NodeFlag.INFOBOX) for number in range(2, 10)]
    graph = graph_of(
        [[article(0, range(1, 10)), article(1, [10], flags=NodeFlag.INFOBOX), *ends, article(10)]], tmp_path / "g"
    )
    found: dict[int, float] = {}
    for retries in (0, 10):
        rules = PathRules(anchor_in_degree=(0, 9), hop_shares={2: 1.0}, retries=retries, held_out_share=0)
        drawn = Walker(graph, rules).draw(np.random.default_rng(0), 5000)
        from_first = drawn.nodes[:, 0] == 0
        found[retries] = float((drawn.lengths[from_first] > 0).mean())
    assert found[0] == pytest.approx(1 / 9, abs=0.03)
    assert found[10] == pytest.approx(1 - (8 / 9) ** 11, abs=0.03)


def test_the_same_generator_gives_the_same_paths(atlas_graph: Graph) -> None:
    walker = Walker(atlas_graph, PRESETS["small"])
    first, second = (walker.draw(np.random.default_rng(3), 500) for _ in range(2))
    assert (first.nodes == second.nodes).all()
    assert (first.edges == second.edges).all()
    other = walker.draw(np.random.default_rng(4), 500)
    assert (first.nodes != other.nodes).any()


def test_no_paths_are_none(atlas_graph: Graph) -> None:
    assert Walker(atlas_graph, PRESETS["small"]).draw(np.random.default_rng(0), 0).nodes.shape[0] == 0


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6])
def test_sides_by_hash_have_their_share_and_follow_from_the_title(tmp_path: Path, share: float) -> None:
    small = graph_of([[article(number) for number in range(2000)]], tmp_path / "small")
    large = graph_of([[article(number) for number in reversed(range(3000))]], tmp_path / "large")
    rules = PathRules(held_out_share=share)
    sides = [
        {graph.title(node): bool(side) for node, side in enumerate(held_out_nodes(graph, rules))}
        for graph in (small, large)
    ]
    assert sum(sides[0].values()) / 2000 == pytest.approx(share, abs=0.04)
    assert sides[0].items() <= sides[1].items()
    other = held_out_nodes(small, rules.model_copy(update={"split_seed": 1}))
    assert (other != held_out_nodes(small, rules)).mean() == pytest.approx(2 * share * (1 - share), abs=0.05)


def test_sides_by_links_hold_their_share_of_the_pictures(atlas_graph: Graph) -> None:
    side = held_out_nodes(atlas_graph, PRESETS["small"])
    pictured = (atlas_graph.flags & NodeFlag.PICTURE) != 0
    assert side[pictured].mean() == pytest.approx(0.25, abs=0.05)
    again = held_out_nodes(atlas_graph, PRESETS["small"])
    assert (side == again).all()


def test_both_sides_of_the_atlas_have_paths_of_every_length(atlas_graph: Graph) -> None:
    walker = Walker(atlas_graph, PRESETS["small"])
    paths = walker.draw(np.random.default_rng(0), 5000)
    sides = walker.held_out[paths.nodes[:, 0]]
    assert {(int(length), bool(side)) for length, side in zip(paths.lengths, sides, strict=True)} >= {
        (length, side) for length in (2, 3, 4) for side in (False, True)
    }


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hop_shares", {}),
        ("hop_shares", {0: 1.0}),
        ("hop_shares", {2: 0.0}),
        ("anchor_in_degree", (9, 3)),
        ("degree_bias", 2.0),
        ("held_out_share", 1.0),
        ("excluded", ("place",)),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(SettingError, match=rf"paths\.{setting}"):
        read(PathRules, {setting: value}, "paths")


def test_the_defaults_are_the_published_rules() -> None:
    rules = PRESETS["wikipedia"]
    assert rules.hop_shares == {2: 0.4, 3: 0.4, 4: 0.2}
    assert (rules.anchor_in_degree, rules.hub_in_degree) == ((50, 10_000), 10_000)
    assert (rules.min_image_side, rules.anchor_infobox, rules.retries) == (512, True, 10)
    assert {"list", "disambiguation"} <= set(rules.excluded)
