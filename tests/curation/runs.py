"""Small runs of the pipeline: in this process, or as a command of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation import pipeline
from osvl_plugins.curation.folder import LOCK, STATISTICS
from osvl_plugins.curation.settings import CurateSettings
from osvl_plugins.curation.shard import Job

SMALL = {"preset": "small", "draws": 60, "shards": 3}


def job(folder: Path, graph: Path, atlas: Corpus, **settings: Any) -> Job:
    return Job(folder, graph, atlas.folder, CurateSettings.model_validate({**SMALL, **settings}))


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Have shards worked on in this process, one after the other."""

    def over_shards(
        function: Callable[[dict[str, Any]], str], items: Sequence[dict[str, Any]], parallel: int
    ) -> Iterator[str]:
        return map(function, items)

    patch.setattr(pipeline, "over_shards", over_shards)
    patch.setattr(pipeline, "session", lambda parallel, address: nullcontext())


def digests(folder: Path) -> dict[str, str]:
    """Every file of a run that equal runs share, by its name."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name not in (STATISTICS, LOCK))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def command(folder: Path, graph: Path, atlas: Corpus, parallel: int) -> subprocess.Popen[bytes]:
    """``osvl curate run`` with the settings ``SMALL``, started."""
    words = ["curate", "run", folder, "--graph", graph, "--corpus", atlas.folder, "--parallel", parallel]
    pairs = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    code = "import sys; from osvl_plugins.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words), *pairs],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
