"""``osvl data``: SFT trajectories and questions from a corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from osvl_plugins.commands.options import Commands, add_command, corpus_option, scale_option


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(commands, "data", _data, "make SFT trajectories and questions from a corpus")
    command.add_argument("--out", type=Path, required=True, help="folder for the parquet files")
    corpus_option(command)
    scale_option(command)


def _data(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import SCALES, make_data

    make_data(args.corpus, args.out, SCALES[args.scale], print)
    return 0
