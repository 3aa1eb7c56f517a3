"""The page of ``osvl view``: how long it takes to build, and to open and search in a browser.

python benchmarks/viewer.py --trajectories 10000

Needs Chromium and Playwright (apt-get install chromium, pip install playwright). Texts are drawn from a vocabulary in
which, as in any language, a few words make up most of the text.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from osvl_plugins.trajectory import Observation, Span, StepError, ToolCall, Trajectory, Turn
from osvl_plugins.viewer.page import collect, write_page
from osvl_plugins.viewer.pictures import Album

WORDS = [f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ra", "te") for b in "bdfgklmnprst" for c in ("a", "en", "ir", "os")]
WEIGHTS = list(accumulate(1 / (n + 1) for n in range(len(WORDS))))
TYPED = ("k", "ka", "kab", "kaba", "kaba ", "kaba l", "kaba lo", "kaba lob", "kaba lobe", "kaba loben")
FIRST_ROW = """
  new MutationObserver((_, observer) => {
    if (document.querySelector(".row")) { window.firstRow = performance.now(); observer.disconnect(); }
  }).observe(document, { childList: true, subtree: true });
"""
TIMED = """([name, value]) => {
  const field = document.querySelector(`[name=${name}]`);
  const start = performance.now();
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector("#list").getBoundingClientRect();
  return performance.now() - start;
}"""


def text(rng: random.Random, chars: int) -> str:
    """About ``chars`` characters."""
    return " ".join(rng.choices(WORDS, cum_weights=WEIGHTS, k=max(1, chars // 6)))


def made(rng: random.Random, turns: int, chars: int) -> Trajectory:
    """A trajectory of searches and an answer; one in five calls fails."""
    trajectory = Trajectory(text(rng, 120), end="answer")
    for number in range(turns - 1):
        query = text(rng, 30)
        call = {"name": "text_search", "arguments": {"q": query}}
        written = f"<think>{text(rng, 300)}</think>\n<tool_call>\n{json.dumps(call)}\n</tool_call>"
        error = StepError("timeout", "no result") if rng.random() < 0.2 else None
        seen = Observation(text(rng, chars), error=error, pages=(query,), latency_s=rng.random(), backend="serper")
        span = Span(number * 500, number * 500 + 100)
        trajectory.turns.append(Turn(written, ToolCall("text_search", {"q": query}), observation=seen, span=span))
    answer = text(rng, 20)
    trajectory.turns.append(Turn(f"<think>so</think>\n<response>{answer}</response>", answer=answer))
    return trajectory


def write(path: Path, count: int, turns: int, chars: int) -> None:
    """A rollout dump of ``count`` trajectories."""
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as lines:
        for number in range(count):
            reward = {"score": rng.random(), "accuracy": float(rng.random() < 0.5)}
            row = {"step": number // 256, "uid": f"{number // 8}_{number % 8}_0", "gts": "x", "reward": reward}
            lines.write(json.dumps({**row, "trajectory": made(rng, turns, chars).to_dict()}) + "\n")


def browse(page_file: Path) -> dict[str, str]:
    """What a reader waits for."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--enable-precise-memory-info", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=arguments)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        page.add_init_script(FIRST_ROW)
        page.goto(page_file.as_uri())
        page.wait_for_selector(".row")
        first, parsed = page.evaluate(
            "[firstRow, performance.timing.domContentLoadedEventEnd - performance.timeOrigin]"
        )
        page.wait_for_selector(".turn")
        heap_open = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        filters = [page.evaluate(TIMED, [name, value]) for name, value in _choices(page)]
        start = time.perf_counter()
        page.focus("#search")
        page.wait_for_selector("#progress[hidden]", state="attached")
        texts = time.perf_counter() - start
        keys = [page.evaluate(TIMED, ["search", typed]) for _ in range(3) for typed in (*TYPED, "")]
        opened = page.evaluate(
            """async () => {
              const start = performance.now();
              const detail = document.querySelector("main");
              const drawn = new Promise(resolve => new MutationObserver(resolve).observe(detail, { childList: true }));
              const list = document.querySelector("#list");
              list.focus();
              list.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
              await drawn;
              return performance.now() - start;
            }"""
        )
        heap_searched = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        browser.close()
    return {
        "first list": f"{first:.0f} ms after navigation, page parsed after {parsed:.0f} ms",
        "a filter": f"median {statistics.median(filters):.1f} ms, slowest {max(filters):.1f} ms",
        "texts read for the first search": f"{1000 * texts:.0f} ms",
        "a keystroke in the search": f"median {statistics.median(keys):.1f} ms, slowest {max(keys):.1f} ms",
        "a trajectory opened far away": f"{opened:.0f} ms",
        "JavaScript memory": f"{heap_open:.0f} MB opened, {heap_searched:.0f} MB after searches",
    }


def _choices(page: Any) -> list[tuple[str, str]]:
    options: list[str] = page.eval_on_selector_all("select[name=group] option", "nodes => nodes.map(n => n.value)")
    fixed = [("fatal", "no"), ("outcome", "=right"), ("kind", "=timeout"), ("low", "0.5"), ("high", "0.6")]
    return [*(("group", value) for value in [*options[1:6], ""]), *fixed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--chars", type=int, default=1000, help="characters of an observation")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dump, out = Path(folder) / "1.jsonl", Path(folder) / "page.html"
        write(dump, options.trajectories, options.turns, options.chars)
        start = time.perf_counter()
        album = Album()
        write_page(collect([dump], album, "fatal_mask_clamp"), album, [dump], out)
        seconds = time.perf_counter() - start
        sizes = f"{dump.stat().st_size / 2**20:.0f} MB of JSON lines, {out.stat().st_size / 2**20:.1f} MB of page"
        print(f"built: {seconds:.1f} s, {options.trajectories} trajectories, {sizes}")
        for name, value in browse(out).items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
