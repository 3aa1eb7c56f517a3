"""Serper: Google's results by text, and by picture through Google Lens (https://serper.dev)."""

from __future__ import annotations

from PIL import Image
from pydantic import Field, model_validator

from osvl_plugins.backends.guard import check_url
from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.image_host import ImageHost
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.recording_store import JSON
from osvl_plugins.backends.remote import Answer, Text, ask, secret
from osvl_plugins.backends.search import Hit, language_code
from osvl_plugins.settings import Settings

PROVIDER = "serper"


class SerperSettings(Settings):
    """Serper, or a proxy that speaks its protocol."""

    url: str = Field(default="https://google.serper.dev", pattern=r"^https?://")
    """Address of the service, without a path."""
    key_env: str = Field(default="SERPER_API_KEY", min_length=1)
    """Environment variable that holds the key."""
    deadline_s: float = Field(default=10.0, gt=0)
    """Seconds for one search, waiting and retries included."""


class _Result(Answer):
    title: Text = ""
    link: Text = ""
    snippet: Text = ""


class _AnswerBox(_Result):
    answer: Text = ""

    def hit(self) -> Hit:
        said = " ".join(part for part in (self.answer, self.snippet) if part)
        return Hit(self.title, self.link, said, self.link)


class _KnowledgeGraph(Answer):
    title: Text = ""
    type: Text = ""
    description: Text = ""
    descriptionLink: Text = ""
    website: Text = ""
    attributes: dict[str, Text] = Field(default_factory=dict)

    def hit(self) -> Hit:
        link = self.descriptionLink or self.website
        facts = "; ".join(f"{name}: {value}" for name, value in self.attributes.items() if value)
        said = ". ".join(part.rstrip(". ") for part in (self.type, self.description, facts) if part)
        return Hit(self.title, link, said, link)


class _Found(Answer):
    organic: list[_Result] | None = None
    answerBox: _AnswerBox | None = None
    knowledgeGraph: _KnowledgeGraph | None = None

    @model_validator(mode="after")
    def _is_a_result(self) -> _Found:
        if self.organic is None and self.answerBox is None and self.knowledgeGraph is None:
            raise ValueError("it holds no results")
        return self

    def hits(self, k: int) -> list[Hit]:
        """At most ``k``, what Google answers itself first; every address once, and none without one."""
        special = [each.hit() for each in (self.answerBox, self.knowledgeGraph) if each is not None]
        organic = [Hit(each.title, each.link, each.snippet, each.link) for each in self.organic or ()]
        unique: dict[str, Hit] = {}
        for hit in special + organic:
            if hit.url:
                unique.setdefault(hit.url, hit)
        return list(unique.values())[:k]


class _Serper:
    def __init__(self, settings: SerperSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def _ask(self, path: str, query: dict[str, JSON]) -> _Found:
        async def send() -> Response:
            return await self._http.call(
                PROVIDER,
                "POST",
                self._settings.url.rstrip("/") + path,
                headers={"X-API-KEY": secret(PROVIDER, self._settings.key_env)},
                json=query,
                deadline_s=self._settings.deadline_s,
            )

        return await ask(self._recorder, PROVIDER, _Found, {"path": path, **query}, send)


class SerperText(_Serper):
    """Web pages about a query; the text is Google's snippet."""

    name = PROVIDER

    async def search(self, query: str, language: str, k: int) -> list[Hit]:
        found = await self._ask("/search", {"q": query, "hl": language_code(language), "num": k})
        return found.hits(k)


class SerperLens(_Serper):
    """Web pages that show a picture. A picture without a public address is first put on ``host``."""

    name = "serper lens"

    def __init__(self, settings: SerperSettings, http: Http, recorder: Recorder, host: ImageHost) -> None:
        super().__init__(settings, http, recorder)
        self._host = host

    async def search(self, image: Image.Image, k: int) -> list[Hit]:
        return await self._lens(await self._host.publish(image), k)

    async def search_url(self, url: str, k: int) -> list[Hit]:
        """Raises ``ToolError`` for what is no address in the public internet (``guard.check_url``)."""
        return await self._lens(str(check_url(url)), k)

    async def _lens(self, url: str, k: int) -> list[Hit]:
        return (await self._ask("/lens", {"url": url})).hits(k)
