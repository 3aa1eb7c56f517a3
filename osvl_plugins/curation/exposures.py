"""Exposures: the ways in which a page's picture can be put before the agent, each proven to work with the real tools.

- plain: image search finds the page.
- framed: image search finds the page on the crop inside the frame.
- blurred: image search finds nothing, and finds the page after ``sharpen``; this is what makes repair necessary.
"""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.views import QUADRANTS, View, blurred, framed, inside, plain
from osvl_plugins.tools.sharpen import unsharp_mask

SIGMAS = (2.0, 3.0, 4.0, 6.0)
"""Blurs tried, in pixels at question size, weakest first."""
AMOUNTS = (1.5, 3.0)
"""Strengths of ``sharpen`` tried on each."""

Anchor = tuple[str, int]
"""(page id, picture index)"""


@dataclass(frozen=True)
class Exposure:
    """One picture of a question, as a JPEG file. ``quadrant`` is set for framed views, ``amount`` for blurred ones."""

    anchor: Anchor
    view: View
    data: bytes
    quadrant: str | None = None
    amount: float | None = None

    @property
    def image(self) -> Image.Image:
        """The picture, decoded."""
        return _decode(self.data)


def expose(corpus: Corpus, anchor: Anchor, others: Sequence[Anchor], seed: int) -> list[Exposure]:
    """All exposures of ``anchor`` that pass their proof; none when not even the plain picture is found.

    ``others`` are what may stand around it on a sheet of four.
    """
    rng = random.Random(f"{seed}/{anchor}")
    picture = corpus.picture(*anchor)
    shown = plain(picture)
    if not finds(corpus, _decode(shown), anchor):
        return []
    exposures = [Exposure(anchor, "plain", shown)]
    for quadrant in rng.sample(sorted(QUADRANTS), 2):
        around = [corpus.picture(*other) for other in rng.sample([o for o in others if o[0] != anchor[0]], 3)]
        sheet = framed([picture, *around], quadrant, rng)
        x, y, width, height = inside(QUADRANTS[quadrant])
        if finds(corpus, _decode(sheet).crop((x, y, x + width, y + height)), anchor):
            exposures.append(Exposure(anchor, "framed", sheet, quadrant=quadrant))
    repair = _blurred(corpus, anchor, picture)
    return exposures + ([repair] if repair is not None else [])


def finds(corpus: Corpus, image: Image.Image, anchor: Anchor) -> bool:
    """Whether image search is confident of ``anchor``'s page first."""
    hits = [hit for hit in corpus.search_image(image, 1) if hit.confident]
    return bool(hits) and hits[0].page_id == anchor[0]


def _blurred(corpus: Corpus, anchor: Anchor, picture: Image.Image) -> Exposure | None:
    for sigma in SIGMAS:
        data = blurred(picture, sigma)
        image = _decode(data)
        if any(hit.confident for hit in corpus.search_image(image, 1)):
            continue
        for amount in AMOUNTS:
            if finds(corpus, unsharp_mask(image, amount), anchor):
                return Exposure(anchor, "blurred", data, amount=amount)
    return None


def _decode(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")
