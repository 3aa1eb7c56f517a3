"""``osvl eval``: a model answers benchmarks, and what that says."""

from __future__ import annotations

import argparse
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvl_plugins.commands.model import chosen_policies, model_options
from osvl_plugins.commands.options import Commands, add_command, add_group, positive
from osvl_plugins.commands.tools import agent_options, agent_settings

if TYPE_CHECKING:
    from rich.console import Console

    from osvl_plugins.agent import AgentSettings
    from osvl_plugins.evaluation.document import Table
    from osvl_plugins.evaluation.ledger import Ledger
    from osvl_plugins.evaluation.manifest import RunManifest
    from osvl_plugins.evaluation.modes import Play
    from osvl_plugins.evaluation.question import BadRow, Question
    from osvl_plugins.evaluation.record import CaseRecord
    from osvl_plugins.evaluation.report import RunReport
    from osvl_plugins.inference.policies import Policies

OUT = Path("outputs/eval")
COMPARED = Path("outputs/compare")
MODES = ("direct", "rag", "agent")
"""``osvl_plugins.evaluation.modes.MODES``, which a parser cannot import: it would load pydantic."""
DEADLINE_S = 3600.0


def add(commands: Commands) -> None:
    """Put the commands into the parser."""
    group = add_group(commands, "eval", "let a model answer benchmarks; osvl eval BENCH is osvl eval run BENCH", "run")
    run = add_command(group, "run", _run, "let a model answer benchmarks; run again, it goes on where it was")
    run.add_argument(
        "benchmarks", nargs="+", metavar="BENCH",
        help="NAME=PATH of a known benchmark, or a file of questions of your own (docs/benchmarks.md)",
    )  # fmt: skip
    model_options(run)
    run.add_argument(
        "--mode", choices=MODES, default="agent",
        help="no tools, one search for each picture and the question beforehand, or all tools (%(default)s)",
    )  # fmt: skip
    run.add_argument("--samples", type=positive, default=1, help="answers to each question (%(default)s)", metavar="K")
    run.add_argument("--limit", type=positive, help="only the first N questions of each benchmark", metavar="N")
    run.add_argument("--seed", type=int, default=0, help="of injected faults (%(default)s)", metavar="S")
    run.add_argument("--in-flight", type=positive, default=64, help="cases at a time (%(default)s)", metavar="N")
    run.add_argument(
        "--deadline", type=positive, default=DEADLINE_S, help="seconds for a case (%(default)g)", metavar="S"
    )
    run.add_argument("--retry-errors", action="store_true", help="run the cases again that ended with an error")
    run.add_argument("--out", type=Path, help=f"folder of the run ({OUT}/MODEL-MODE)", metavar="DIR")
    agent_options(run)
    report = add_command(group, "report", _report, "write a run's report anew")
    report.add_argument("folder", type=Path, metavar="DIR", help="folder of the run")
    compare = add_command(group, "compare", _compare, "compare two runs, question by question")
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help="folder of a run")
    compare.add_argument("--out", type=Path, default=COMPARED, metavar="DIR", help="folder of the report (%(default)s)")


def _run(args: argparse.Namespace) -> int:
    import asyncio
    import sys

    from rich.console import Console

    from osvl_plugins.errors import OsvlError
    from osvl_plugins.evaluation.ledger import Ledger
    from osvl_plugins.evaluation.modes import Play, build_mode_tools
    from osvl_plugins.evaluation.report import write_report

    if args.model_path is not None and not args.model_path.is_dir():
        raise OsvlError(f"{args.model_path}: there is no folder with a checkpoint")
    agent = agent_settings(args)
    policies = chosen_policies(args, agent)
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    folder = args.out or OUT / _slug(f"{args.model or Path(args.model_path).name}-{args.mode}")
    signals: list[int] = []
    ledger = Ledger(folder, _manifest(args, agent), lambda message: console.print(f"osvl: {message}"))
    try:
        agent = _dated(agent, ledger.manifest)
        play = Play(build_mode_tools(args.mode, agent), agent, args.mode, system=args.system)
        asyncio.run(_until_signal(_cases(args, policies, play, ledger, console), signals))
    except (asyncio.CancelledError, OsvlError) as error:
        goes_on = f"{len(ledger.kept)} cases are kept; the same command goes on with the others{_again(ledger)}"
        if isinstance(error, OsvlError):
            raise OsvlError(f"{error}\n{goes_on}") from error
        print(f"osvl: interrupted; {goes_on}", file=sys.stderr)
        return 128 + signals[0]
    finally:
        ledger.close()
    return _said(write_report(folder), folder)


async def _until_signal(work: Coroutine[Any, Any, None], signals: list[int]) -> None:
    """Await ``work``; SIGINT and SIGTERM cancel it, and stand in ``signals``."""
    import asyncio
    import signal

    running = asyncio.ensure_future(work)

    def end(number: int) -> None:
        signals.append(number)
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    await running


