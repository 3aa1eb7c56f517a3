"""All live services of a process, over one HTTP client and one recorder."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from osvl_plugins.backends.budget import Budgets, BudgetSettings, FileBudgets
from osvl_plugins.backends.http import Http, HttpSettings
from osvl_plugins.backends.image_host import ImageHost, ImageHostSettings
from osvl_plugins.backends.jina import JinaPages, JinaSettings
from osvl_plugins.backends.paddle import PaddleReader, PaddleSettings
from osvl_plugins.backends.pages import Extractor, WebPages, WebSettings
from osvl_plugins.backends.recorder import Recorder, RecordingSettings
from osvl_plugins.backends.sandbox_fusion import SandboxFusion, SandboxFusionSettings
from osvl_plugins.backends.searxng import SearxngSettings, SearxngText
from osvl_plugins.backends.serper import SerperLens, SerperSettings, SerperText
from osvl_plugins.backends.summary import Summariser, SummarySettings
from osvl_plugins.backends.workers import Workers
from osvl_plugins.errors import SettingError
from osvl_plugins.settings import Settings

Provider = Literal[
    "serper", "searxng", "jina", "web", "summary", "image_host", "paddle", "sandbox_fusion", "judge", "policy"
]  # fmt: skip


class ServiceSettings(Settings):
    """The live services, and how they are asked. Keys come from environment variables; a config only names them."""

    serper: SerperSettings = SerperSettings()
    searxng: SearxngSettings = SearxngSettings()
    jina: JinaSettings = JinaSettings()
    web: WebSettings = WebSettings()
    summary: SummarySettings = SummarySettings()
    image_host: ImageHostSettings = ImageHostSettings()
    paddle: PaddleSettings = PaddleSettings()
    sandbox_fusion: SandboxFusionSettings = SandboxFusionSettings()
    http: HttpSettings = HttpSettings()
    budgets: dict[Provider, BudgetSettings] = Field(default_factory=dict)
    """Limits of each provider."""
    budget_folder: str = ""
    """Local folder by which the processes of a node share the budgets; empty: one of this user's in the system's
    temporary folder."""
    recording: RecordingSettings = RecordingSettings()


class Services:
    """Builds what is asked for, once, over one ``Http`` and one ``Recorder``; usable from every event loop.

    A service raises ``SettingError`` when it is first asked for and lacks an address or a key that it needs.
    """

    def __init__(self, settings: ServiceSettings, workers: Workers, budgets: Budgets | None = None) -> None:
        """``workers`` runs what finds the text of a page, and stays its owner's to close.

        Without ``budgets``, those of the settings hold for this node.

        Raises ``OsvlError`` when the folder of the budgets or of the recordings cannot be used.
        """
        self.settings = settings
        self._workers = workers
        self.http = Http(settings.http, budgets or node_budgets(settings))
        self.recorder = Recorder(settings.recording)

    async def aclose(self) -> None:
        """Close the running event loop's connections; every loop that used the services awaits it before it ends."""
        await self.http.aclose()

    @cached_property
    def serper(self) -> SerperText:
        """Text search by Serper."""
        self._key("serper", self.settings.serper.key_env)
        return SerperText(self.settings.serper, self.http, self.recorder)

    @cached_property
    def lens(self) -> SerperLens:
        """Image search by Serper."""
        self._key("serper", self.settings.serper.key_env)
        return SerperLens(self.settings.serper, self.http, self.recorder, self.image_host)

    @cached_property
    def image_host(self) -> ImageHost:
        """Public addresses for pictures."""
        self._key("image_host", self.settings.image_host.key_env)
        return ImageHost(self.settings.image_host, self.http, self.recorder)

    @cached_property
    def searxng(self) -> SearxngText:
        """Text search by SearXNG."""
        _needed("searxng.url", self.settings.searxng.url)
        self._key("searxng", self.settings.searxng.key_env)
        return SearxngText(self.settings.searxng, self.http, self.recorder)

    @cached_property
    def jina(self) -> JinaPages:
        """Pages by Jina reader."""
        self._key("jina", self.settings.jina.key_env)
        return JinaPages(self.settings.jina, self.http, self.recorder)

    @cached_property
    def extractor(self) -> Extractor:
        """What finds the text of a page."""
        return Extractor(self.settings.web, self._workers)

    @cached_property
    def web(self) -> WebPages:
        """Pages read directly."""
        return WebPages(self.http, self.recorder, self.extractor)

    @cached_property
    def summariser(self) -> Summariser:
        """Summaries by a language model."""
        _needed("summary.url", self.settings.summary.url)
        _needed("summary.model", self.settings.summary.model)
        self._key("summary", self.settings.summary.key_env)
        return Summariser(self.settings.summary, self.http, self.recorder)

    @cached_property
    def paddle(self) -> PaddleReader:
        """OCR and layout by PP-StructureV3."""
        _needed("paddle.url", self.settings.paddle.url)
        self._key("paddle", self.settings.paddle.key_env)
        return PaddleReader(self.settings.paddle, self.http, self.recorder)

    @cached_property
    def sandbox_fusion(self) -> SandboxFusion:
        """Python by SandboxFusion."""
        _needed("sandbox_fusion.url", self.settings.sandbox_fusion.url)
        self._key("sandbox_fusion", self.settings.sandbox_fusion.key_env)
        return SandboxFusion(self.settings.sandbox_fusion, self.http, self.recorder)

    def _key(self, service: str, variable: str) -> None:
        # Said when a run starts. Recordings may answer everything, and then need no key.
        asks = self.settings.recording.mode in ("live", "record")
        if asks and variable and not os.environ.get(variable):
            raise SettingError(
                f"osvl.services.{service}.key_env", f"names {variable}, which is not set in this process's environment"
            )


def node_budgets(settings: ServiceSettings) -> Budgets:
    """The budgets of ``settings`` over all processes of this machine. Raises ``OsvlError`` as ``FileBudgets``."""
    default = Path(tempfile.gettempdir()) / f"osvl-budgets-{os.getuid()}"
    folder = Path(settings.budget_folder).expanduser() if settings.budget_folder else default
    return FileBudgets(folder, {str(name): budget for name, budget in settings.budgets.items()})


def _needed(name: str, value: str) -> None:
    if not value:
        raise SettingError(f"osvl.services.{name}", "must be set to use this service")
