"""Pages of a dump, however it is packed and cut."""

from __future__ import annotations

import bz2
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osvl_plugins.curation.graph.article import Article, Redirect
from osvl_plugins.curation.graph.dump import Piece, Wiki, pieces, read_page, read_piece, read_wiki
from osvl_plugins.curation.graph.wikitext import Rejected
from osvl_plugins.errors import CorpusError
from tests.curation.graph.graphs import HEADER, dump, page, redirect

WIKI = Wiki("testwiki", frozenset({"portal"}))
PAGES = [page(number, f"Page {number}", f"It is [[Page {number + 1}]]. " * number) for number in range(1, 30)]
SAME = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def titles(file: Path, piece_bytes: int) -> list[str]:
    found = [item for piece in pieces(file, piece_bytes) for item in read_piece(piece, WIKI)]
    assert not [item for item in found if isinstance(item, Rejected)]
    return [item.title for item in found if isinstance(item, Article)]


@given(st.integers(40, 5_000))
@SAME
def test_a_plain_dump_gives_every_page_once_wherever_it_is_cut(tmp_path: Path, size: int) -> None:
    file = tmp_path / "dump.xml"
    file.write_text(dump(PAGES))
    assert titles(file, size) == [f"Page {number}" for number in range(1, 30)]


@given(st.lists(st.integers(1, 40_000), max_size=12), st.sampled_from([4, 400, 10**9]))
@SAME
def test_a_multistream_dump_gives_every_page_once_wherever_streams_start(
    tmp_path: Path, cuts: list[int], size: int
) -> None:
    file, data = tmp_path / "dump.xml.bz2", dump(PAGES).encode()
    bounds = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    streams = [bz2.compress(data[start:stop]) for start, stop in itertools.pairwise(bounds)]
    file.write_bytes(b"".join(streams))
    assert titles(file, size) == [f"Page {number}" for number in range(1, 30)]


@pytest.mark.parametrize("size", [100, 1000, 10**9])
def test_a_dump_of_one_stream_is_unpacked_in_pieces_of_whole_pages(tmp_path: Path, size: int) -> None:
    file = tmp_path / "dump.xml.bz2"
    file.write_bytes(bz2.compress(dump(PAGES).encode()))
    given_pieces = list(pieces(file, size))
    assert all(isinstance(piece, bytes) and piece.endswith(b"</page>") for piece in given_pieces)
    assert titles(file, size) == [f"Page {number}" for number in range(1, 30)]


def test_the_real_sample_has_106_articles_and_99_redirects(sample: Path) -> None:
    wiki = read_wiki(sample)
    found = [item for piece in pieces(sample) for item in read_piece(piece, wiki)]
    assert wiki.name == "enwiki"
    assert "portal" in wiki.namespaces
    assert sum(isinstance(item, Article) for item in found) == 106
    assert sum(isinstance(item, Redirect) for item in found) == 99


def test_pages_of_other_namespaces_are_left_out() -> None:
    assert read_page(page(1, "Talk:Bus", "x", namespace=1).strip().encode(), WIKI) is None


def test_entities_are_undone_once() -> None:
    found = read_page(page(1, "A &amp; B", "x &lt;y&gt; [[A&amp;B]] & z").strip().encode(), WIKI)
    assert isinstance(found, Article)
    assert found.title == "A & B"
    assert found.lead == "x <y> A&B & z"
    assert [link.title for link in found.links] == ["A&B"]


def test_a_redirect_says_whether_it_leads_to_a_section() -> None:
    whole, part = redirect(1, "Coach", "Bus"), redirect(2, "Bus fare", "Bus", "#Fares")
    assert read_page(whole.strip().encode(), WIKI) == Redirect("Coach", "Bus")
    assert read_page(part.strip().encode(), WIKI) == Redirect("Bus fare", "Bus", partial=True)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<page><ns>0</ns></page>", "malformed_xml"),
        ("<page><title>X</title><ns>0</ns><id>1</id>", "truncated"),
        ("<page><title>#x</title><ns>0</ns><id>1</id></page>", "no_title"),
        ("<page><title>X</title><ns>0</ns><id>1</id><text/></page>", "no_text"),
        ("<page><title>X</title><ns>0</ns><id>1</id><model>css</model><text>x</text></page>", "not_wikitext"),
    ],
)
def test_a_page_that_cannot_be_read_is_rejected_with_the_reason(xml: str, reason: str) -> None:
    found = read_page(xml.encode(), WIKI)
    assert isinstance(found, Rejected)
    assert found.reason == reason


def test_bytes_that_are_no_unicode_do_not_stop_the_reader() -> None:
    xml = page(1, "X", "ab").strip().encode().replace(b"ab", b"a\xff\xfeb \xc3")
    found = read_page(xml, WIKI)
    assert isinstance(found, Article)
    assert found.lead.startswith("a")


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / "dump.xml.bz2"
    whole = bz2.compress(dump(PAGES).encode())
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match=r"dump\.xml\.bz2: not readable"):
        [list(read_piece(piece, WIKI)) for piece in pieces(file)]
    file.write_bytes(whole + bz2.compress(b"x" * 1000)[:-8])
    with pytest.raises(CorpusError, match=r"dump\.xml\.bz2: not readable"):
        list(read_piece(Piece(file, 0, file.stat().st_size), WIKI))


@pytest.mark.parametrize("name", ["dump.7z", "dump.xml", "dump.xml.bz2"])
def test_what_is_no_dump_is_refused(tmp_path: Path, name: str) -> None:
    for content in (b"", b"something else", bz2.compress(b"something else")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorpusError, match=r"no dump of wiki pages|not readable"):
            read_wiki(tmp_path / name)


def test_without_a_header_the_namespaces_are_the_english_ones(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(PAGES[0])
    (tmp_path / "b.xml").write_text(HEADER)
    assert "category" in read_wiki(tmp_path / "a.xml").namespaces
    assert read_wiki(tmp_path / "b.xml").namespaces >= {"portal", "category"}
