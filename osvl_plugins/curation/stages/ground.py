"""The fourth stage, source-anchor grounding: a picture of the anchor stands for its name.

The picture is of the page that the path starts from, never of the answer page, and must be proven to show it: by an
image-text model, or where there is none by the corpus's image search, which must find that page and no other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

from PIL import Image
from pydantic import Field

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.credits import SOURCES_FILE
from osvl_plugins.corpus.page import Page, Picture
from osvl_plugins.curation.candidate import Candidate, Reject, StageContext, StageResult
from osvl_plugins.curation.certify import Certifier, certifier
from osvl_plugins.curation.descriptions import Route, make_plan, wording_seed
from osvl_plugins.curation.exposures import finds
from osvl_plugins.curation.forms import Form
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.protocol import for_each
from osvl_plugins.curation.leaks import plain_title
from osvl_plugins.curation.similarity import open_similarity
from osvl_plugins.curation.wording import Refusal, Rules, checked, last_sentence, sorted_out
from osvl_plugins.errors import CorpusError, SettingError
from osvl_plugins.settings import Settings

STAGE = "ground"
VIEW = "plain"
JPEG_QUALITY = 92


class GroundSettings(Settings):
    """Which picture may stand for a page."""

    similarity_model: str = ""
    """Folder of a CLIP or SigLIP model in transformers' layout; empty: the corpus's image search decides."""
    min_similarity: float = Field(default=0.28, ge=-1, le=1)
    """Least cosine of the picture and the title (arXiv 2605.05185, section 3). It was set for CLIP; SigLIP's cosines
    are lower."""
    max_side: int = Field(default=1024, ge=64)
    """Longest side in pixels of a question's picture; a larger one is scaled down."""


class Doubt(NamedTuple):
    """Why a picture does not stand for a page: reason and detail of a ``Reject``."""

    reason: str
    detail: str


class _Shown(NamedTuple):
    picture: Picture
    data: bytes


def run(rows: list[Candidate], context: StageContext[GroundSettings]) -> StageResult:
    """Rows with a picture in place of the anchor's name.

    Reasons of rejects: ``no_picture`` (none, or its file cannot be read), ``ambiguous_picture`` (another page has
    nearly the same), ``not_identified`` (image search does not find the page by it), ``dissimilar`` (below
    ``min_similarity``), and those of ``osvl_plugins.curation.wording.checked``.

    Raises ``SettingError`` when nothing can prove what a picture shows, ``CorpusError`` when a row is of another graph.
    """
    if not context.settings.similarity_model and context.corpus is None:
        raise SettingError("similarity_model", "must be set for a graph that is not the embedded corpus's")
    return sorted_out(for_each(context.language, partial(_ground, context, certifier(context.graph)), rows))


async def _ground(context: StageContext[GroundSettings], found: Certifier, row: Candidate) -> Candidate | Reject:
    route = Route.of(row, found)
    shown = _picture(context.graph, context.corpus, context.settings, route.nodes[0])
    if isinstance(shown, Doubt):
        return Reject(row.id, STAGE, *shown)
    forms = [Form.from_json(rewrite.form) for rewrite in reversed(row.rewrites)]
    plan = make_plan(route, found, row.attribute, forms, wording_seed(context.seed, row))._replace(described=0)
    rules = Rules((), route.names(0), row.accepted, last_sentence(row.question), route.places[0].title)
    asked = context.language.ground(plan, row.question, shown.picture.caption)
    wording = await checked(context.language, plan, asked, rules)
    if isinstance(wording, Refusal):
        return Reject(row.id, STAGE, *wording)
    return replace(
        row,
        question=wording.question,
        image=shown.data,
        image_source=f"{route.pages[0].source}: {shown.picture.file}",
        image_licence=_licence(context, shown.picture),
        view=VIEW,
    )


@lru_cache(maxsize=512)
def _picture(graph: Graph, corpus: Corpus | None, settings: GroundSettings, node: int) -> _Shown | Doubt:
    """The first picture of a page that is proven to show it, or why the last one is not."""
    page = graph.page(node)
    doubt = Doubt("no_picture", page.id)
    for index, picture in enumerate(page.pictures):
        try:
            data = _jpeg(graph.picture(node, index), settings.max_side)
        except CorpusError as error:
            doubt = Doubt("no_picture", str(error)[:500])
            continue
        problem = _doubt(corpus, settings, data, page, index)
        if problem is None:
            return _Shown(picture, data)
        doubt = problem
    return doubt


def _doubt(corpus: Corpus | None, settings: GroundSettings, data: bytes, page: Page, index: int) -> Doubt | None:
    """Why a picture is not proven to show the page, or None."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    if corpus is not None:
        if (page.id, index) in corpus.ambiguous_pictures:
            return Doubt("ambiguous_picture", f"{page.id} {index}")
        if not finds(corpus, image, (page.id, index)):
            return Doubt("not_identified", f"{page.id} {index}")
    if settings.similarity_model:
        score = open_similarity(settings.similarity_model).score(image, plain_title(page.title))
        if score < settings.min_similarity:
            return Doubt("dissimilar", f"{page.id} {index}: {score:.3f}")
    return None


def _jpeg(image: Image.Image, side: int) -> bytes:
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _licence(context: StageContext[GroundSettings], picture: Picture) -> str:
    if context.corpus is None:
        return context.graph.manifest.origin.licence
    return _licences(context.corpus)[picture.file]


@lru_cache(maxsize=2)
def _licences(corpus: Corpus) -> dict[str, str]:
    """Licence by picture file, of the corpus's SOURCES.md."""
    return dict(_credits((corpus.folder / SOURCES_FILE).read_text(encoding="utf-8")))


def _credits(text: str) -> Iterator[tuple[str, str]]:
    for line in text.partition("## Pictures")[2].splitlines():
        cells = [cell.strip() for cell in line.replace("\\|", "¦").strip("| ").split(" | ")]
        if len(cells) >= 4:
            yield cells[0], cells[3]
