"""Probes of the live services that a configuration uses: do they answer, how often, and how fast."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osvl_plugins.backends.budget import Budgets
from osvl_plugins.backends.recorder import RecordingSettings
from osvl_plugins.backends.search import Reading
from osvl_plugins.backends.services import Services
from osvl_plugins.backends.workers import ProcessWorkers
from osvl_plugins.errors import OsvlError, ToolError
from osvl_plugins.tools.build import ToolSettings

QUERY = "height of the Eiffel Tower"
PAGE = "https://example.com/"
PICTURE = "https://www.python.org/static/community_logos/python-logo.png"

Ask = Callable[[], Awaitable[object]]


class Probe(NamedTuple):
    """How a service answered ``asked`` calls, one after the other.

    ``median_s`` and ``slowest_s`` are of those that worked; ``said`` counts the errors, or shows the first answer.
    """

    service: str
    worked: int
    asked: int
    median_s: float
    slowest_s: float
    said: str


async def probe(settings: ToolSettings, times: int, budgets: Budgets | None = None) -> list[Probe]:
    """Ask each live service that ``settings`` use ``times`` times; nothing is recorded or replayed.

    A service that is not fully configured is a probe that failed.
    """
    live = settings.services.model_copy(update={"recording": RecordingSettings()})
    workers = ProcessWorkers(settings.workers)
    services = Services(live, workers, budgets)
    try:
        return [await _probe(name, ask, times) for name, ask in _probes(settings, services).items()]
    finally:
        await services.aclose()
        workers.close()


def _probes(settings: ToolSettings, services: Services) -> dict[str, Ask]:
    """What to ask of each service that a tool stands on. The services are made when they are asked."""
    backends, named = settings.backends, set(settings.tools)
    used = {(tool, getattr(backends, tool)) for tool in named if hasattr(backends, tool)}
    reads = ("text_search", "serper") in used or ("text_search", "searxng") in used
    pages = {backend for tool, backend in used if tool == "visit"} | ({backends.pages} if reads else set())
    asks: dict[str, Ask] = {}
    searches = {backend for tool, backend in used if tool in ("text_search", "web_search")}
    if "serper" in searches:
        asks["serper"] = lambda: services.serper.search(QUERY, "en", 3)
    if "searxng" in searches:
        asks["searxng"] = lambda: services.searxng.search(QUERY, "en", 3)
    if ("image_search", "serper") in used:
        asks["serper lens"] = lambda: services.lens.search_url(PICTURE, 3)
        if settings.services.image_host.put_url:
            asks["image host"] = lambda: services.image_host.publish(_page())
    if "web" in pages:
        asks["web"] = lambda: services.web.read(PAGE, "")
    if "jina" in pages:
        asks["jina"] = lambda: services.jina.read(PAGE, "")
    if settings.services.summary.model:
        page = Reading("Example Domain", PAGE, "This domain is for use in documentation examples.")
        asks["summary"] = lambda: services.summariser.summarise("what the domain is for", page)
    if ("layout_parsing", "paddle") in used:
        asks["paddle"] = lambda: services.paddle.read(_page(), False, False)
    if ("python_interpreter", "sandbox_fusion") in used:
        asks["sandbox_fusion"] = lambda: services.sandbox_fusion.run("print(6 * 7)")
    return asks


async def _probe(name: str, ask: Ask, times: int) -> Probe:
    seconds: list[float] = []
    errors: Counter[str] = Counter()
    answer = ""
    for _ in range(times):
        started = time.monotonic()
        try:
            got = await ask()
        except ToolError as error:
            errors[f"{error.kind}: {error}"] += 1
        except OsvlError as error:
            return Probe(name, 0, 0, 0.0, 0.0, str(error))
        else:
            seconds.append(time.monotonic() - started)
            answer = answer or " ".join(str(got).split())
    said = "; ".join(f"{count} x {error}" for error, count in errors.most_common(3)) or answer
    median = statistics.median(seconds) if seconds else 0.0
    return Probe(name, len(seconds), times, median, max(seconds, default=0.0), said[:300])


def _page() -> Image.Image:
    page = Image.new("RGB", (320, 80), "white")
    ImageDraw.Draw(page).text((20, 20), "osvl probe 42", "black", ImageFont.load_default(32))
    return page


def probe_all(settings: ToolSettings, times: int) -> list[Probe]:
    """``probe`` for callers without an event loop."""
    return asyncio.run(probe(settings, times))


def show_probes(probes: list[Probe], console: Console) -> bool:
    """Print them; True when every call worked."""
    if not probes:
        console.print("no tool stands on a live service; osvl.backends names them (see docs/settings.md)")
        return True
    table = Table("service", "worked", "median", "slowest", "said")
    for each in probes:
        good = each.worked == each.asked > 0
        times = (f"{1000 * each.median_s:.0f} ms", f"{1000 * each.slowest_s:.0f} ms") if each.worked else ("", "")
        share = f"{each.worked} of {each.asked}" if each.asked else "not set up"
        table.add_row(each.service, f"[{'green' if good else 'red'}]{share}[/]", *times, escape(each.said))
    console.print(table)
    return all(each.worked == each.asked > 0 for each in probes)
