"""``osvl recipes``: what is printed, and the exit code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

pytest.importorskip("verl")

from PIL import Image

from osvl_plugins.cli import main
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.rows import RL_SCHEMA, write_parquet
from osvl_plugins.tiny import TinyShape, build_tiny


@pytest.fixture
def home(tmp_path: Path, atlas: Corpus, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What osvl_tiny_rl needs: a corpus, a model and questions."""
    (tmp_path / "atlas").symlink_to(atlas.folder, target_is_directory=True)
    shape = TinyShape(128, 2, 4, 128, vision_hidden=32, pieces=300, max_positions=2048)
    build_tiny(tmp_path / "sft/model", ["What is the capital of Norway?"] * 20, ["crop"], ["capital"], shape)
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    row = {
        "data_source": "test",
        "prompt": [{"role": "user", "content": "<image>What is this?"}],
        "images": [{"bytes": picture.getvalue()}],
        "agent_name": "osvl_agent",
        "reward_model": {"style": "rule", "ground_truth": "red"},
        "extra_info": {"index": 0},
    }
    for name in ("rl_train", "held_out"):
        write_parquet([row] * 8, RL_SCHEMA, tmp_path / "data" / f"{name}.parquet")
    monkeypatch.setenv("OSVL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    return tmp_path


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["recipes", "check", *words])
    return code, capsys.readouterr().out


def test_a_recipe_with_all_that_it_needs_passes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(capsys, "osvl_tiny_rl")
    assert "0 errors" in said
    assert code == 0


def test_a_missing_model_names_its_setting(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(capsys, "osvl_tiny_rl", "actor_rollout_ref.model.path=/nowhere")
    assert code == 1
    line = next(line for line in said.splitlines() if "/nowhere is no folder" in line)
    assert line.split()[:2] == ["error", "actor_rollout_ref.model.path"]


def test_what_verl_refuses_is_an_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(capsys, "osvl_tiny_rl", "actor_rollout_ref.actor.ppo_mini_batch_size=16")
    assert code == 1
    assert "must be >= actor.ppo_mini_batch_size" in said


def test_what_the_trainer_refuses_is_an_error_under_its_setting(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(capsys, "osvl_tiny_rl", "actor_rollout_ref.rollout.n=1")
    assert code == 1
    assert any(
        line.split()[:2] == ["error", "actor_rollout_ref.rollout.n"] for line in said.splitlines() if line.strip()
    )


def test_one_small_gpu_for_the_largest_model_says_what_does_not_fit(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = check(capsys, "osvl_qwen3_vl_32b", "--gpus", "1", "--gpu-memory", "24")
    assert code == 1
    assert "trainer.nnodes=1 trainer.n_gpus_per_node=1" in said
    assert "of 24 GiB, does not fit" in said


def test_what_cannot_be_composed_ends_with_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "check", "no_such_recipe"]) == 2
    assert "no_such_recipe cannot be composed" in capsys.readouterr().err


def test_a_setting_that_cannot_be_resolved_ends_with_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "check", "osvl_tiny_rl", "trainer.project_name=${no.such.setting}"]) == 2
    assert "no.such.setting" in capsys.readouterr().err


def test_the_list_names_kinds(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "list"]) == 0
    said = capsys.readouterr().out
    assert "osvl_tiny_rl" in said
    assert "LLaMA-Factory" in said


def test_show_prints_the_config_its_differences_or_its_path(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "show", "osvl_tiny_rl"]) == 0
    whole = capsys.readouterr().out
    assert main(["recipes", "show", "osvl_tiny_rl", "--diff"]) == 0
    different = capsys.readouterr().out
    assert main(["recipes", "show", "osvl_tiny_rl", "--path"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert len(different) < len(whole) / 2
    assert "trainer_mode: osvl_sync" in different
    assert path.name == "osvl_tiny_rl.yaml"
    assert path.is_file()


def test_a_file_of_llama_factory_is_shown_as_it_stands(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "show", "llamafactory/osvl_qwen3_vl_8b", "--path"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert main(["recipes", "show", "llamafactory/osvl_qwen3_vl_8b"]) == 0
    assert capsys.readouterr().out == path.read_text()
