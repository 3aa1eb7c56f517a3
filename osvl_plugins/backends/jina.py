"""Jina reader: pages as text, rendered by a browser on the service's side (https://jina.ai/reader)."""

from __future__ import annotations

import re

from pydantic import Field

from osvl_plugins.backends.guard import check_url
from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.remote import Answer, Text, ask, bearer
from osvl_plugins.backends.search import Reading
from osvl_plugins.errors import ToolError
from osvl_plugins.settings import Settings

PROVIDER = "jina"
_TARGET_STATUS = re.compile(r"Target URL returned error (\d{3})")


class JinaSettings(Settings):
    """The reader at r.jina.ai, or one's own."""

    url: str = Field(default="https://r.jina.ai", pattern=r"^https?://")
    """Address of the service; the page's address is appended to it."""
    key_env: str = "JINA_API_KEY"
    """Environment variable that holds the key; empty for a service that asks for none."""
    deadline_s: float = Field(default=20.0, gt=0)
    """Seconds for one page, waiting and retries included."""
    max_chars: int = Field(default=100_000, ge=1000)
    """Most characters of a page's text that are kept."""


class _Page(Answer):
    title: Text = ""
    url: Text = ""
    content: Text
    warning: Text = ""


class _Read(Answer):
    data: _Page

    def check(self) -> None:
        if status := _TARGET_STATUS.search(self.data.warning):
            raise _refused(int(status[1]))
        if not self.data.content.strip():
            raise ToolError("failed", f"{PROVIDER}: there is no readable text on the page")


class JinaPages:
    """Web pages by address."""

    name = PROVIDER

    def __init__(self, settings: JinaSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def read(self, url: str, goal: str) -> Reading:
        """Raises ``ToolError``: besides what the service's failures are, what ``check_url`` raises.

        A page that answered the service with an error status is an error here, too, not the text of its error page.
        """
        target = str(check_url(url.strip()))

        async def send() -> Response:
            return await self._http.call(
                PROVIDER,
                "GET",
                f"{self._settings.url.rstrip('/')}/{target}",
                headers={
                    "Accept": "application/json",
                    "X-Retain-Images": "none",
                    **bearer(PROVIDER, self._settings.key_env),
                },
                deadline_s=self._settings.deadline_s,
            )

        page = (await ask(self._recorder, PROVIDER, _Read, {"url": target}, send)).data
        return Reading(page.title, page.url or target, page.content[: self._settings.max_chars], target)


def _refused(status: int) -> ToolError:
    if status in (404, 410):
        return ToolError("not_found", f"{PROVIDER}: there is nothing at this address (status {status})")
    if status in (401, 403, 451):
        return ToolError("denied", f"{PROVIDER}: the site refuses access (status {status})")
    return ToolError("unavailable", f"{PROVIDER}: the site did not give the page (status {status})")
