"""docs/from_opensearch_vl.md says of every setting of the reference what it is here: what it names exists."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

pytest.importorskip("verl")

import verl.trainer
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from osvl_plugins.cli import parser
from tests.test_docs import SETTINGS, tables

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/from_opensearch_vl.md"
CONFIGS = str(Path(verl.trainer.__file__).parent / "config")
RECIPES = {
    "RL: the launch scripts": ["osvl_qwen3_vl_8b"],
    "RL: Megatron": ["osvl_qwen3_vl_8b", "osvl/engine=megatron"],
    "RL: the workflow": ["osvl_qwen3_vl_8b"],
    "RL: data": ["osvl_qwen3_vl_8b"],
    "Services and keys": ["osvl_qwen3_vl_8b"],
    "The cluster": ["osvl_qwen3_vl_8b"],
    "SFT": ["osvl_qwen3_vl_8b_sft"],
    "Inference": ["osvl_qwen3_vl_8b"],
    "Evaluation": ["osvl_qwen3_vl_8b"],
}
"""What the names of a section's second column are looked up in, beside the settings of osvl: a recipe, overrides."""


class Row(NamedTuple):
    """A row of the page: names of theirs, the cells of ours, the reason."""

    section: str
    theirs: list[str]
    ours: list[str]
    reason: str


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows() -> Iterator[Row]:
    section = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        if line.startswith("| `") and section in RECIPES:
            theirs, *ours, reason = (cell.strip() for cell in line.strip("|").split(" |"))
            yield Row(section, names(theirs), ours, reason)


@lru_cache
def composed(recipe: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(CONFIGS, version_base=None):
        return compose(recipe, list(overrides))


def has(config: Any, key: str) -> bool:
    """Whether ``key`` stands in ``config``; its value may be null or missing."""
    for part in key.split("."):
        if not isinstance(config, DictConfig) or part not in config:
            return False
        config = config._get_node(part)
    return True


@lru_cache
def settings() -> set[str]:
    """Every setting of docs/settings.md, which tests/test_docs.py holds to the code, and the variables named there."""
    found = set()
    for heading, cells in tables(SETTINGS):
        group = re.match(r"`([^`]+)`", heading)
        found |= {f"{group[1]}.{cells[0]}"} if group else set(names(cells[0])) | {cells[0]}
    return found


@lru_cache
def variables() -> set[str]:
    text = (ROOT / "examples/launch/env.example").read_text()
    return set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) | settings()


def is_option(words: list[str]) -> bool:
    """Whether ``osvl WORDS`` is a command, or an option of one where the last word is one."""
    command: argparse.ArgumentParser = parser()
    for word in words:
        choices = [action.choices for action in command._actions if isinstance(action, argparse._SubParsersAction)]
        if word.startswith("-"):
            return word in command._option_string_actions
        if not choices or word not in choices[0]:
            return False
        command = choices[0][word]
    return True


def exists(section: str, name: str) -> bool:
    """Whether ``name`` of the second column is something that there is."""
    if name.startswith("osvl "):
        return is_option(name.split()[1:])
    if re.fullmatch(r"[A-Z_0-9]+", name):
        return name in variables()
    return has(composed(*RECIPES[section]), name) or name in settings()


@pytest.mark.parametrize("section", RECIPES)
def test_every_setting_of_ours_exists(section: str) -> None:
    missing = [
        name
        for row in rows()
        if row.section == section
        for name in (row.theirs if row.ours[0] == "same" else names(row.ours[0]))
        # A variable that is the same is read by NCCL, wandb and the like, not by this package.
        if not (row.ours[0] == "same" and name.isupper()) and not exists(section, name)
    ]
    assert missing == []


def test_a_setting_of_llama_factory_stands_in_its_recipe() -> None:
    recipe = yaml.safe_load((ROOT / "osvl_plugins/recipes/llamafactory/osvl_qwen3_vl_8b.yaml").read_text())
    for row in rows():
        if row.section == "SFT":
            ours = row.theirs if row.ours[1] == "same" else names(row.ours[1])
            assert [name for name in ours if name not in recipe and not name.isupper()] == []


def test_every_row_says_what_it_is_here_and_why_where_it_is_gone() -> None:
    found = list(rows())
    assert {row.section for row in found} == set(RECIPES)
    for row in found:
        assert row.theirs
        for cell in row.ours:
            assert cell in ("same", "gone") or re.fullmatch(r"`[^`]+`(, `[^`]+`)*", cell), cell
        assert row.reason or set(row.ours) != {"gone"}, row.theirs


def test_no_setting_of_theirs_stands_in_two_rows_of_a_section() -> None:
    seen: set[tuple[str, str]] = set()
    for row in rows():
        for name in row.theirs:
            assert (row.section, name) not in seen, name
            seen.add((row.section, name))


def test_the_groups_that_are_named_exist() -> None:
    folder = ROOT / "osvl_plugins/recipes"
    for group, choice in re.findall(r"`(osvl/\w+)=(\w+)`", PAGE.read_text()):
        assert (folder / group / f"{choice}.yaml").exists(), f"{group}={choice}"
