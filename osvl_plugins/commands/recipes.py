"""``osvl recipes``: the recipes, what they compose to, and whether one can run here."""

from __future__ import annotations

import argparse
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from osvl_plugins.commands.options import Commands, add_command, add_group, positive


def add(commands: Commands) -> None:
    """Put the commands into the parser."""
    group = add_group(commands, "recipes", "the recipes, and whether one can run here")
    add_command(group, "list", _list, "what recipes there are")
    shown = add_command(group, "show", _show, "print what a recipe composes to, as verl's launcher does with --cfg job")
    _recipe(shown)
    shown.add_argument("--diff", action="store_true", help="only what differs from verl's own config")
    shown.add_argument("--path", action="store_true", help="the file's path, and nothing else")
    checked = add_command(
        group, "check", _check, "look for what would keep a recipe from running, and estimate its memory"
    )
    _recipe(checked)
    checked.add_argument("--gpus", type=positive, metavar="N", help="how many there are (as many as the recipe says)")
    checked.add_argument(
        "--gpu-memory", type=_gigabytes, metavar="GB", help="of each (that of the first CUDA device here, else 80)"
    )
    checked.add_argument("--live", action="store_true", help="ask the live services that the settings use, once each")


def _recipe(command: argparse.ArgumentParser) -> None:
    command.usage = "%(prog)s NAME [OVERRIDE ...] [options]"
    command.add_argument("name", metavar="NAME", help="a recipe, or a config of verl's own")
    command.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as verl's launcher takes them: data.seed=2")


def _gigabytes(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value <= 0:
        raise argparse.ArgumentTypeError(f"must be more than 0, got {text}")
    return value


@contextmanager
def _quiet() -> Iterator[None]:
    # verl and its engines speak of themselves when they are imported; what matters is said by the findings.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _list(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from osvl_plugins.preflight.recipes import recipes

    found = recipes()
    # A name is there to be copied: it is never cut or broken.
    name = Column("name", no_wrap=True, min_width=max(len(recipe.name) for recipe in found))
    table = Table(name, "kind", "what it is")
    for recipe in found:
        table.add_row(recipe.name, recipe.kind, escape(recipe.summary))
    Console().print(table)
    return 0


def _show(args: argparse.Namespace) -> int:
    from osvl_plugins.errors import SettingError
    from osvl_plugins.preflight.recipes import compose, differences, find

    recipe = find(args.name)
    if args.path or (recipe and recipe.kind == "LLaMA-Factory"):
        if recipe is None:
            raise SettingError("NAME", f"{args.name} is no recipe of this package: osvl recipes list")
        print(recipe.file if args.path else recipe.file.read_text(encoding="utf-8"), end="\n" if args.path else "")
        return 0
    from omegaconf import OmegaConf

    composed = compose(args.name, args.overrides)
    config = differences(composed) if args.diff else composed.config
    print(OmegaConf.to_yaml(config))
    return 0


def _check(args: argparse.Namespace) -> int:
    from rich.console import Console

    from osvl_plugins.preflight.check import check_recipe
    from osvl_plugins.preflight.finding import fails, show

    console = Console()
    with console.status("composing and looking"), _quiet():
        from osvl_plugins.verl.own_checks import own_checks

        sections = check_recipe(args.name, args.overrides, own_checks, args.gpus, args.gpu_memory, args.live)
    show(sections, console)
    return 1 if fails(sections) else 0
