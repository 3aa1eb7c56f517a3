"""The tool set of a run: each tool on the backend that the settings choose."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import Field

from osvl_plugins.backends import search
from osvl_plugins.backends.budget import Budgets
from osvl_plugins.backends.embedded import CorpusImages, CorpusPages, CorpusSnippets, CorpusText
from osvl_plugins.backends.layout import Reader
from osvl_plugins.backends.ocr import EmbeddedReader
from osvl_plugins.backends.pages import LocalPages
from osvl_plugins.backends.reading_search import GoalPages, ReadingSearch
from osvl_plugins.backends.services import Services, ServiceSettings
from osvl_plugins.backends.upscale import UpscaleSettings, build_upscaler
from osvl_plugins.backends.workers import ProcessWorkers, Workers, WorkerSettings
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import SettingError
from osvl_plugins.sandbox.runner import CodeRunner
from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings
from osvl_plugins.settings import Settings
from osvl_plugins.tools.base import Tool
from osvl_plugins.tools.crop import Crop
from osvl_plugins.tools.image_search import ImageSearch
from osvl_plugins.tools.layout_parsing import LayoutParsing
from osvl_plugins.tools.passages import SearchSettings
from osvl_plugins.tools.perspective_correct import PerspectiveCorrect
from osvl_plugins.tools.python_interpreter import PythonInterpreter
from osvl_plugins.tools.sharpen import Sharpen
from osvl_plugins.tools.super_resolution import SuperResolution
from osvl_plugins.tools.text_search import TextSearch
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.tools.visit import Visit
from osvl_plugins.tools.web_search import WebSearch

ToolName = Literal[
    "crop",
    "layout_parsing",
    "text_search",
    "image_search",
    "web_search",
    "visit",
    "perspective_correct",
    "super_resolution",
    "sharpen",
    "python_interpreter",
]
TOOLS: tuple[ToolName, ...] = get_args(ToolName)


class BackendSettings(Settings):
    """What each tool stands on. The defaults work offline; what the others need is in ``ServiceSettings``."""

    text_search: Literal["corpus", "serper", "searxng"] = "corpus"
    """A live search reads the pages that it finds, by ``pages``, and sums them up where ``summary.model`` is set."""
    web_search: Literal["corpus", "serper", "searxng"] = "corpus"
    image_search: Literal["corpus", "serper"] = "corpus"
    visit: Literal["corpus", "local", "web", "jina"] = "corpus"
    """local: files below ``local_folder``; web: the page itself, behind the guard against private addresses."""
    pages: Literal["web", "jina"] = "web"
    layout_parsing: Literal["rapidocr", "paddle"] = "rapidocr"
    python_interpreter: Literal["sandbox", "sandbox_fusion"] = "sandbox"
    local_folder: str = ""


class ToolSettings(Settings):
    """Which tools there are, what they stand on, and their bounds."""

    corpus: str = ""
    """Folder of the corpus that the offline search tools use (``osvl atlas build`` makes one)."""
    tools: tuple[ToolName, ...] = Field(default=TOOLS, min_length=1)
    backends: BackendSettings = BackendSettings()
    services: ServiceSettings = ServiceSettings()
    search: SearchSettings = SearchSettings()
    calls: CallSettings = CallSettings()
    upscale: UpscaleSettings = UpscaleSettings()
    sandbox: SandboxSettings = SandboxSettings()
    workers: WorkerSettings = WorkerSettings()


class Shared(NamedTuple):
    """What the tools of a process share with those of others; what is None, each process has of its own."""

    workers: Workers | None = None
    budgets: Budgets | None = None


class _Builder:
    """Makes what the named tools need, once, and nothing else: no corpus is opened for a crop."""

    def __init__(self, settings: ToolSettings, corpus: Corpus | Callable[[], Corpus], shared: Shared) -> None:
        self._settings = settings
        self._backends = settings.backends
        self._corpus_or_open = corpus
        self._shared = shared
        self._own_workers: ProcessWorkers | None = None

    def build(self, name: ToolName) -> Tool:
        search = self._settings.search
        makers: dict[ToolName, Callable[[], Tool]] = {
            "crop": Crop,
            "sharpen": Sharpen,
            "perspective_correct": PerspectiveCorrect,
            "text_search": lambda: TextSearch(self._text(), search),
            "web_search": lambda: WebSearch(self._web(), search),
            "image_search": lambda: ImageSearch(self._images(), search),
            "visit": lambda: Visit(self._pages(), search),
            "layout_parsing": lambda: LayoutParsing(self._reader()),
            "super_resolution": self._super_resolution,
            "python_interpreter": lambda: PythonInterpreter(self._runner()),
        }
        return makers[name]()

    async def aclose(self) -> None:
        """End what was started. What is shared stays its owner's."""
        if "services" in self.__dict__:
            await self.services.aclose()
        if "sandbox" in self.__dict__:
            await self.sandbox.aclose()
        if self._own_workers is not None:
            self._own_workers.close()

    @cached_property
    def corpus(self) -> Corpus:
        return self._corpus_or_open if isinstance(self._corpus_or_open, Corpus) else self._corpus_or_open()

    @cached_property
    def workers(self) -> Workers:
        if self._shared.workers is not None:
            return self._shared.workers
        self._own_workers = ProcessWorkers(self._settings.workers)
        return self._own_workers

    @cached_property
    def services(self) -> Services:
        return Services(self._settings.services, self.workers, self._shared.budgets)

    @cached_property
    def sandbox(self) -> Sandbox:
        return Sandbox(self._settings.sandbox)

    def _text(self) -> search.TextSearch:
        if self._backends.text_search == "corpus":
            return CorpusText(self.corpus, self._settings.search.lead)
        pages = self._reads(self._backends.pages, "text_search")
        summariser = self.services.summariser if self._settings.services.summary.model else None
        return ReadingSearch(self._live(self._backends.text_search), pages, summariser)

    def _reads(self, backend: Literal["web", "jina"], tool: ToolName) -> search.Pages:
        if backend == "jina":
            return self.services.jina
        _installed(tool, "trafilatura", "web")
        return self.services.web

    def _web(self) -> search.TextSearch:
        if self._backends.web_search == "corpus":
            return CorpusSnippets(self.corpus)
        return self._live(self._backends.web_search)

    def _live(self, name: Literal["serper", "searxng"]) -> search.TextSearch:
        return self.services.serper if name == "serper" else self.services.searxng

    def _images(self) -> search.ImageSearch:
        if self._backends.image_search == "corpus":
            return CorpusImages(self.corpus)
        if not self._settings.services.image_host.put_url:
            raise SettingError(
                "osvl.services.image_host.put_url", "must be set: Serper looks a picture up by a public address"
            )
        return self.services.lens

    def _pages(self) -> search.Pages:
        if self._backends.visit == "corpus":
            return CorpusPages(self.corpus)
        if self._backends.visit == "local":
            if not self._backends.local_folder:
                raise SettingError("osvl.backends.local_folder", "must be set for the tool visit with backend local")
            _installed("visit", "trafilatura", "web")
            return LocalPages(Path(self._backends.local_folder).expanduser(), self.services.extractor)
        pages = self._reads(self._backends.visit, "visit")
        return GoalPages(pages, self.services.summariser) if self._settings.services.summary.model else pages

    def _reader(self) -> Reader:
        if self._backends.layout_parsing == "paddle":
            return self.services.paddle
        _installed("layout_parsing", "rapidocr", "ocr")
        return EmbeddedReader(self.workers)

    def _runner(self) -> CodeRunner:
        return self.sandbox if self._backends.python_interpreter == "sandbox" else self.services.sandbox_fusion

    def _super_resolution(self) -> Tool:
        upscale = self._settings.upscale
        if upscale.backend == "waifu2x":
            _installed("super_resolution", "ncnn", "upscale")
        return SuperResolution(build_upscaler(upscale, self.workers), upscale.max_pixels)


def _installed(tool: ToolName, package: str, extra: str) -> None:
    # Said when a run starts: a tool that fails at every call would only make trajectories fatal.
    if find_spec(package) is None:
        raise SettingError(
            "osvl.tools", f"{tool} needs {package}: pip install 'osvl-plugins[{extra}]', or leave the tool out"
        )


def build_toolset(
    settings: ToolSettings, corpus: Corpus | Callable[[], Corpus], shared: Shared | None = None
) -> ToolSet:
    """The tool set that ``settings`` name; ``corpus`` may be a function that opens it when a tool needs it.

    Raises ``SettingError`` where a backend lacks a setting, and ``CorpusError`` when there is no corpus.
    """
    builder = _Builder(settings, corpus, shared or Shared())
    return ToolSet([builder.build(name) for name in settings.tools], settings.calls, builder.aclose)
