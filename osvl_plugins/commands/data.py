"""``osvl data``: make data from a corpus, import published data, and look at both."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from osvl_plugins.commands.options import Commands, add_command, add_group, corpus_option, positive, scale_option
from osvl_plugins.errors import OsvlError


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    group = add_group(commands, "data", "SFT trajectories and RL questions: make, import, measure, check, show")
    make = add_command(group, "make", _make, "make SFT trajectories and questions from a corpus")
    make.add_argument("--out", type=Path, required=True, help="folder for the parquet files")
    corpus_option(make)
    scale_option(make)
    kinds = add_group(group, "import", "bring published data into verl's format; run it again to go on after a stop")
    sft = add_command(kinds, "sft", _import_sft, "import Search-VL-SFT-36K or other ShareGPT rows")
    sft.add_argument(
        "--max-pixels", type=positive, default=262_144, help="most pixels of a picture (%(default)s)", metavar="N"
    )
    rl = add_command(kinds, "rl", _import_rl, "import Search-VL-RL-8K or other questions")
    rl.add_argument("--val", type=not_negative, default=256, help="rows to hold out (%(default)s)", metavar="N")
    for command in (sft, rl):
        command.add_argument("path", type=Path, help="folder of the download, or a JSON file of it", metavar="PATH")
        command.add_argument("--out", type=Path, required=True, help="folder for the files")
        command.add_argument(
            "--jobs", type=positive, default=min(16, os.cpu_count() or 1), help="processes (%(default)s)", metavar="N"
        )
    stats = add_command(group, "stats", _stats, "count rows, turns, calls, pictures and lengths by subset")
    validate = add_command(group, "validate", _validate, "check every row; the exit code is 1 if one is wrong")
    validate.add_argument("--limit", type=positive, default=20, help="most to print (%(default)s)", metavar="N")
    for command in (stats, validate):
        command.add_argument("paths", type=Path, nargs="+", help="parquet files, or folders of them", metavar="PATH")
    show = add_command(group, "show", _show, "print one row")
    show.add_argument("path", type=Path, help="parquet file, or folder of them", metavar="PATH")
    show.add_argument("--row", type=not_negative, default=0, help="which, counted from 0 (%(default)s)", metavar="N")
    show.add_argument("--images", type=Path, help="folder to write its pictures to", metavar="DIR")


def _make(args: argparse.Namespace) -> int:
    from osvl_plugins.demo import SCALES, make_data

    make_data(args.corpus, args.out, SCALES[args.scale], print)
    return 0


def _import_sft(args: argparse.Namespace) -> int:
    from osvl_plugins.data.sft import import_sft
    from osvl_plugins.images import ImageSettings
    from osvl_plugins.settings import read

    settings = read(ImageSettings, {"max_pixels": args.max_pixels}, "images")
    report = import_sft(args.path, args.out, settings, args.jobs, print)
    print(*report.lines(), f"in {args.out}; rejected rows in rejects.jsonl", sep="\n")
    return 0 if report.kept else 1


def _import_rl(args: argparse.Namespace) -> int:
    from osvl_plugins.data.rl import import_rl

    report = import_rl(args.path, args.out, args.val, args.jobs, print)
    print(*report.lines(), f"in {args.out}; rejected rows in rejects.jsonl", sep="\n")
    return 0 if report.kept else 1


def _stats(args: argparse.Namespace) -> int:
    from osvl_plugins.data.parquet import parquet_files, read_rows
    from osvl_plugins.data.stats import measure
    from osvl_plugins.terminal import printable

    for subset, stats in measure(read_rows(parquet_files(args.paths))).items():
        print(printable(f"{subset}: {stats.rows:,} rows; mean / median / 90 % / most of"))
        for line in stats.lines():
            print(f"  {printable(line)}")
    return 0


def _validate(args: argparse.Namespace) -> int:
    from osvl_plugins.data.parquet import parquet_files
    from osvl_plugins.data.validate import find_problems
    from osvl_plugins.images import ImageSettings
    from osvl_plugins.terminal import printable

    problems = find_problems(parquet_files(args.paths), ImageSettings())
    found = 0
    for found, problem in enumerate(problems, 1):
        if found <= args.limit:
            print(printable(problem))
    print(f"{found:,} problems" if found else "every row is sound")
    return 1 if found else 0


def _show(args: argparse.Namespace) -> int:
    from osvl_plugins.data.parquet import parquet_files, read_rows
    from osvl_plugins.data.show import show

    row = next(read_rows(parquet_files([args.path]), start=args.row), None)
    if row is None:
        raise OsvlError(f"{args.path}: has no row {args.row}")
    for line in show(row, args.images):
        print(line)
    return 0


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {value}")
    return value
