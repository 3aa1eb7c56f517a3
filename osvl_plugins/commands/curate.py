"""``osvl curate``: questions and trajectories from a wiki."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvl_plugins.commands.options import CORPUS, Commands, add_command, add_group, corpus_option, positive
from osvl_plugins.commands.tools import config_group, pair, put_setting

if TYPE_CHECKING:
    from osvl_plugins.curation.graph.files import Manifest
    from osvl_plugins.curation.pipeline import Outcome
    from osvl_plugins.curation.settings import CurateSettings

ATLAS = "atlas"
REPORT = "shortcuts"
PAGE = "preview.html"


def add(commands: Commands) -> None:
    """Put the commands into the parser."""
    group = add_group(commands, "curate", "questions and trajectories from a wiki")
    graph = add_command(group, "graph", _graph, "build the graph of a wiki")
    graph.add_argument(
        "source", nargs="+", metavar="SOURCE",
        help="the files of a pages-articles dump (.xml, .xml.bz2), a ZIM archive, or a folder with an embedded corpus",
    )  # fmt: skip
    graph.add_argument("out", type=Path, metavar="OUT", help="folder for the graph; one that is there is replaced")
    graph.add_argument("--images", type=Path, metavar="DIR", help="pictures of a dump, under their names")
    graph.add_argument(
        "--image-table", type=Path, action="append", default=[], metavar="FILE",
        help="table image (.sql.gz) of the dump's wiki or of Commons, which know how large pictures are",
    )  # fmt: skip
    graph.add_argument("--parallel", type=positive, default=2, metavar="N", help="processes (%(default)s)")
    run = add_command(group, "run", _run, "bring a run as far as it goes; what is there is not made again")
    run.add_argument("out", type=Path, metavar="OUT", help="folder of the run")
    run.add_argument("--graph", type=Path, required=True, metavar="DIR", help="folder of the graph")
    run.add_argument(
        "--corpus", type=Path, metavar="DIR", help=f"embedded corpus behind the graph ({CORPUS} for the graph of one)"
    )
    run.add_argument("--config", type=Path, metavar="FILE", help="a YAML file with the group curate")
    run.add_argument(
        "--set", type=pair, action="append", default=[], metavar="KEY=VALUE",
        help="another setting of the group curate, such as paths.retries=5",
    )  # fmt: skip
    run.add_argument(
        "--parallel", type=positive, default=os.cpu_count() or 1, metavar="N", help="shards at a time (%(default)s)"
    )
    run.add_argument("--address", default="", help="a Ray cluster; its machines need OUT, the graph and the corpus")
    report = add_command(group, "report", _report, "how many questions are solved by shortcuts")
    report.add_argument("out", type=Path, metavar="OUT", help="folder of the run; the report is written there")
    corpus_option(report)
    report.add_argument("--limit", type=positive, metavar="N", help="only the first N questions")
    preview = add_command(group, "preview", _preview, "a page with some questions, for a person to judge")
    preview.add_argument("run", type=Path, metavar="OUT", help="folder of the run")
    preview.add_argument("--out", type=Path, metavar="FILE", help=f"the page (OUT/{PAGE})")
    preview.add_argument("--count", type=positive, default=40, metavar="N", help="questions (%(default)s)")
    preview.add_argument("--seed", type=int, default=0, metavar="N", help="chooses them (%(default)s)")


def curate_settings(config: Path | None, pairs: list[tuple[str, str]]) -> CurateSettings:
    """The settings of ``--config`` and ``--set``. Raises ``SettingError``."""
    from osvl_plugins.curation.settings import GROUP, CurateSettings
    from osvl_plugins.settings import read

    values: dict[str, Any] = config_group(config, GROUP) if config else {}
    for key, text in pairs:
        put_setting(values, key, text, GROUP)
    return read(CurateSettings, values, GROUP)


def _graph(args: argparse.Namespace) -> int:
    with _line() as show:
        manifest = _built(args, show)
    print(
        f"{args.out}: {manifest.nodes:,} pages, {manifest.edges:,} links, {manifest.facts:,} labelled edges, "
        f"fingerprint {manifest.fingerprint[:12]}"
    )
    for what, found in (("left out", manifest.rejects), ("dropped", manifest.dropped)):
        if found:
            print(f"{what}: " + ", ".join(f"{reason} {count:,}" for reason, count in sorted(found.items())))
    return 0


def _built(args: argparse.Namespace, show: Callable[[str], None]) -> Manifest:
    from osvl_plugins.corpus.corpus import Corpus
    from osvl_plugins.curation.graph.build import Extras, build_atlas_graph, build_dump, build_zim
    from osvl_plugins.errors import OsvlError

    sources = list(map(Path, args.source))
    dump = not sources[0].is_dir() and sources[0].suffix != ".zim"
    if not dump and (len(sources) > 1 or args.images or args.image_table):
        raise OsvlError(
            "a corpus or an archive is one SOURCE and has its pictures; --images and --image-table do not fit"
        )
    if sources[0].is_dir():
        return build_atlas_graph(Corpus.open(sources[0]), args.out)
    if sources[0].suffix == ".zim":
        return build_zim(sources[0], args.out, args.parallel, progress=show)
    extras = Extras(image_tables=tuple(args.image_table), images=args.images)
    return build_dump(sources, args.out, extras, args.parallel, progress=show)


def _run(args: argparse.Namespace) -> int:
    from osvl_plugins.curation.graph.files import Manifest
    from osvl_plugins.curation.pipeline import run
    from osvl_plugins.curation.shard import Job

    settings = curate_settings(args.config, args.set)
    corpus = args.corpus or (CORPUS if Manifest.read(args.graph).origin.name == ATLAS else None)
    job = Job(args.out, args.graph.resolve(), corpus.resolve() if corpus else None, settings)
    try:
        with _line() as show:
            outcome = run(job, args.parallel, args.address, show)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here")
        return 130
    _print(outcome)
    return 1 if outcome.failures else 0


def _print(outcome: Outcome) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table

    from osvl_plugins.curation.folder import EXPORT
    from osvl_plugins.terminal import printable

    table = Table("stage", "in", "kept", "rejected", "seconds of work")
    for column in table.columns[1:3]:
        column.justify = "right"
    for stage, count in outcome.counts.items():
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in count.rejected.items())
        table.add_row(stage, f"{count.given:,}", f"{count.kept:,}", reasons, f"{outcome.seconds.get(stage, 0):.1f}")
    if EXPORT in outcome.seconds:
        table.add_row(EXPORT, "", "", "", f"{outcome.seconds[EXPORT]:.1f}")
    Console().print(table)
    for failure in outcome.failures:
        row = f", row {failure.row}" if failure.row else ""
        print(printable(f"{failure.stage}, shard {failure.shard}{row}: {failure.error}"), file=sys.stderr)
    if outcome.failures:
        print(printable(outcome.failures[0].trace), file=sys.stderr)
        print("what is done is kept; the same command tries the rest again", file=sys.stderr)


def _report(args: argparse.Namespace) -> int:
    from osvl_plugins.corpus.corpus import Corpus
    from osvl_plugins.curation.folder import RunFolder
    from osvl_plugins.curation.shortcuts import measure

    folder = RunFolder(args.out)
    with _line() as show:
        found = measure(folder, Corpus.open(args.corpus), args.limit, show)
    text = found.to_markdown()
    (args.out / f"{REPORT}.md").write_text(text, encoding="utf-8")
    (args.out / f"{REPORT}.json").write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    print(text, end="")
    return 0


def _preview(args: argparse.Namespace) -> int:
    from osvl_plugins.curation.folder import RunFolder
    from osvl_plugins.curation.preview import write

    out = args.out or args.run / PAGE
    write(RunFolder(args.run), out, args.count, args.seed)
    print(out)
    return 0


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """A line on stderr that shows how far it is; where that is no terminal, nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda message: None
        return
    with console.status("") as status:
        yield lambda message: status.update(message)
