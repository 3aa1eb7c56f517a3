"""What the plugin adds to ``import verl``: fresh processes with and without it, in turns.

python benchmarks/import_cost.py --runs 15
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

TIMED = "import time; start = time.perf_counter(); import verl; print(time.perf_counter() - start)"
VARIANTS = {"without the plugin": "none", "with the plugin": "osvl"}


def import_seconds(plugins: str) -> float:
    """Seconds of ``import verl`` in a fresh process that loads these of its plugins."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED],
        env={**os.environ, "VERL_USE_EXTERNAL_PLUGINS": plugins},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for run in range(runs + 1):
        for name, plugins in VARIANTS.items():
            took = import_seconds(plugins)
            if run:  # the first round fills the file cache
                seconds[name].append(took)
    for name, values in seconds.items():
        print(f"import verl {name}: median {statistics.median(values):.3f} s, fastest {min(values):.3f} s")
    without, with_plugin = seconds.values()
    pairs = [b - a for a, b in zip(without, with_plugin, strict=True)]
    print(f"difference: {1000 * (statistics.median(with_plugin) - statistics.median(without)):.0f} ms of the medians, "
          f"{1000 * statistics.median(pairs):.0f} ms median of pairs")  # fmt: skip


if __name__ == "__main__":
    main()
