"""Scores by a CLIP model: a tiny one with random weights, saved in transformers' layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from osvl_plugins import torchvision_ops
from osvl_plugins.curation.similarity import EncoderSimilarity, open_similarity
from osvl_plugins.errors import SettingError

torch = pytest.importorskip("torch")
torchvision_ops.allow_missing()
transformers = pytest.importorskip("transformers")

RED, GREEN = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "green")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={
            **small,
            "vocab_size": len(tokens),
            "max_position_embeddings": 16,
            "eos_token_id": len(tokens) - 1,
        },
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


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
