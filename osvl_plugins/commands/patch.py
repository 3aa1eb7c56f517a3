"""``osvl patch``: the patches of verl that its legacy trainers need."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from osvl_plugins.commands.options import Commands, add_command, add_group

if TYPE_CHECKING:
    from osvl_plugins.patches.patch import Patch, Report


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    group = add_group(commands, "patch", "patches of verl for its legacy trainers; the default trainer needs none")
    ls = add_command(group, "list", _list, "show every patch, what it is for and whether it is applied")
    check = add_command(group, "check", _check, "look at the patches; the exit code is 1 if one is not applied")
    apply = add_command(group, "apply", _apply, "apply the patches; refuses any file that is not verl's own")
    revert = add_command(group, "revert", _revert, "take the patches back, byte by byte")
    for command in (check, apply, revert):
        command.add_argument("name", nargs="?", help="only this patch", metavar="NAME")
    for command in (ls, check, apply, revert):
        command.add_argument(
            "--verl", type=Path, help="folder of the package verl (the one that this Python imports)", metavar="FOLDER"
        )


def _list(args: argparse.Namespace) -> int:
    from osvl_plugins.patches.patch import examine

    for patch, root in _selected(args):
        report = examine(patch, root)
        _say(patch, report)
        print(f"  verl {patch.version}: {patch.why}")
        for file in patch.files:
            print(f"  {root / file.path}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from osvl_plugins.patches.patch import examine

    states = []
    for patch, root in _selected(args):
        report = examine(patch, root)
        _say(patch, report)
        states.append(report.state)
    return 0 if all(state == "applied" for state in states) else 1


def _apply(args: argparse.Namespace) -> int:
    from osvl_plugins.patches.patch import apply

    for patch, root in _selected(args):
        print(f"{patch.name}: {'applied' if apply(patch, root) else 'was applied already'}")
    return 0


def _revert(args: argparse.Namespace) -> int:
    from osvl_plugins.patches.patch import revert

    for patch, root in _selected(args):
        print(f"{patch.name}: {'reverted' if revert(patch, root) else 'was not applied'}")
    return 0


def _selected(args: argparse.Namespace) -> list[tuple[Patch, Path]]:
    from osvl_plugins.patches.catalog import chosen
    from osvl_plugins.patches.patch import installed_verl

    root = args.verl if args.verl is not None else installed_verl()
    return [(patch, root) for patch in chosen(vars(args).get("name"))]


def _say(patch: Patch, report: Report) -> None:
    print(f"{patch.name}: {report.state}{f': {report.problem}' if report.problem else ''}")
