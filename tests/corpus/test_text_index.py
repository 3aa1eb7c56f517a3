from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osvl_plugins.corpus.page import Fact, Page
from osvl_plugins.corpus.text_index import TextIndex
from osvl_plugins.corpus.world import fold
from osvl_plugins.errors import CorpusError, ToolError

PAGES = {
    page.id: page
    for page in (
        Page("chichen-itza", "Chichén Itzá", "monument", "A Mayan city.", (Fact("country", "Mexico", "mexico"),)),
        Page(
            "mexico",
            "Mexico",
            "country",
            "A country.",
            (Fact("capital", "Mexico City", "c"),),
            aliases=("México", "Messico"),
        ),
        Page("c", "Mexico City", "city", "Mexico Mexico Mexico.", body="Mexico, Mexico and Mexico."),
        Page("georgia", "Georgia", "country", "A country.", aliases=("Sakartvelo",)),
        Page("state", "Peach state", "region", "Georgia Georgia.", aliases=("Georgia",)),
    )
}


@functools.cache
def index() -> TextIndex:
    return TextIndex.build(PAGES)


@pytest.mark.parametrize("query", ["mexico", "MÉXICO", " Messico "])
def test_a_page_called_like_the_query_comes_first(query: str) -> None:
    assert index().search(query, 3)[0].page_id == "mexico"


def test_a_title_goes_before_an_alias() -> None:
    assert [hit.page_id for hit in index().search("georgia", 5)] == ["georgia", "state"]


def test_diacritics_of_neither_side_matter() -> None:
    assert index().search("chichen itza ruins", 1)[0].page_id == "chichen-itza"


def test_facts_are_searched() -> None:
    assert {hit.page_id for hit in index().search("capital", 5)} == {"mexico"}


@pytest.mark.parametrize("query", ["", "   ", "?!", "___"])
def test_a_query_without_a_word_is_a_bad_argument(query: str) -> None:
    with pytest.raises(ToolError) as caught:
        index().search(query, 3)
    assert caught.value.kind == "bad_arguments"


@settings(max_examples=300)
@given(
    query=st.text(max_size=60) | st.text(alphabet='"()[]{}+-:*^~\\/ANDORNT mexico', max_size=60), k=st.integers(1, 7)
)
def test_any_text_is_a_query(query: str, k: int) -> None:
    if not any(char.isalnum() for char in fold(query)):
        with pytest.raises(ToolError):
            index().search(query, k)
        return
    hits = index().search(query, k)
    ids = [hit.page_id for hit in hits]
    assert len(ids) <= k
    assert len(set(ids)) == len(ids)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert set(ids) <= PAGES.keys()


@settings(max_examples=100)
@given(
    name=st.sampled_from([name for page in PAGES.values() for name in (page.title, *page.aliases)]), upper=st.booleans()
)
def test_every_name_finds_a_page_of_that_name(name: str, upper: bool) -> None:
    first = PAGES[index().search(name.upper() if upper else name, 1)[0].page_id]
    assert name in (first.title, *first.aliases)


def test_an_index_on_disk_answers_as_the_one_in_memory(tmp_path: Path) -> None:
    TextIndex.build(PAGES, tmp_path)
    opened = TextIndex.open(tmp_path, PAGES)
    assert all(opened.search(query, 5) == index().search(query, 5) for query in ("mexico", "country", "mayan city"))


def test_a_folder_without_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="build the corpus again"):
        TextIndex.open(tmp_path / "nothing", PAGES)
