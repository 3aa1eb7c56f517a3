"""What `make demo` promises, at its full size."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.demo import SCALES, run_demo
from osvl_plugins.launch import read_step

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def out(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    run_demo(folder, atlas.folder, atlas.folder.parent / "sources", SCALES["demo"], Console(file=io.StringIO()))
    return folder


def report(out: Path, stage: str, world: str) -> dict[str, float]:
    values: dict[str, float] = json.loads((out / "evaluation" / f"{stage}.json").read_text())[world]
    return values


def test_the_sft_model_writes_well_formed_turns(out: Path):
    assert report(out, "after-sft", "calm")["format"] >= 0.95


def test_the_sft_model_answers_well_above_guessing_and_leaves_room_for_rl(out: Path):
    # One fact of about eight on the right page is a guess of 0.13.
    assert 0.3 <= report(out, "after-sft", "calm")["accuracy"] <= 0.9


def test_between_a_tenth_and_a_third_of_the_rl_rollouts_are_fatal(out: Path):
    lines = (out / "rl" / "log.txt").read_text(errors="replace").splitlines()
    rates = [step[1]["osvl/fatal_rate/mean"] for step in map(read_step, lines) if step is not None]
    assert 0.1 <= sum(rates) / len(rates) <= 0.33
