"""The enhancement subset: some questions show a degraded picture, which a tool call is proven to repair.

With the embedded corpus the proof is by its image search: it does not find the anchor's page by the degraded picture,
and finds it by what the tool makes of that. Elsewhere what the tool makes must be the clean picture again, by the
comparison that image search rests on (``osvl_plugins.corpus.verify``), and the degraded one must not. The tools are
the agent's own. A picture for which nothing is proven stays clean; that is noted as a reject of a row that
stays.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.corpus.verify import SIDE, Match, compare
from osvl_plugins.curation.candidate import Candidate, Reject, Repair, StageContext, StageResult
from osvl_plugins.curation.degrade import KINDS, Call, Degraded, Kind, degradations
from osvl_plugins.curation.exposures import finds
from osvl_plugins.errors import CorpusError
from osvl_plugins.images import ImageSettings, ImageStore, decode
from osvl_plugins.settings import Settings
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.build import ToolName, ToolSettings, build_toolset
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import ToolCall

STAGE = "enhance"
FOUND, DETAIL = "image_search", "gain"
"""Metrics: 1 where image search finds the anchor's page, else 0; the share of the clean picture's detail."""
JPEG_QUALITY = 92
_TOOLS: dict[Kind, ToolName] = {"blurred": "sharpen", "small": "super_resolution", "tilted": "perspective_correct"}


class EnhanceSettings(Settings):
    """Which pictures are degraded, and how."""

    share: float = Field(default=0.1, ge=0, le=1)
    """Share of the questions (arXiv 2605.05185, section 3)."""
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
    """blurred: ``sharpen`` repairs it; small: ``super_resolution``, which needs the extra ``upscale``; tilted:
    ``perspective_correct``."""


class _Proof(NamedTuple):
    metric: str
    before: float
    after: float


def run(rows: list[Candidate], context: StageContext[EnhanceSettings]) -> StageResult:
    """All rows, those drawn by a hash of their id with a degraded picture and its repair.

    Reason of rejects, whose rows stay with their clean picture: ``not_repairable``.
    """
    return asyncio.run(_run(rows, context))


async def _run(rows: list[Candidate], context: StageContext[EnhanceSettings]) -> StageResult:
    settings = context.settings
    tools = build_toolset(ToolSettings(tools=tuple(_TOOLS[kind] for kind in settings.kinds)), _no_corpus)
    result = StageResult([], [])
    try:
        for row in rows:
            if context.rng(f"{STAGE}/drawn", row).random() >= settings.share:
                result.rows.append(row)
                continue
            degraded = await _degraded(row, context, tools)
            result.rows.append(degraded or row)
            if degraded is None:
                result.rejects.append(Reject(row.id, STAGE, "not_repairable", ", ".join(settings.kinds)))
    finally:
        await tools.aclose()
    return result


async def _degraded(row: Candidate, context: StageContext[EnhanceSettings], tools: ToolSet) -> Candidate | None:
    """The row with the first degradation that a tool is proven to repair, or None."""
    rng = context.rng(STAGE, row)
    clean = decode(row.image, ImageSettings())
    for kind in rng.sample(context.settings.kinds, len(context.settings.kinds)):
        for degraded in degradations(kind, clean, rng):
            data = _jpeg(degraded.image)
            found = await _proven(Degraded(decode(data, ImageSettings()), degraded.repairs), clean, row, context, tools)
            if found is not None:
                return replace(row, image=data, view=kind, repair=found)
    return None


async def _proven(
    degraded: Degraded, clean: Image.Image, row: Candidate, context: StageContext[EnhanceSettings], tools: ToolSet
) -> Repair | None:
    for call in degraded.repairs:
        repaired = await _repaired(degraded.image, call, tools)
        if repaired is None:
            continue
        if context.corpus is not None and row.path:
            proof = _by_search(context.corpus, row.path[0], degraded.image, repaired)
        else:
            proof = _by_detail(clean, degraded.image, repaired)
        if proof is not None:
            return Repair(call.tool, call.arguments, *proof)
    return None


async def _repaired(image: Image.Image, call: Call, tools: ToolSet) -> Image.Image | None:
    """What the tool makes of a picture, None where it fails."""
    store = ImageStore(ImageSettings())
    store.add(image)
    observed = await tools.run(ToolCall(call.tool, call.arguments), ToolContext(store))
    return store.original(observed.image_ids[0]) if observed.image_ids else None


def _by_search(corpus: Corpus, page: str, degraded: Image.Image, repaired: Image.Image) -> _Proof | None:
    # A degraded picture must bring no other page either: the agent would have no reason to repair it.
    if any(hit.confident for hit in corpus.search_image(degraded, 1)) or not finds(corpus, repaired, (page, 0)):
        return None
    return _Proof(FOUND, 0.0, 1.0)


def _by_detail(clean: Image.Image, degraded: Image.Image, repaired: Image.Image) -> _Proof | None:
    before, after = _match(clean, degraded), _match(clean, repaired)
    return _Proof(DETAIL, round(before.gain, 4), round(after.gain, 4)) if after.confident > before.confident else None


def _match(clean: Image.Image, image: Image.Image) -> Match:
    small = clean.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    scaled = image.resize(small.size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return compare(np.asarray(scaled), np.asarray(small))


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _no_corpus() -> Corpus:
    raise CorpusError("the tools that repair pictures search no corpus")
