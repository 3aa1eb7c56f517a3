from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from benchmarks.memory_estimate import build, counted, counted_lora
from osvl_plugins.architectures import KNOWN, from_config, lora_parameters, named, parameters


@pytest.mark.parametrize("name", KNOWN)
def test_parameters_are_counted_as_transformers_builds_them(name: str) -> None:
    assert parameters(KNOWN[name]).total == counted(KNOWN[name])


@pytest.mark.parametrize(
    ("name", "published"),
    [("Qwen3-VL-2B", 2_127_532_032), ("Qwen3-VL-8B", 8_767_123_696), ("Qwen3-VL-30B-A3B", 31_070_754_032)],
)
def test_totals_are_those_of_the_published_weights(name: str, published: int) -> None:
    assert parameters(KNOWN[name]).total == published


@pytest.mark.parametrize("name", ["Qwen3-VL-2B", "Qwen3-VL-30B-A3B"])
@pytest.mark.parametrize("exclude", [None, ".*visual.*"])
def test_adapters_are_counted_as_peft_places_them(name: str, exclude: str | None) -> None:
    pytest.importorskip("peft")
    assert lora_parameters(KNOWN[name], 16, exclude is None) == counted_lora(KNOWN[name], 16, exclude)


@pytest.mark.parametrize("name", ["Qwen3-VL-2B", "Qwen3-VL-30B-A3B"])
def test_a_saved_config_gives_the_sizes_back(name: str) -> None:
    import torch

    with torch.device("meta"):
        assert from_config(build(KNOWN[name]).config.to_dict()) == KNOWN[name]


def test_other_models_have_no_sizes() -> None:
    assert from_config({"model_type": "llama"}) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/models/Qwen3-VL-8B-Instruct", "Qwen3-VL-8B"),
        ("~/.cache/osvl/sft/osvl_qwen3_vl_30b_a3b_sft/model", "Qwen3-VL-30B-A3B"),
        ("osvl_qwen3_vl_8b_lora_8x24g", "Qwen3-VL-8B"),
        ("Qwen3-VL-235B-A22B-Instruct", None),
        ("Qwen3-VL-8B2", None),
        ("osvl_tiny_rl", None),
    ],
)
def test_a_model_is_known_by_its_name(text: str, name: str | None) -> None:
    assert named(text) == name
