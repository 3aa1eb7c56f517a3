"""The offline data pipeline on the embedded corpus: seconds of the stages, what they keep, what shortcuts are left.

    python benchmarks/curation.py .cache/atlas [--draws 20000] [--parallel 2] [--questions 400]

Everything is made anew in a temporary folder, the graph included; the shortcuts are measured on the first questions.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.folder import RunFolder
from osvl_plugins.curation.graph.build import build_atlas_graph
from osvl_plugins.curation.pipeline import run
from osvl_plugins.curation.settings import CurateSettings
from osvl_plugins.curation.shard import Job
from osvl_plugins.curation.shortcuts import measure

LIMIT_S = 600


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The offline data pipeline on the embedded corpus.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--questions", type=int, default=400, help="questions on which shortcuts are measured")
    options = parser.parse_args()
    console = Console()
    corpus = Corpus.open(options.corpus)
    settings = CurateSettings.model_validate({"preset": "small", "draws": options.draws})
    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        graph, out = Path(folder) / "graph", Path(folder) / "out"
        start = time.perf_counter()
        build_atlas_graph(corpus, graph)
        built = time.perf_counter()
        outcome = run(Job(out, graph, options.corpus.resolve(), settings), options.parallel)
        done = time.perf_counter()
        table = Table("stage", "in", "kept", "rejected", "seconds of work", title=f"{options.draws:,} draws")
        for stage, count in outcome.counts.items():
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in count.rejected.items())
            table.add_row(stage, f"{count.given:,}", f"{count.kept:,}", reasons, f"{outcome.seconds[stage]:.1f}")
        console.print(table)
        verdict = "within" if done - start <= LIMIT_S else "over"
        console.print(
            f"graph {built - start:.1f} s, run with {options.parallel} workers {done - built:.1f} s with Ray's start "
            f"(limit {LIMIT_S} s: {verdict})"
        )
        start = time.perf_counter()
        found = measure(RunFolder(out), corpus, options.questions)
        console.print(found.to_markdown(), markup=False, soft_wrap=True)
        console.print(f"shortcuts: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
