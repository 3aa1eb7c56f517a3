"""SearXNG: a metasearch engine that anybody can run (https://docs.searxng.org/dev/search_api.html)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.remote import Answer, Text, ask, bearer
from osvl_plugins.backends.search import Hit, language_code
from osvl_plugins.errors import ToolError
from osvl_plugins.settings import Settings

PROVIDER = "searxng"


class SearxngSettings(Settings):
    """An instance of SearXNG. Its ``settings.yml`` must list ``json`` under ``search.formats``, or it answers 403."""

    url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Address of the instance, without ``/search``."""
    key_env: str = ""
    """Environment variable with a token that goes out as ``Authorization: Bearer``; empty where none is asked for."""
    deadline_s: float = Field(default=10.0, gt=0)
    """Seconds for one search, waiting and retries included."""


class _Result(Answer):
    title: Text = ""
    url: Text = ""
    content: Text = ""


class _Found(Answer):
    results: list[_Result]
    unresponsive_engines: list[Any] = Field(default_factory=list)

    def check(self) -> None:
        # Nothing found while engines did not answer says nothing about the query.
        if not self.results and self.unresponsive_engines:
            raise ToolError("unavailable", f"{PROVIDER}: {len(self.unresponsive_engines)} engines did not answer")


class SearxngText:
    """Web pages about a query; the text is the engines' snippet."""

    name = PROVIDER

    def __init__(self, settings: SearxngSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        parameters = {"q": query, "format": "json", "language": language_code(language)}

        async def send() -> Response:
            return await self._http.call(
                PROVIDER,
                "GET",
                self._settings.url.rstrip("/") + "/search",
                headers=bearer(PROVIDER, self._settings.key_env),
                params=parameters,
                deadline_s=self._settings.deadline_s,
            )

        found = await ask(self._recorder, PROVIDER, _Found, {**parameters}, send)
        return [Hit(each.title, each.url, each.content, each.url) for each in found.results if each.url][:k]
