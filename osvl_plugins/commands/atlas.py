"""``osvl atlas``: the embedded corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from osvl_plugins.commands.options import CORPUS, SOURCES, Commands, add_command, add_group


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    group = add_group(commands, "atlas", "the embedded corpus")
    build = add_command(group, "build", _build, "download its sources and build it; a complete one is left as it is")
    build.add_argument("--out", type=Path, default=CORPUS, help="folder of the corpus (%(default)s)")
    build.add_argument("--cache", type=Path, default=SOURCES, help="folder of the downloads (%(default)s)")


def _build(args: argparse.Namespace) -> int:
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
