"""``osvl eval``: a model answers a file of questions."""

from __future__ import annotations

import argparse
from pathlib import Path

from osvl_plugins.commands.options import Commands, add_command, corpus_option, positive, temperature


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(commands, "eval", _eval, "let a model answer a file of questions")
    command.add_argument("--model", type=Path, required=True, help="folder of the model")
    command.add_argument("--data", type=Path, required=True, help="questions in verl's RL format (parquet)")
    corpus_option(command)
    command.add_argument(
        "--wire", choices=("native", "sft", "rl", "infer"), default="native", help="wire profile (%(default)s)"
    )
    command.add_argument("--limit", type=positive, help="only the first N questions", metavar="N")
    command.add_argument("--temperature", type=temperature, default=0.0, help="0 is greedy (%(default)s)", metavar="T")
    command.add_argument("--out", type=Path, help="file for the trajectories")


def _eval(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from osvl_plugins.demo import tiny_agent
    from osvl_plugins.errors import OsvlError
    from osvl_plugins.evaluation.local import evaluate_model

    if not args.model.exists():
        raise OsvlError(f"{args.model}: there is no model")
    worlds = {"eval": tiny_agent(args.corpus).model_copy(update={"wire": args.wire})}
    reports = evaluate_model(args.model, args.data, worlds, args.out, args.temperature, args.limit)
    print(json.dumps(asdict(reports["eval"]), indent=2))
    return 0
