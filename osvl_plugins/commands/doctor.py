"""``osvl doctor``: whether everything is here that a run needs."""

from __future__ import annotations

import argparse

from osvl_plugins.commands.options import Commands, add_command, corpus_option


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    corpus_option(add_command(commands, "doctor", _doctor, "check that everything is here that a run needs"))


def _doctor(args: argparse.Namespace) -> int:
    from rich.console import Console

    from osvl_plugins.doctor import examine, healthy, show

    console = Console()
    with console.status("starting one process of each kind"):
        sections = examine(args.corpus)
    show(sections, console)
    return 0 if healthy(sections) else 1
