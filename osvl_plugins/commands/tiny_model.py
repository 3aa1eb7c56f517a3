"""``osvl tiny-model``: the model that the demo trains."""

from __future__ import annotations

import argparse
from pathlib import Path

from osvl_plugins.commands.options import Commands, add_command, corpus_option


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(commands, "tiny-model", _tiny_model, "build the tiny model that the demo trains")
    command.add_argument("--out", type=Path, required=True, help="folder for the model")
    corpus_option(command)


def _tiny_model(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import make_tiny_model

    print(f"{make_tiny_model(args.corpus, args.out):,} parameters in {args.out}")
    return 0
