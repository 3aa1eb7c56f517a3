"""``osvl doctor``: whether everything is here that a run needs, and whether its live services answer."""

from __future__ import annotations

import argparse

from osvl_plugins.commands.options import Commands, add_command, positive
from osvl_plugins.commands.tools import agent_options, agent_settings


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(commands, "doctor", _doctor, "check that everything is here that a run needs")
    command.add_argument(
        "--live", action="store_true", help="ask the live services that the settings use, and nothing else"
    )
    command.add_argument("--times", type=positive, default=3, help="how often to ask each (%(default)s)", metavar="N")
    agent_options(command)


def _doctor(args: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console()
    if args.live:
        from osvl_plugins.live import probe_all, show_probes

        with console.status("asking"):
            probes = probe_all(agent_settings(args), args.times)
        return 0 if show_probes(probes, console) else 1

    from osvl_plugins.doctor import examine, healthy, show

    with console.status("starting one process of each kind"):
        sections = examine(args.corpus)
    show(sections, console)
    return 0 if healthy(sections) else 1
