"""``osvl cache``: look into a folder of recorded answers, and carry it elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from osvl_plugins.commands.options import Commands, add_command, add_group
from osvl_plugins.errors import OsvlError

if TYPE_CHECKING:
    from osvl_plugins.backends.recording_store import Entry, Store
    from osvl_plugins.errors import RecordingError


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    group = add_group(commands, "cache", "recorded answers of live services")
    ls = add_command(group, "ls", _ls, "list the recordings, oldest first")
    ls.add_argument("--provider", help="only calls of this provider", metavar="NAME")
    stat = add_command(
        group, "stat", _stat, "count the recordings and check each; the exit code is 1 if one is damaged"
    )
    export = add_command(group, "export", _export, "pack all recordings into one .tar.gz; equal content, equal bytes")
    export.add_argument("file", type=Path, help="file to write", metavar="FILE")
    adding = add_command(group, "import", _import, "add the recordings of an exported file, all of them or none")
    adding.add_argument("file", type=Path, help="file that was exported", metavar="FILE")
    for command in (ls, stat, export, adding):
        command.add_argument("--folder", type=Path, required=True, help="folder of the recordings")


def _ls(args: argparse.Namespace) -> int:
    store = _store(args.folder)
    found: list[tuple[str, ...]] = []
    damaged: list[str] = []
    for entry in _entries(store):
        if isinstance(entry, OsvlError):
            damaged.append(str(entry))
        elif args.provider in (None, entry.call.provider):
            answer = entry.failure or f"{len(entry.body):,} bytes"
            found.append((entry.time, entry.call.provider, answer, entry.call.request()))
    _print_table(("time", "provider", "answer", "request"), sorted(found), right=())
    _print_damaged(damaged)
    return 0


def _stat(args: argparse.Namespace) -> int:
    from collections import Counter

    store = _store(args.folder)
    results: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    size: Counter[str] = Counter()
    damaged: list[str] = []
    for entry in _entries(store):
        if isinstance(entry, OsvlError):
            damaged.append(str(entry))
            continue
        (failures if entry.failure else results)[entry.call.provider] += 1
        size[entry.call.provider] += len(entry.body)
    rows = [
        (name, f"{results[name]:,}", f"{failures[name]:,}", f"{size[name]:,}") for name in sorted(results | failures)
    ]
    rows.append(("all", f"{results.total():,}", f"{failures.total():,}", f"{size.total():,}"))
    _print_table(("provider", "results", "failures", "bytes"), rows, right=("results", "failures", "bytes"))
    if unfinished := store.unfinished():
        print(f"{unfinished} unfinished files in {store.folder / 'unfinished'}: remove them when no run is writing")
    _print_damaged(damaged)
    return 1 if damaged else 0


def _export(args: argparse.Namespace) -> int:
    from osvl_plugins.backends.recording_archive import export_archive

    count = export_archive(_store(args.folder), args.file)
    print(f"{count:,} recordings in {args.file}, {args.file.stat().st_size:,} bytes")
    return 0


def _import(args: argparse.Namespace) -> int:
    from osvl_plugins.backends.recording_archive import import_archive
    from osvl_plugins.backends.recording_store import Store

    done = import_archive(Store(args.folder), args.file)
    print(f"{done.added:,} recordings added to {args.folder}, {done.known:,} were there")
    return 0


def _store(folder: Path) -> Store:
    from osvl_plugins.backends.recording_store import Store

    if not folder.is_dir():
        raise OsvlError(f"{folder}: there is no such folder; name the one of the recording settings")
    return Store(folder)


def _entries(store: Store) -> Iterator[Entry | RecordingError]:
    from osvl_plugins.errors import RecordingError

    for name in store.names():
        try:
            entry = store.load(name)
        except RecordingError as error:
            yield error
            continue
        if entry is not None:  # else it was removed meanwhile
            yield entry


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str]) -> None:
    """A table for a person; for a pipe a header and lines of fields between tabs, nothing cut off."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        for row in (columns, *rows):
            print(*row, sep="\t")
        return
    table = Table()
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _print_damaged(messages: Sequence[str]) -> None:
    for message in messages:
        print(message, file=sys.stderr)
