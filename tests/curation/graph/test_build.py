"""Graphs from dumps: what is in them, the same however they are built, whole or not there."""

from __future__ import annotations

import gzip
import os
import pickle
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.curation.graph import build
from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.curation.graph.build import Extras, build_dump
from osvl_plugins.curation.graph.files import Manifest
from osvl_plugins.curation.graph.relink import LinkTables
from osvl_plugins.curation.graph.store import Graph, Link
from osvl_plugins.errors import CorpusError
from tests.curation.graph.graphs import dump, page, redirect

BUS, ROAD, CITY, LONE = 11, 22, 33, 44
PAGES = [
    page(BUS, "Bus", "{{Infobox vehicle\n| place = [[Road]]\n| image = Bus.jpg\n| seats = 50\n}}\nA [[bus]] on a "
                     "[[Street|street]] in a [[city]], [[Road|again]], [[Nowhere]], [[Loop]], [[Far]]."),
    redirect(55, "Street", "Road"),
    page(ROAD, "Road", "It leads to a [[Town]] and a [[coach]]."),
    redirect(66, "Town", "Borough"),
    redirect(77, "Borough", "City"),
    redirect(88, "Coach", "Bus"),
    redirect(89, "Bus fare", "Bus", "#Fares"),
    redirect(91, "Loop", "Pool"),
    redirect(92, "Pool", "Loop"),
    redirect(93, "Far", "Nowhere"),
    page(CITY, "City", "It has [[Street]]s."),
    page(LONE, "List of lone things", "None."),
    page(99, "Empty", ""),
    page(100, "Talk:Bus", "Hi", namespace=1),
]  # fmt: skip


def written(folder: Path, pages: Iterable[str] = PAGES) -> Path:
    file = folder / "dump.xml"
    file.write_text(dump(pages))
    return file


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    build_dump([written(tmp_path)], tmp_path / "graph")
    return Graph.open(tmp_path / "graph")


def named(graph: Graph) -> dict[str, list[str]]:
    return {graph.title(node): [graph.title(link.target) for link in graph.links(node)] for node in range(len(graph))}


def test_links_follow_redirects_through_chains_and_end_in_cycles(graph: Graph) -> None:
    assert named(graph) == {
        "Bus": ["Road", "City"],
        "Road": ["City", "Bus"],
        "City": ["Road"],
        "List of lone things": [],
    }
    assert graph.in_degree.tolist() == [1, 2, 2, 0]
    assert graph.manifest.dropped["redirect_cyclic"] == 2
    assert graph.manifest.dropped["redirect_dead"] == 1


def test_a_link_has_its_text_and_its_place(graph: Graph) -> None:
    text = PAGES[0].partition('preserve">')[2]
    road, city = graph.links(0)
    assert road == Link(1, "Road", text.index("[[Road]]"))
    assert city == Link(2, "city", text.index("[[city]]"))
    assert [link.anchor for node in (1, 2) for link in graph.links(node)] == ["Town", "coach", "Streets"]


def test_redirects_to_the_whole_article_are_its_aliases_and_all_of_them_find_it(graph: Graph) -> None:
    assert graph.page(0).aliases == ("Coach",)
    assert set(graph.page(2).aliases) == {"Town", "Borough"}
    for name, node in {"bus": 0, "Bus fare": 0, "town": 2, "street#x": 1}.items():
        assert graph.find(name) == node
    for name in ("Loop", "Pool", "Far", "Nowhere", "Empty", "Talk:Bus", ""):
        assert graph.find(name) is None


def test_a_page_has_its_facts_with_page_ids_and_its_picture(graph: Graph) -> None:
    bus = graph.page(0)
    assert [(fact.relation, fact.value, fact.target) for fact in bus.facts] == [
        ("place", "Road", "22"),
        ("seats", "50", None),
    ]
    assert (bus.id, bus.kind, bus.source, bus.lead) == (
        "11",
        "vehicle",
        "testwiki",
        "A bus on a street in a city, again, Nowhere, Loop, Far.",
    )
    assert [picture.file for picture in bus.pictures] == ["Bus.jpg"]
    assert [graph.node(str(number)) for number in (BUS, ROAD, CITY, LONE, 55, 99)] == [0, 1, 2, 3, None, None]


def test_flags_and_rejects_are_kept(graph: Graph) -> None:
    assert graph.flags.tolist() == [NodeFlag.INFOBOX | NodeFlag.PICTURE, 0, 0, NodeFlag.LIST]
    assert graph.manifest.rejects == {"no_text": 1}


