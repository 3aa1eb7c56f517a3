"""What the tool set adds to a call: validation, the deadline, a thread where the work blocks, the record.

    python benchmarks/dispatch.py ATLAS [--calls 2000]

Each operation is run bare in this thread and as a tool call on the event loop, alternating; the difference of the
medians is the overhead. ``nothing`` is a tool that returns at once.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from osvl_plugins.backends.embedded import CorpusPages, CorpusText
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.crop import Crop
from osvl_plugins.tools.passages import SearchSettings
from osvl_plugins.tools.sharpen import Sharpen, unsharp_mask
from osvl_plugins.tools.text_search import TextSearch
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.tools.visit import Visit
from osvl_plugins.trajectory import ToolCall

LIMIT_MS = 0.5


class Nothing:
    """A tool that does nothing."""

    name: ClassVar[str] = "nothing"
    description: ClassVar[str] = "Nothing."
    arguments: ClassVar[type[Arguments]] = Arguments
    backend = "none"

    async def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """At once."""
        return ToolResult()


async def measure(corpus: Corpus, calls: int) -> list[tuple[str, float, float]]:
    """Operation, milliseconds bare, milliseconds as a call."""
    settings = SearchSettings()
    tools = ToolSet(
        [Nothing(), Crop(), Sharpen(), TextSearch(CorpusText(corpus), settings), Visit(CorpusPages(corpus), settings)],
        CallSettings(),
    )
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)
    image = Image.fromarray(noise)
    pairs: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
        ("nothing", lambda: None, {}),
        ("crop", lambda: image.crop((0, 0, 256, 256)), {"image": "img_1", "x": 0, "y": 0, "width": 256, "height": 256}),
        ("sharpen", lambda: unsharp_mask(image, 1.5), {"image": "img_1"}),
        ("text_search", lambda: corpus.search_text("capital of Mexico", 5), {"q": "capital of Mexico"}),
        ("visit", lambda: corpus.page("mexico"), {"url": "mexico"}),
    ]
    rows = []
    for name, bare, arguments in pairs:
        alone, called = [], []
        for _ in range(calls):
            store = ImageStore(ImageSettings())
            store.add(image)
            start = time.perf_counter()
            bare()
            middle = time.perf_counter()
            await tools.run(ToolCall(name, arguments), ToolContext(store))
            alone.append((middle - start) * 1000)
            called.append((time.perf_counter() - middle) * 1000)
        rows.append((name, statistics.median(alone), statistics.median(called)))
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Overhead of a tool call.")
    parser.add_argument("atlas", help="folder of a built corpus")
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    table = Table("operation", "bare ms", "call ms", "overhead ms", "of the limit", title=f"limit {LIMIT_MS} ms a call")
    for name, bare, call in asyncio.run(measure(Corpus.open(options.atlas), options.calls)):
        table.add_row(name, f"{bare:.3f}", f"{call:.3f}", f"{call - bare:.3f}", f"{(call - bare) / LIMIT_MS:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