def _again(ledger: Ledger) -> str:
    """What may be done about the cases with an error, if there are any."""
    errors = sum(kept.fault is not None for kept in ledger.kept.values())
    return f"; --retry-errors runs the {errors} with an error again" if errors else ""


async def _cases(
    args: argparse.Namespace,
    policies: AbstractAsyncContextManager[Policies],
    play: Play,
    ledger: Ledger,
    console: Console,
) -> None:
    from osvl_plugins.evaluation.case import Patience
    from osvl_plugins.evaluation.progress import CaseProgress
    from osvl_plugins.evaluation.run import run_cases

    before = ledger.kept.values()
    right, errors = sum(kept.correct for kept in before), sum(kept.fault is not None for kept in before)

    def keep(record: CaseRecord) -> None:
        again = record.key in ledger.kept
        ledger.keep(record)
        progress.kept(record, again)

    try:
        async with policies as policy:
            with CaseProgress(console, ledger.manifest.cases, len(before), right, errors) as progress:
                await run_cases(
                    _questions(args),
                    play,
                    lambda: policy(lambda piece: None),
                    keep,
                    samples=args.samples,
                    seed=args.seed,
                    in_flight=args.in_flight,
                    patience=Patience(deadline_s=args.deadline),
                    done=ledger.done(args.retry_errors),
                )
    finally:
        await play.tools.aclose()


def _questions(args: argparse.Namespace) -> Iterator[Question | BadRow]:
    from itertools import islice

    from osvl_plugins.evaluation.benchmarks import read

    for argument in args.benchmarks:
        yield from islice(read(argument), args.limit)


def _manifest(args: argparse.Namespace, agent: AgentSettings) -> RunManifest:
    from osvl_plugins import __version__
    from osvl_plugins.errors import OsvlError
    from osvl_plugins.evaluation.benchmarks import count, find
    from osvl_plugins.evaluation.manifest import BenchmarkFiles, RunManifest, corpus_fingerprint, state_of
    from osvl_plugins.wire import today

    benchmarks: dict[str, BenchmarkFiles] = {}
    cases: int | None = 0
    for argument in args.benchmarks:
        source = find(argument)
        name = source.benchmark.name
        if name in benchmarks:
            raise OsvlError(f"{argument}: there is another benchmark called {name}; rename the file")
        questions = count(argument)
        benchmarks[name] = BenchmarkFiles.of([part.file for part in source.parts], questions)
        if cases is not None:
            cases = None if questions is None else cases + args.samples * min(questions, args.limit or questions)
    local = args.model_path
    return RunManifest(
        model=args.model if local is None else str(local),
        checkpoint="" if local is None else state_of(file for file in local.iterdir() if file.is_file()),
        server=args.server or "",
        tools=args.tools,
        system=args.system,
        mode=args.mode,
        temperature=args.temperature,
        samples=args.samples,
        seed=args.seed,
        limit=args.limit,
        benchmarks=benchmarks,
        corpus=corpus_fingerprint(args.mode, agent),
        osvl=agent.model_dump(mode="json"),
        package=__version__,
        started=today().isoformat(),
        cases=cases,
    )


def _dated(agent: AgentSettings, manifest: RunManifest) -> AgentSettings:
    """``agent`` on the day on which the run started, if its settings name none."""
    import datetime

    if agent.date is not None:
        return agent
    return agent.model_copy(update={"date": datetime.date.fromisoformat(manifest.started)})


def _slug(name: str) -> str:
    import re

    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "model"


def _report(args: argparse.Namespace) -> int:
    from osvl_plugins.evaluation.report import write_report

    return _said(write_report(args.folder), args.folder)


def _compare(args: argparse.Namespace) -> int:
    from osvl_plugins.evaluation.compare import write_comparison
    from osvl_plugins.evaluation.compare_document import difference_table

    _print(difference_table(write_comparison(args.a, args.b, args.out)))
    print(f"{args.out / 'compare.html'}, .md and .json")
    return 0


def _said(report: RunReport, folder: Path) -> int:
    """Say what a run came to; gives the exit code."""
    import sys

    from osvl_plugins.evaluation.report_document import accuracy_table, report_document

    _print(accuracy_table(report))
    for warning in report_document(report).warnings:
        print(f"osvl: {warning}", file=sys.stderr)
    print(f"{folder / 'report.html'}, .md and .json")
    is_whole = report.planned is None or report.total.cases >= report.planned
    return 0 if is_whole and report.total.judged == report.total.cases else 1


def _print(table: Table) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as Shown

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    shown = Shown(title=escape(table.title), title_justify="left")
    places = [place for place, column in enumerate(table.columns) if column.kind != "plot"]
    for place in places:
        column = table.columns[place]
        shown.add_column(escape(column.title), justify="left" if column.kind == "words" else "right")
    for row in table.rows:
        shown.add_row(*(escape(str(row[place])) for place in places))
    console.print(shown)
    if table.note:
        console.print(escape(table.note))