def test_a_graph_is_pickled_by_its_path(graph: Graph) -> None:
    packed = pickle.dumps(graph)
    assert len(packed) < 1000
    assert pickle.loads(packed).page(0) == graph.page(0)


def sql(folder: Path, name: str, columns: str, rows: Iterable[tuple[object, ...]]) -> Path:
    def value(part: object) -> str:
        return "'" + part.replace("\\", "\\\\").replace("'", "\\'") + "'" if isinstance(part, str) else str(part)

    lines = ",".join("(" + ",".join(map(value, row)) + ")" for row in rows)
    described = "".join(f"  `{column}` int NOT NULL,\n" for column in columns.split())
    file = folder / f"{name}.sql.gz"
    file.write_bytes(
        gzip.compress(f"CREATE TABLE `{name}` (\n{described}) ;\nINSERT INTO `{name}` VALUES {lines};\n".encode())
    )
    return file


def tables(folder: Path, extra: Iterable[tuple[int, str]] = ()) -> LinkTables:
    """Link tables as MediaWiki would write them for ``PAGES``, redirects not followed, and ``extra`` links."""
    wanted = [(BUS, title) for title in ("Road", "Bus", "Street", "City", "Nowhere", "Loop", "Far")]
    wanted += [(ROAD, "Town"), (ROAD, "Coach"), (CITY, "Street"), (55, "Road"), (66, "Borough"), *extra]
    titles = sorted({title for _, title in wanted})
    targets = [(7 + place, 0, title) for place, title in enumerate(titles)]
    links = [(source, 0, 7 + titles.index(title)) for source, title in wanted]
    return LinkTables(
        sql(folder, "pagelinks", "pl_from pl_from_namespace pl_target_id", [*links, (100, 1, 7)]),
        sql(folder, "linktarget", "lt_id lt_namespace lt_title", [*targets, (5, 4, "Road"), (6, 0, "O'Neil \\ co")]),
    )


def test_links_by_tables_are_those_of_the_text(tmp_path: Path, graph: Graph) -> None:
    build_dump([tmp_path / "dump.xml"], tmp_path / "tabled", Extras(links=tables(tmp_path)))
    tabled = Graph.open(tmp_path / "tabled")
    assert [tabled.links(node) for node in range(4)] == [graph.links(node) for node in range(4)]
    assert tabled.in_degree.tolist() == graph.in_degree.tolist()
    assert tabled.manifest.origin.links == "tables"
    assert tabled.edges == graph.edges


def test_a_link_that_a_template_made_comes_last_with_its_title_as_text(tmp_path: Path) -> None:
    build_dump([written(tmp_path)], tmp_path / "graph", Extras(links=tables(tmp_path, [(CITY, "List_of_lone_things")])))
    tabled = Graph.open(tmp_path / "graph")
    assert tabled.links(2)[1] == Link(3, "List of lone things", -1)
    assert tabled.in_degree[3] == 1


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    old = sql(tmp_path, "old", "pl_from pl_namespace pl_title", [(1, 0, "X")])
    extras = Extras(links=LinkTables(old, tables(tmp_path).linktarget))
    with pytest.raises(
        CorpusError, match=r"old\.sql\.gz: columns pl_from, pl_namespace, pl_title; a table with pl_from, "
    ):
        build_dump([written(tmp_path)], tmp_path / "graph", extras)
    assert not (tmp_path / "graph").exists()


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    links = tables(tmp_path)
    damaged = tmp_path / "damaged.sql"
    damaged.write_bytes(gzip.decompress(links.pagelinks.read_bytes()).replace(b",0,", b",x,"))
    for pagelinks in (damaged, tmp_path / "missing.sql.gz", tmp_path / "dump.xml"):
        extras = Extras(links=links._replace(pagelinks=pagelinks))
        with pytest.raises(CorpusError, match=pagelinks.name):
            build_dump([written(tmp_path)], tmp_path / "graph", extras)


