"""How well the corpus's own pictures are recognised after they were damaged: recall at one, on every sixth of them."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image, ImageFilter

from osvl_plugins.corpus.corpus import Corpus

SIDE = 256


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=15)
    return Image.open(buffer).convert("RGB")


def middle(image: Image.Image, share: float) -> Image.Image:
    width, height = round(image.width * share), round(image.height * share)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


DAMAGES: dict[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "none": (lambda image: image, 0.98),
    "JPEG quality 15": (jpeg, 0.98),
    "a quarter of the side": (lambda image: image.resize((image.width // 4, image.height // 4)), 0.98),
    "squeezed to a square": (lambda image: image.resize((128, 128)), 0.98),
    "blur of 3 pixels": (lambda image: image.filter(ImageFilter.GaussianBlur(3)), 0.98),
    "the middle 94 %": (lambda image: middle(image, 0.94), 0.98),
    "the middle 60 %": (lambda image: middle(image, 0.6), 0.9),
    "turned by 10 degrees": (lambda image: image.rotate(10), 0.75),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_right_picture_comes_first_and_no_other_is_confident(atlas: Corpus, damage: str) -> None:
    change, least = DAMAGES[damage]
    keys = [
        (page.id, position)
        for page in atlas.pages.values()
        for position in range(len(page.pictures))
        if (page.id, position) not in atlas.ambiguous_pictures
    ][::6]
    first = wrong = 0
    for page_id, position in keys:
        image = atlas.picture(page_id, position)
        image.thumbnail((SIDE, SIDE))
        hits = atlas.search_image(change(image), 5)
        first += (hits[0].page_id, hits[0].picture_index) == (page_id, position)
        wrong += any(hit.confident and hit.page_id != page_id for hit in hits)
    assert len(keys) >= 20
    assert first / len(keys) >= least
    assert wrong == 0
