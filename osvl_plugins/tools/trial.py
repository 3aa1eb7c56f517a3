"""Every tool once, for real, with what should come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.page import Page
from osvl_plugins.errors import CorpusError, SettingError
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.build import TOOLS, ToolName
from osvl_plugins.trajectory import Observation, ToolCall

WORD = "LIGHTHOUSE"


class Trial(NamedTuple):
    """How a tool did: whether it worked, its first line, and the seconds it took.

    ``missing`` says what to install for a tool that could not be built; it then neither worked nor failed.
    """

    tool: str
    worked: bool
    said: str
    latency_s: float
    missing: str = ""


class _Case(NamedTuple):
    arguments: dict[str, object]
    right: Callable[[Observation], bool]


def try_tools(corpus: Corpus) -> list[Trial]:
    """One trial of each tool on its offline backend.

    Raises ``CorpusError`` when the corpus has no picture that is unlike all others, or its file is damaged.
    """
    page, position = _subject(corpus)
    pictures = [corpus.picture(page.id, position), _sign(), _slanted(_sign())]
    cases = _cases(page, pictures[0])

    async def run() -> list[Trial]:
        return [await _try(corpus, tool, cases[tool], pictures) for tool in TOOLS]

    return asyncio.run(run())


async def _try(corpus: Corpus, tool: ToolName, case: _Case, pictures: list[Image.Image]) -> Trial:
    try:
        tools = build_tools(AgentSettings(corpus=str(corpus.folder), tools=(tool,)), corpus)
    except SettingError as error:
        return Trial(tool, False, "", 0.0, str(error))
    store = ImageStore(ImageSettings())
    for picture in pictures:
        store.add(picture)
    try:
        found = await tools.run(ToolCall(tool, dict(case.arguments)), ToolContext(store))
    finally:
        await tools.aclose()
    worked = found.error is None and case.right(found)
    return Trial(tool, worked, " ".join(found.text.split())[:120], found.latency_s)


def _cases(page: Page, picture: Image.Image) -> dict[ToolName, _Case]:
    def shows(found: Observation) -> bool:
        return page.id in found.pages

    def draws(found: Observation) -> bool:
        return bool(found.image_ids)

    quarter = {"x": 0, "y": 0, "width": max(1, picture.width // 2), "height": max(1, picture.height // 2)}
    return {
        "crop": _Case({"image": "img_1", **quarter}, draws),
        "sharpen": _Case({"image": "img_1"}, draws),
        "image_search": _Case({"url": "img_1"}, shows),
        "text_search": _Case({"q": page.title}, shows),
        "web_search": _Case({"q": page.title}, shows),
        "visit": _Case({"url": page.url}, shows),
        "layout_parsing": _Case({"image": "img_2"}, lambda found: WORD in found.text),
        "super_resolution": _Case({"image": "img_2", "scale": 2}, draws),
        "perspective_correct": _Case({"image": "img_3"}, draws),
        "python_interpreter": _Case({"code": "6 * 7"}, lambda found: found.text == "42"),
    }


def _sign() -> Image.Image:
    sign = Image.new("RGB", (320, 96), "white")
    ImageDraw.Draw(sign).text((40, 28), WORD, "black", ImageFont.load_default(32))
    return sign


def _slanted(sign: Image.Image) -> Image.Image:
    """``sign`` on a dark ground, seen from the side."""
    wall = Image.new("RGB", (480, 320), (40, 60, 40))
    wall.paste(sign.resize((320, 200)), (80, 60))
    # Where each corner of the result comes from: upper left, lower left, lower right, upper right.
    corners = (-20, -30, 10, 350, 490, 320, 470, 20)
    return wall.transform(wall.size, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)


def _subject(corpus: Corpus) -> tuple[Page, int]:
    for page in corpus.pages.values():
        for position in range(len(page.pictures)):
            if (page.id, position) not in corpus.ambiguous_pictures:
                return page, position
    raise CorpusError(f"{corpus.folder}: every picture has a twin, so none tells whether image search works")
