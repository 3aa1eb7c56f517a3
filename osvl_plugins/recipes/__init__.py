"""The recipes: configs for verl's launchers, found by name through ``hydra_plugins/osvl_searchpath``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType


def path(name: str) -> str:
    """The absolute path of the file ``name`` in this folder, on this machine."""
    return str(Path(__file__).parent / name)


def register_resolver(omegaconf: ModuleType) -> None:
    """Let configs write ``${osvl_recipe:NAME}`` for ``path(NAME)``: verl's dataset wants absolute paths."""
    omegaconf.OmegaConf.register_new_resolver("osvl_recipe", path, replace=True)
