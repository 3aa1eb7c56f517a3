"""The ``osvl`` command.

A subcommand imports what it needs when it runs, so that ``osvl --help`` answers at once and works without verl.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from osvl_plugins import __version__
from osvl_plugins.errors import OsvlError

CORPUS = Path(".cache/atlas")
SOURCES = Path(".cache/sources")
SCALES = ("smoke", "demo", "long")


def main(argv: list[str] | None = None) -> int:
    """Run the command line ``argv``; gives the exit code.

    0: done; 1: ``doctor`` found something broken; 2: it could not be done, the reason is on stderr.
    """
    args = parser().parse_args(argv)
    # As an exception, so that a training process that was started is ended too.
    signal.signal(signal.SIGTERM, _terminated)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        return command(args)
    except OsvlError as error:
        print(f"osvl: {error}", file=sys.stderr)
        return 2


def _terminated(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def parser() -> argparse.ArgumentParser:
    """What the command line may say. ``command`` of the result is the function to call with it."""
    top = argparse.ArgumentParser(prog="osvl", description="Train multimodal search agents with stock verl.")
    top.add_argument("--version", action="version", version=f"osvl-plugins {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    atlas = commands.add_parser("atlas", help="the embedded corpus").add_subparsers(required=True, metavar="COMMAND")
    build = _add(atlas, "build", _atlas_build, "download its sources and build it; a complete one is left as it is")
    build.add_argument("--out", type=Path, default=CORPUS, help="folder of the corpus (%(default)s)")
    build.add_argument("--cache", type=Path, default=SOURCES, help="folder of the downloads (%(default)s)")

    doctor = _add(commands, "doctor", _doctor, "check that everything is here that a run needs")
    _corpus(doctor)

    tiny = _add(commands, "tiny-model", _tiny_model, "build the tiny model that the demo trains")
    tiny.add_argument("--out", type=Path, required=True, help="folder for the model")
    _corpus(tiny)

    data = _add(commands, "data", _data, "make SFT trajectories and questions from a corpus")
    data.add_argument("--out", type=Path, required=True, help="folder for the parquet files")
    _corpus(data)
    _scale(data)

    evaluate = _add(commands, "eval", _eval, "let a model answer a file of questions")
    evaluate.add_argument("--model", type=Path, required=True, help="folder of the model")
    evaluate.add_argument("--data", type=Path, required=True, help="questions in verl's RL format (parquet)")
    _corpus(evaluate)
    evaluate.add_argument("--limit", type=_positive, help="only the first N questions", metavar="N")
    evaluate.add_argument(
        "--temperature", type=_temperature, default=0.0, help="0 is greedy (%(default)s)", metavar="T"
    )
    evaluate.add_argument("--out", type=Path, help="file for the trajectories")

    demo = _add(commands, "demo", _demo, "the whole recipe on this machine: corpus, data, SFT, RL, evaluation")
    demo.add_argument("--out", type=Path, default=Path("outputs/demo"), help="folder for the results (%(default)s)")
    demo.add_argument("--cache", type=Path, default=SOURCES, help="folder of the downloads (%(default)s)")
    _corpus(demo)
    _scale(demo)
    return top


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Callable[[argparse.Namespace], int],
    help: str,
) -> argparse.ArgumentParser:
    added = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    added.set_defaults(command=command)
    return added


def _corpus(command: argparse.ArgumentParser) -> None:
    command.add_argument("--corpus", type=Path, default=CORPUS, help="folder of the corpus (%(default)s)")


def _scale(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scale", choices=SCALES, default=SCALES[0], help="how much of it (%(default)s)")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _temperature(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text}")
    return value


def _atlas_build(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from osvl_plugins.corpus.build import build_atlas

    console = Console()
    with console.status("building") as status:

        def progress(message: str) -> None:
            console.print(escape(message), highlight=False)
            status.update(escape(message))

        report = build_atlas(args.out, args.cache, progress)
    table = Table(title=f"{args.out}", show_header=False, title_justify="left")
    for name, count in (("pages", report.pages), ("pictures", report.pictures), ("linked facts", report.linked_facts)):
        table.add_row(name, str(count))
    for source, version in report.sources.items():
        table.add_row(source, escape(version))
    for source, reason in report.missing.items():
        table.add_row(source, f"[yellow]missing: {escape(reason)}[/]")
    console.print(table)
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from rich.console import Console

    from osvl_plugins.doctor import examine, healthy, show

    console = Console()
    with console.status("starting one process of each kind"):
        sections = examine(args.corpus)
    show(sections, console)
    return 0 if healthy(sections) else 1


def _tiny_model(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import command_tiny_model

    return command_tiny_model(args)


def _data(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import command_data

    return command_data(args)


def _eval(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import command_eval

    return command_eval(args)


def _demo(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import command_demo

    return command_demo(args)
