"""``osvl demo``: the whole recipe on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from osvl_plugins.commands.options import SOURCES, Commands, add_command, corpus_option, scale_option


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(
        commands, "demo", _demo, "the whole recipe on this machine: corpus, data, SFT, RL, evaluation"
    )
    command.add_argument("--out", type=Path, default=Path("outputs/demo"), help="folder for the results (%(default)s)")
    command.add_argument("--cache", type=Path, default=SOURCES, help="folder of the downloads (%(default)s)")
    corpus_option(command)
    scale_option(command)


def _demo(args: argparse.Namespace) -> int:
    from rich.console import Console

    from osvl_plugins.demo import SCALES, run_demo

    run_demo(args.out, args.corpus, args.cache, SCALES[args.scale], Console())
    return 0
