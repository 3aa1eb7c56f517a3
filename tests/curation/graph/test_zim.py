"""Graphs from ZIM archives, written here with libzim's own writer."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.curation.graph.article import NodeFlag
from osvl_plugins.curation.graph.build import build_zim
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.errors import CorpusError

pytest.importorskip("lxml")
writer = pytest.importorskip("libzim.writer")

BUS = """<html><head><title>Bus</title></head><body>
<table class="infobox vcard"><tr><td colspan=2><img src="./I/icon.png">
<img src="./I/Bus%20photo.png" alt="A bus"></td></tr>
<tr><th>Place</th><td><a href="./Road">the road</a></td></tr>
<tr><th>Cities</th><td><a href="Big_City">A</a><br><a href="Town">B</a></td></tr>
<tr><th>Seats</th><td>50</td></tr></table>
<p>A <b>bus</b><sup class="reference">[1]</sup> goes to the <a href="Big_City#Centre">big city</a>.</p>
<h2>More</h2><p>See <a href="https://example.org/Road">a site</a>, <a href="Gone">gone</a>,
<a href="AC%2FDC">the band</a>.</p>
</body></html>"""
PAGES = {
    "Bus": BUS,
    "Road": "<html><body><p>It leads <a href='Town'>to town</a>.</p></body></html>",
    "Big_City": "<html><body><p>Large.</p></body></html>",
    "AC/DC": "<html><body><p>A band on a <a href='../Bus'>bus</a>.</p></body></html>",
    "List_of_buses": "<html><body><p>None.</p></body></html>",
    "Broken": "",
}


def png(side: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side + 4)).save(out, "PNG")
    return out.getvalue()


class Item(writer.Item):  # type: ignore[misc,name-defined]
    def __init__(self, path: str, kind: str, content: bytes) -> None:
        super().__init__()
        self.given = path, kind, content

    def get_path(self) -> str:
        return self.given[0]

    def get_title(self) -> str:
        return self.given[0].replace("_", " ")

    def get_mimetype(self) -> str:
        return self.given[1]

    def get_contentprovider(self) -> object:
        return writer.StringProvider(self.given[2])

    def get_hints(self) -> dict[object, int]:
        return {writer.Hint.FRONT_ARTICLE: 1}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("zim")
    with writer.Creator(folder / "test.zim") as creator:
        creator.set_mainpath("Bus")
        for path, text in PAGES.items():
            creator.add_item(Item(path, "text/html", text.encode()))
        creator.add_item(Item("I/Bus photo.png", "image/png", png(300)))
        creator.add_item(Item("I/icon.png", "image/png", png(20)))
        creator.add_redirection("Town", "Town", "Big_City", {})
        creator.add_metadata("Name", "test_en")
    build_zim(folder / "test.zim", folder / "graph", workers=1)
    return Graph.open(folder / "graph")


def node(graph: Graph, title: str) -> int:
    found = graph.find(title)
    assert found is not None
    return found


def test_links_are_those_inside_the_archive_with_redirects_followed(graph: Graph) -> None:
    links = {
        title: [(graph.title(link.target), link.anchor) for link in graph.links(node(graph, title))]
        for title in ("Bus", "Road", "AC/DC")
    }
    assert links == {
        "Bus": [("Road", "the road"), ("Big City", "A"), ("AC/DC", "the band")],
        "Road": [("Big City", "to town")],
        "AC/DC": [("Bus", "bus")],
    }
    assert graph.page(node(graph, "Big City")).aliases == ("Town",)


def test_the_infobox_gives_facts_and_the_picture(graph: Graph) -> None:
    bus = graph.page(node(graph, "bus"))
    assert [(fact.relation, fact.value, fact.target) for fact in bus.facts] == [
        ("place", "the road", "Road"),
        ("cities", "A; B", None),
        ("seats", "50", None),
    ]
    assert [(picture.file, picture.width, picture.height, picture.caption) for picture in bus.pictures] == [
        ("I/Bus photo.png", 300, 304, "A bus")
    ]
    assert bus.lead == "A bus goes to the big city."
    assert bus.source == "test_en"
    assert graph.picture(node(graph, "Bus")).size == (300, 304)


def test_lists_are_flagged_and_broken_pages_rejected(graph: Graph) -> None:
    assert graph.flags[node(graph, "List of buses")] == NodeFlag.LIST
    assert graph.manifest.rejects == {"no_html": 1}


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zim").write_bytes(b"no archive at all" * 100)
    with pytest.raises(CorpusError, match="no ZIM archive"):
        build_zim(tmp_path / "x.zim", tmp_path / "graph")
