"""A real browser, which no test may leave with an error or a request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.viewer.screens import DESK, NEEDED, Opener

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for a module: Playwright's event loop runs as long, and async tests need their own."""
    playwright = pytest.importorskip("playwright.sync_api", reason=NEEDED)
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(NEEDED)
    with playwright.sync_playwright() as started:
        # Chromium's own sandbox does not work for root.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        running = started.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Opener]:
    """Opens a file, at an address in it; at the end of the test nothing may have gone wrong or out."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened(file: Path, address: str = "", viewport: dict[str, int] = DESK, **options: Any) -> Any:
        context = browser.new_context(viewport=viewport, **options)
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri() + address)
        page.wait_for_selector("#count:not(:text('loading'))", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:image/webp;"))] == []
