from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from osvl_plugins.corpus.build import build_atlas
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.sources import SOURCES
from osvl_plugins.corpus.world import fold
from osvl_plugins.errors import CorpusError


def test_at_least_250_pages_have_a_picture(atlas: Corpus) -> None:
    assert sum(bool(page.pictures) for page in atlas.pages.values()) >= 250


def test_at_least_1000_facts_lead_to_another_page(atlas: Corpus) -> None:
    assert sum(fact.target is not None for page in atlas.pages.values() for fact in page.facts) >= 1000


def test_every_linked_page_exists(atlas: Corpus) -> None:
    targets = {fact.target for page in atlas.pages.values() for fact in page.facts if fact.target is not None}
    assert targets <= atlas.pages.keys()


def test_a_linked_value_is_a_name_of_the_page_that_it_leads_to(atlas: Corpus) -> None:
    for page in atlas.pages.values():
        for fact in page.facts:
            if fact.target is not None:
                target = atlas.pages[fact.target]
                names = {target.title, target.title.rsplit(" (", 1)[0], *target.aliases}
                assert fact.value in names, (page.id, fact)


def test_titles_are_unique(atlas: Corpus) -> None:
    titles = [fold(page.title) for page in atlas.pages.values()]
    assert len(set(titles)) == len(titles)


def test_ids_are_ascii_slugs(atlas: Corpus) -> None:
    assert all(
        page_id == page.id and page_id.replace("-", "").isalnum() and page_id.isascii()
        for page_id, page in atlas.pages.items()
    )


def test_a_relation_has_one_answer_on_a_page(atlas: Corpus) -> None:
    for page in atlas.pages.values():
        relations = [fact.relation for fact in page.facts]
        assert len(set(relations)) == len(relations), page.id


def test_every_page_has_a_lead_and_a_fact_or_a_picture(atlas: Corpus) -> None:
    assert all(page.lead and page.source and (page.facts or page.pictures) for page in atlas.pages.values())


def test_every_title_finds_its_page_first(atlas: Corpus) -> None:
    assert all(atlas.search_text(page.title, 1)[0].page_id == page.id for page in atlas.pages.values())


def test_every_picture_is_a_confident_hit_for_itself_and_without_a_twin_the_only_one(atlas: Corpus) -> None:
    for page in atlas.pages.values():
        for index in range(len(page.pictures)):
            sure = {hit[:2] for hit in atlas.search_image(atlas.picture(page.id, index), 8) if hit.confident}
            own = (page.id, index)
            assert own in sure, page.id
            assert own in atlas.ambiguous_pictures or sure == {own}, (page.id, sure)


def test_known_twins_are_ambiguous(atlas: Corpus) -> None:
    twins = {"chad", "romania", "indonesia", "monaco", "norway", "bouvet-island"}
    assert {(page_id, 0) for page_id in twins} <= atlas.ambiguous_pictures


def test_a_photo_leads_from_the_monument_to_the_countrys_currency(atlas: Corpus) -> None:
    monument = atlas.page(atlas.search_image(atlas.picture("chichen-itza"), 1)[0].page_id)
    country = monument.fact("country")
    assert country is not None
    currency = atlas.page(country.value).fact("currency")
    assert currency is not None
    assert currency.value == "Mexican peso"


def test_the_sources_are_listed_with_licence_and_version(atlas: Corpus) -> None:
    text = (atlas.folder / "SOURCES.md").read_text(encoding="utf-8")
    rows = text.splitlines()
    for source in SOURCES:
        assert any(source.name in row and source.licence in row and source.origin in row for row in rows), source.name


def test_every_picture_is_credited(atlas: Corpus) -> None:
    text = (atlas.folder / "SOURCES.md").read_text(encoding="utf-8")
    assert all(f"| {picture.file} |" in text for page in atlas.pages.values() for picture in page.pictures)


def test_a_complete_corpus_is_left_as_it_is(atlas: Corpus) -> None:
    report = build_atlas(atlas.folder, Path("unused"))
    assert report.reused
    assert report.pages == len(atlas.pages)
    assert report.missing == {}


def test_what_cannot_be_fetched_is_reported_and_the_rest_built(
    atlas: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = next((atlas.folder.parent / "sources").glob("world-countries-*"))
    shutil.copytree(fetched, tmp_path / "cache" / fetched.name)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    messages: list[str] = []
    report = build_atlas(tmp_path / "atlas", tmp_path / "cache", messages.append)
    assert set(report.sources) == {"world-countries"}
    assert set(report.missing) == {"gcompris-qt-data", "freeciv-data"}
    assert "apt-get" in report.missing["freeciv-data"]
    assert report.pictures >= 250
    assert any("apt-get" in message for message in messages)
    assert Corpus.open(tmp_path / "atlas").page("mexico").pictures
    assert {entry.name for entry in tmp_path.iterdir()} == {"atlas", "cache", ".atlas.lock"}


def test_without_any_source_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(CorpusError, match="no source with pictures"):
        build_atlas(tmp_path / "atlas", tmp_path / "cache")
    assert not (tmp_path / "atlas").exists()