def test_sizes_of_pictures_come_from_the_image_tables_and_the_pictures_from_a_folder(tmp_path: Path) -> None:
    rows = [("Other.jpg", 1, 5, 5, 0), ("Bus.jpg", 9, 800, 600, 0)]
    image = sql(tmp_path, "image", "img_name img_size img_width img_height img_bits", rows)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "images" / "Bus.jpg")
    build_dump([written(tmp_path)], tmp_path / "graph", Extras(image_tables=(image,), images=tmp_path / "images"))
    graph = Graph.open(tmp_path / "graph")
    assert graph.image_side.tolist() == [600, 0, 0, 0]
    (picture,) = graph.page(0).pictures
    assert (picture.width, picture.height) == (800, 600)
    assert graph.picture(0).size == (80, 60)
    with pytest.raises(CorpusError, match="'Road' has no picture 0"):
        graph.picture(1)
    (tmp_path / "images" / "Bus.jpg").write_bytes(b"no picture")
    with pytest.raises(CorpusError, match=r"no picture 'Bus\.jpg'"):
        graph.picture(0)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_graph_does_not_depend_on_the_number_of_processes_or_files(
    tmp_path: Path, graph: Graph, workers: int
) -> None:
    files = [tmp_path / "a.xml", tmp_path / "b.xml"]
    files[0].write_text(dump(PAGES[:4]))
    files[1].write_text(dump(PAGES[4:]))
    built = build_dump(files, tmp_path / "again", workers=workers)
    assert built.fingerprint == graph.fingerprint


def test_the_same_dump_twice_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    file = written(tmp_path)
    with pytest.raises(CorpusError, match=r"4 articles share an id with another, .*; give each file once"):
        build_dump([file, file], tmp_path / "graph")
    assert {entry.name for entry in tmp_path.iterdir()} == {"dump.xml"}


def test_of_two_articles_with_one_title_the_first_is_found_by_it(tmp_path: Path) -> None:
    build_dump(
        [written(tmp_path, [page(1, "Bus", "See [[Car]]."), page(2, "car", "One."), page(3, "Car", "Two.")])],
        tmp_path / "g",
    )
    graph = Graph.open(tmp_path / "g")
    assert graph.find("Car") == graph.node("2") == graph.links(0)[0].target
    assert graph.node("3") == 2
    assert graph.manifest.dropped["title_twice"] == 1


def test_a_graph_is_replaced_and_anything_else_is_left_alone(tmp_path: Path, graph: Graph) -> None:
    build_dump([written(tmp_path, PAGES[:3])], graph.folder)
    assert len(Graph.open(graph.folder)) == 2
    (tmp_path / "mine").mkdir()
    with pytest.raises(CorpusError, match="something that is no graph"):
        build_dump([tmp_path / "dump.xml"], tmp_path / "mine")
    assert {entry.name for entry in tmp_path.iterdir()} == {"dump.xml", "graph", "mine"}


@pytest.mark.parametrize("pages", [[], PAGES[1:2], PAGES[-2:]])
def test_a_dump_without_articles_is_refused(tmp_path: Path, pages: list[str]) -> None:
    with pytest.raises(CorpusError, match="0 articles were read"):
        build_dump([written(tmp_path, pages)], tmp_path / "graph")


def test_what_is_no_graph_does_not_open(tmp_path: Path, graph: Graph) -> None:
    with pytest.raises(CorpusError, match=r"no graph there .*; build it with osvl curate graph"):
        Graph.open(tmp_path)
    (graph.folder / "targets").unlink()
    with pytest.raises(CorpusError, match=r"targets: not readable .*build the graph again"):
        Graph.open(graph.folder)


def test_the_real_sample_links_what_it_holds(sample_graph: Graph) -> None:
    apollo = sample_graph.find("Apollo 11")
    assert apollo is not None
    assert [sample_graph.title(link.target) for link in sample_graph.links(apollo)] == ["Apollo 8"]
    assert Manifest.read(sample_graph.folder).rejects == {}
    assert len(sample_graph) == 106
    assert sample_graph.edges == int(sample_graph.in_degree.sum()) == 86


def hang(*given: object) -> int:
    time.sleep(60)
    return 0


def die(*given: object) -> int:
    os._exit(1)


@pytest.mark.timeout(40)
@pytest.mark.parametrize("fault", [hang, die])
def test_a_process_that_hangs_or_dies_ends_the_build_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., int]
) -> None:
    monkeypatch.setattr(build, "PIECE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(build, "_write_part", fault)
    with pytest.raises(CorpusError, match="a process that reads articles died or hangs"):
        build_dump([written(tmp_path)], tmp_path / "graph")
    assert {entry.name for entry in tmp_path.iterdir()} == {"dump.xml"}
