from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from osvl_plugins.corpus.corpus import MANIFEST, Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.errors import CorpusError, ToolError


@pytest.mark.parametrize("reference", ["mexico", "atlas://mexico", " Mexico ", "MÉXICO", "Estados Unidos Mexicanos"])
def test_a_page_is_found_by_id_address_title_and_alias(atlas: Corpus, reference: str) -> None:
    assert atlas.page(reference).id == "mexico"


@pytest.mark.parametrize("reference", ["", "atlas://", "no such place", "🦄"])
def test_an_unknown_page_is_not_found_and_the_message_helps(atlas: Corpus, reference: str) -> None:
    with pytest.raises(ToolError, match=r"did you mean|give an address|text_search") as caught:
        atlas.page(reference)
    assert caught.value.kind == "not_found"


def test_a_misspelt_reference_is_answered_with_a_page_that_may_be_meant(atlas: Corpus) -> None:
    with pytest.raises(ToolError, match=r"atlas://taj-mahal"):
        atlas.page("the Taj Mahal in Agra")


def test_pages_cannot_be_changed(atlas: Corpus) -> None:
    with pytest.raises(TypeError):
        atlas.pages["mexico"] = atlas.pages["france"]  # type: ignore[index]


def test_a_picture_has_the_size_that_its_page_says(atlas: Corpus) -> None:
    stated = atlas.pages["mexico"].pictures[0]
    assert atlas.picture("mexico").size == (stated.width, stated.height)


@pytest.mark.parametrize(("page", "index"), [("mexico", 1), ("mexico", -1), ("nowhere", 0), ("euro", 0)])
def test_a_picture_that_is_not_there_is_not_found(atlas: Corpus, page: str, index: int) -> None:
    with pytest.raises(ToolError) as caught:
        atlas.picture(page, index)
    assert caught.value.kind == "not_found"


def test_a_derived_corpus_has_other_texts_and_the_same_pictures(atlas: Corpus) -> None:
    pages = [replace(page, title="Zyx") if page.id == "mexico" else page for page in atlas.pages.values()]
    derived = atlas.derive(pages)
    assert derived.page("zyx").id == "mexico"
    assert derived.search_text("zyx", 1)[0].page_id == "mexico"
    assert derived.search_image(atlas.picture("chichen-itza"), 1)[0].page_id == "chichen-itza"
    assert derived.fingerprint != atlas.fingerprint
    assert derived.fingerprint == atlas.derive(pages).fingerprint
    assert atlas.page("mexico").title == "Mexico"


def test_a_derived_corpus_must_keep_pages_with_pictures(atlas: Corpus) -> None:
    with pytest.raises(CorpusError, match="has a picture"):
        atlas.derive([Page("x", "X", "thing", "")])


def test_threads_may_search_at_once(atlas: Corpus) -> None:
    def ask(page_id: str) -> tuple[str, str]:
        text = atlas.search_text(atlas.pages[page_id].title, 1)[0].page_id
        return text, atlas.search_image(atlas.picture(page_id), 1)[0].page_id

    asked = ["japan", "brazil", "petra", "koala", "mona-lisa", "kenya", "nepal", "taj-mahal"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, asked)) == [(page_id, page_id) for page_id in asked]


def test_a_folder_without_corpus_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="osvl atlas build"):
        Corpus.open(tmp_path)


def test_a_corpus_of_another_version_is_refused(atlas: Corpus, tmp_path: Path) -> None:
    source = atlas.folder / MANIFEST
    manifest = json.loads(source.read_text())
    shutil.copy(source, tmp_path)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"version": 0}))
    with pytest.raises(CorpusError, match="version 0"):
        Corpus.open(tmp_path)
