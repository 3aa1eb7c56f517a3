"""Scores by a CLIP model: a tiny one with random weights, saved in transformers' layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins.curation.similarity import EncoderSimilarity, open_similarity
from osvl_plugins.errors import SettingError
from tests.curation.clip import save_clip

RED, GREEN = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "green")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_a_score_is_a_cosine_that_depends_on_picture_and_text(folder: Path) -> None:
    model = EncoderSimilarity(folder)
    scores = {model.score(image, text) for image in (RED, GREEN) for text in ("red", "a green field")}
    assert len(scores) == 4
    assert all(-1 <= score <= 1 for score in scores)
    assert model.score(RED, "red") == model.score(RED.copy(), "red")


def test_a_long_title_is_cut(folder: Path) -> None:
    assert -1 <= EncoderSimilarity(folder).score(RED, "endless " * 100) <= 1


def test_a_model_is_opened_once(folder: Path) -> None:
    assert open_similarity(str(folder)) is open_similarity(str(folder))


def test_a_folder_without_a_model_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="similarity_model"):
        EncoderSimilarity(tmp_path)
