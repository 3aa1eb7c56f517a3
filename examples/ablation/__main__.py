"""The ablation: ``python -m examples.ablation``, from the root of the repository. Run again, it goes on."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from examples.ablation.cells import ESTIMATORS, FAULTS, Cell, Grid
from examples.ablation.tables import write_results
from examples.ablation.train import Size, check_size, evaluate, run_cell, worlds
from osvl_plugins.demo import Scale, Stages, prepare
from osvl_plugins.errors import OsvlError
from osvl_plugins.fatal import MODES

SFT = Scale(sft_rows=2400, sft_steps=260, rl_steps=300, rl_prompts=16, questions=400)
"""The data of every cell, and its SFT; the numbers of RL are the cells' own."""
SFT_TRIES = 4
"""What SFT gives is compared with all cells."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.ablation", description=__doc__)
    grid, size = Grid(), Size()
    parser.add_argument("--out", type=Path, default=Path("outputs/ablation"), help="(%(default)s)")
    parser.add_argument("--corpus", type=Path, default=Path(".cache/atlas"), help="(%(default)s)")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=grid.modes)
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=grid.estimators)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=grid.faults)
    parser.add_argument("--k", nargs="+", type=int, default=grid.ks)
    parser.add_argument("--at", nargs="+", choices=("first", "last"), default=grid.ats)
    parser.add_argument("--on-fatal", nargs="+", choices=("stop", "continue"), default=grid.on_fatals)
    parser.add_argument("--reliability", nargs="+", choices=("none", "weight", "drop"), default=grid.reliabilities)
    parser.add_argument("--seeds", type=int, default=grid.seeds, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=size.steps, help="of RL (%(default)s)")
    parser.add_argument("--prompts", type=int, default=size.prompts, help="of a step (%(default)s)")
    parser.add_argument("--lr", type=float, default=size.lr, help="(%(default)s)")
    parser.add_argument("--questions", type=int, default=size.questions, help="of every evaluation (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side (%(default)s)")
    parser.add_argument("--threads", type=int, default=size.threads, help="of torch in each (%(default)s)")
    parser.add_argument("--report", action="store_true", help="only write the tables and plots of what is done")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done, then write the results of all that is."""
    args = _arguments(argv)
    console = Console(highlight=False, soft_wrap=True)
    out = args.out.resolve()
    grid = Grid(
        args.estimators, args.modes, args.faults, args.k, args.at, args.on_fatal, args.reliability, args.seeds
    )  # fmt: skip
    size = Size(steps=args.steps, prompts=args.prompts, lr=args.lr, questions=args.questions, threads=args.threads)
    try:
        failed = 0 if args.report else _run(grid.cells(), size, out, args.corpus, args.jobs, console)
        print(write_results(out).read_text(encoding="utf-8"))
    except OsvlError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ablation: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 1 if failed else 0


def _run(cells: Sequence[Cell], size: Size, out: Path, corpus: Path, jobs: int, console: Console) -> int:
    """Everything that is not done; gives how many cells failed. One that failed does not end the others."""
    check_size(out, size)
    signal.signal(signal.SIGTERM, _terminated)
    home, stop = out / "home", threading.Event()
    started = time.monotonic()
    sft = prepare(Stages(home, console), home, corpus.resolve(), Path(".cache/sources").resolve(), SFT, console)
    often = replace(size, tries=SFT_TRIES)
    evaluate(sft, worlds(FAULTS["none"]), out / "sft" / "none", home, often, stop)
    for name in dict.fromkeys(cell.faults for cell in cells if cell.faults != "none"):
        evaluate(sft, {"faulty": FAULTS[name]}, out / "sft" / name, home, often, stop)
    lock, failures = threading.Lock(), []

    def say(message: str) -> None:
        with lock:
            console.print(f"{(time.monotonic() - started) / 60:5.1f} min  {message}")

    def one(cell: Cell) -> None:
        try:
            run_cell(cell, size, out, home, say, stop)
        except OsvlError as error:
            failures.append(cell)
            say(f"{cell.name}: {'stopped' if stop.is_set() else f'failed: {error}'}")

    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(one, cell) for cell in cells]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return len(failures)


def _terminated(signum: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
