"""The recipes that there are, and what Hydra makes of one.

verl's own configs are found where verl is installed; verl itself is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from osvl_plugins.errors import SettingError

FOLDER = Path(__file__).parents[1] / "recipes"
LLAMA_FACTORY = "llamafactory"

Kind = Literal["RL", "SFT", "LLaMA-Factory"]


@dataclass(frozen=True)
class Recipe:
    """``summary`` is the first comment of its file."""

    name: str
    kind: Kind
    summary: str
    file: Path


@dataclass(frozen=True)
class Composed:
    """A config as the launcher gets it, before interpolations.

    ``root`` is the config of verl that it stands on; ``groups`` are the choices that Hydra made, by group.
    """

    name: str
    kind: Kind
    config: Any
    root: str
    groups: dict[str, str]


def recipes() -> list[Recipe]:
    """All recipes of this package, by name. Raises ``SettingError`` where PyYAML, or a file of it, is missing."""
    found = []
    for file in sorted(FOLDER.glob("*.yaml")):
        kind: Kind = "RL" if "ppo" in verl_config(file) else "SFT"
        found.append(Recipe(file.stem, kind, _summary(file), file))
    for file in sorted((FOLDER / LLAMA_FACTORY).glob("*.yaml")):
        found.append(Recipe(f"{LLAMA_FACTORY}/{file.stem}", "LLaMA-Factory", _summary(file), file))
    return found


def verl_config(file: Path) -> str:
    """The name of verl's config that a recipe's first entry of ``defaults`` leads to."""
    yaml = _needed("yaml")
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            parent = FOLDER / f"{entry}.yaml"
            return verl_config(parent) if parent.exists() else entry
    raise SettingError("NAME", f"{file} names no config of verl in its defaults")


def find(name: str) -> Recipe | None:
    """The recipe of that name, or None."""
    return next((recipe for recipe in recipes() if recipe.name == name), None)


def compose(name: str, overrides: list[str]) -> Composed:
    """What ``--config-name name overrides…`` gives verl's launcher. ``name`` may be a config of verl's own.

    Raises ``SettingError`` with Hydra's reason when it cannot be composed, or when verl is not installed.
    """
    recipe = find(name)
    if recipe and recipe.kind == "LLaMA-Factory":
        raise SettingError("NAME", f"{name} is a file of LLaMA-Factory's, which verl does not read: {recipe.file}")
    config, groups = _hydra(name, overrides)
    kind: Kind = "RL" if "actor_rollout_ref" in config else "SFT"
    return Composed(name, kind, config, verl_config(recipe.file) if recipe else name, groups)


def differences(composed: Composed) -> dict[str, Any]:
    """Values that are not those of verl's own config with the same groups chosen, as written: before interpolations."""
    to_container = _needed("omegaconf").OmegaConf.to_container
    _, own = _hydra(composed.root, [])
    # A group that another one includes by a relative path follows that one, and cannot be chosen.
    free = [group for group in own if not group.startswith("hydra/") and ".." not in group]
    changed = [group for group in free if composed.groups.get(group, own[group]) != own[group]]
    chosen = [f"{group}={composed.groups[group]}" for group in changed]
    return _different(to_container(composed.config), to_container(_hydra(composed.root, chosen)[0]))


def _hydra(name: str, overrides: list[str]) -> tuple[Any, dict[str, str]]:
    """A config of the launcher's, and the chosen groups."""
    hydra, errors = _needed("hydra"), _needed("hydra.errors")
    omegaconf, config_errors = _needed("omegaconf"), _needed("omegaconf.errors")
    folder = _verl_folder() / "trainer" / "config"
    try:
        with hydra.initialize_config_dir(str(folder), version_base=None):
            config = hydra.compose(name, overrides=overrides, return_hydra_config=True)
    except (errors.HydraException, config_errors.OmegaConfBaseException, OSError, ValueError) as error:
        raise SettingError("NAME", f"{name} cannot be composed: {error}") from error
    groups = dict(config.hydra.runtime.choices)
    with omegaconf.open_dict(config):
        del config["hydra"]
    return config, groups


def _different(values: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in values.items():
        if key not in base:
            found[key] = value
        elif isinstance(value, dict) and isinstance(base[key], dict):
            if inner := _different(value, base[key]):
                found[key] = inner
        elif value != base[key]:
            found[key] = value
    return found


def _summary(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        first = next((line for line in lines if line.startswith("#")), "")
    return first.lstrip("# ").rstrip("\n :.")


def _verl_folder() -> Path:
    spec = find_spec("verl")
    if spec is None or spec.origin is None:
        raise SettingError("NAME", "recipes are composed with verl's own configs: pip install 'osvl-plugins[verl]'")
    return Path(spec.origin).parent


def _needed(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SettingError("NAME", f"recipes need {error.name}: pip install 'osvl-plugins[verl]'") from error
