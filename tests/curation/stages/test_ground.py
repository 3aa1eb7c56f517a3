"""Pictures in place of the anchor's name."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, Hop, StageResult
from osvl_plugins.curation.exposures import finds
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.stages.ground import GroundSettings, run
from osvl_plugins.errors import SettingError
from tests.curation.stages.making import context, rewritten, row_of
from tests.curation.stages.test_rewrite import assert_no_leak


@pytest.fixture(scope="module")
def grounded(atlas: Corpus, atlas_graph: Graph, rewrites: StageResult) -> StageResult:
    return run(rewrites.rows[:120], context(atlas_graph, GroundSettings(), atlas))


def shown(row: Candidate) -> Image.Image:
    return Image.open(io.BytesIO(row.image)).convert("RGB")


def test_no_page_of_the_path_is_named(atlas: Corpus, grounded: StageResult) -> None:
    for row in grounded.rows:
        assert_no_leak(dict(atlas.pages), row, row.path)


def test_the_question_speaks_of_the_picture(grounded: StageResult) -> None:
    assert all("picture" in row.question or "image" in row.question for row in grounded.rows)


def test_the_picture_is_found_as_the_anchor_s_and_never_as_the_answer_page_s(
    atlas: Corpus, grounded: StageResult
) -> None:
    for row in {row.path[0]: row for row in grounded.rows}.values():
        assert finds(atlas, shown(row), (row.path[0], 0))
        assert not finds(atlas, shown(row), (row.path[-1], 0))


def test_source_and_licence_are_recorded(atlas: Corpus, grounded: StageResult) -> None:
    for row in grounded.rows:
        page = atlas.pages[row.path[0]]
        assert row.image_source in {f"{page.source}: {picture.file}" for picture in page.pictures}
        assert row.image_licence


def test_a_flag_has_the_licence_of_its_package(grounded: StageResult) -> None:
    flags = [row for row in grounded.rows if row.image_source.startswith("world-countries")]
    assert flags
    assert {row.image_licence for row in flags} == {"ODbL-1.0"}


def test_a_picture_with_a_twin_is_rejected(atlas: Corpus, atlas_graph: Graph) -> None:
    twins = sorted(page_id for page_id, _ in atlas.ambiguous_pictures)
    currencies = {page_id: atlas.pages[page_id].fact("currency") for page_id in twins}
    paths = [(page_id, fact.target) for page_id, fact in currencies.items() if fact is not None and fact.target]
    rows = rewritten(atlas_graph, [row_of(path, [Hop("currency")]) for path in paths]).rows
    assert rows
    result = run(rows, context(atlas_graph, GroundSettings(), atlas))
    assert {reject.reason for reject in result.rejects} == {"ambiguous_picture"}
    assert not result.rows


def test_a_picture_that_is_found_no_more_is_rejected(atlas: Corpus, atlas_graph: Graph, grounded: StageResult) -> None:
    result = run(grounded.rows[:20], context(atlas_graph, GroundSettings(max_side=64), atlas))
    for row in result.rows:
        assert finds(atlas, shown(row), (row.path[0], 0))
    assert {reject.reason for reject in result.rejects} <= {"not_identified"}


def test_a_large_picture_is_scaled_down(atlas: Corpus, atlas_graph: Graph, grounded: StageResult) -> None:
    rows = run(grounded.rows[:30], context(atlas_graph, GroundSettings(max_side=300), atlas)).rows
    assert rows
    assert max(max(shown(row).size) for row in rows) <= 300


def test_an_anchor_without_a_picture_is_rejected(atlas: Corpus, atlas_graph: Graph) -> None:
    row = row_of(["vaduz", "liechtenstein", "swiss-franc"], [Hop("country"), Hop("currency")])
    made = rewritten(atlas_graph, [row])
    result = run(made.rows, context(atlas_graph, GroundSettings(), atlas))
    assert [reject.reason for reject in result.rejects] == ["no_picture"]


def test_something_must_prove_what_a_picture_shows(atlas_graph: Graph) -> None:
    with pytest.raises(SettingError, match="similarity_model"):
        run([], context(atlas_graph, GroundSettings()))


def test_a_folder_without_a_model_is_a_wrong_setting(atlas_graph: Graph, grounded: StageResult, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="similarity_model"):
        run(grounded.rows[:1], context(atlas_graph, GroundSettings(similarity_model=str(tmp_path))))


class _Fixed:
    """Scores every picture alike."""

    def __init__(self, value: float) -> None:
        self.value = value

    def score(self, image: Image.Image, text: str) -> float:
        return self.value


@pytest.mark.parametrize(("score", "kept"), [(0.27, False), (0.28, True), (0.6, True)])
def test_a_model_s_score_decides_at_the_published_threshold(
    score: float,
    kept: bool,
    atlas_graph: Graph,
    rewrites: StageResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("osvl_plugins.curation.stages.ground.open_similarity", lambda folder: _Fixed(score))
    settings = GroundSettings(similarity_model=f"a model of {score}")
    result = run(rewrites.rows[:5], context(atlas_graph, settings))
    assert len(result.rows) == (5 if kept else 0)
    assert {reject.reason for reject in result.rejects} == (set() if kept else {"dissimilar"})
