"""image_search: by a picture's name or by an address."""

from __future__ import annotations

import pytest
from PIL import Image

from osvl_plugins.backends.embedded import CorpusImages
from osvl_plugins.backends.search import Hit
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.image_search import ImageSearch, ImageSearchArguments
from osvl_plugins.tools.passages import SearchSettings
from tests.agents import context


class Found:
    """A backend that finds the same for all pictures, and notes what it was asked."""

    name = "given"

    def __init__(self) -> None:
        self.asked: list[tuple[int, int] | str] = []

    async def search(self, image: Image.Image, k: int) -> list[Hit]:
        self.asked.append(image.size)
        return [Hit(f"t{n}", f"https://e.org/{n}", page=f"https://e.org/{n}") for n in range(9)]

    async def search_url(self, url: str, k: int) -> list[Hit]:
        self.asked.append(url)
        return []


async def test_a_picture_of_the_episode_is_searched_at_full_size() -> None:
    backend = Found()
    tool = ImageSearch(backend, SearchSettings(top_k=2))
    result = await tool.run(ImageSearchArguments(url=" IMG1 "), context(Image.new("RGB", (3000, 2000))))
    assert backend.asked == [(3000, 2000)]
    assert result.text == "[Image 1]\nTitle: t0\nURL: https://e.org/0\n\n[Image 2]\nTitle: t1\nURL: https://e.org/1"
    assert result.pages == ("https://e.org/0", "https://e.org/1")


@pytest.mark.parametrize("url", ["https://e.org/a.png", "HTTP://e.org/a.png", "file:///etc/passwd", "atlas://mexico"])
async def test_an_address_is_for_the_backend_to_judge(url: str) -> None:
    backend = Found()
    result = await ImageSearch(backend, SearchSettings()).run(ImageSearchArguments(url=f" {url} "), context())
    assert (backend.asked, result.text) == ([url], "No picture matches.")


@pytest.mark.parametrize("reference", ["img_2", "", "mexico", "/etc/passwd", "data:image/png;base64,AA"])
async def test_anything_else_is_the_name_of_no_picture(reference: str) -> None:
    backend = Found()
    with pytest.raises(ToolError, match=r"there are img_1 \(200x100\)") as caught:
        await ImageSearch(backend, SearchSettings()).run(ImageSearchArguments(url=reference), context())
    assert (caught.value.kind, backend.asked) == ("bad_arguments", [])


async def test_the_corpus_knows_no_picture_of_the_web(atlas: Corpus) -> None:
    tool = ImageSearch(CorpusImages(atlas), SearchSettings())
    with pytest.raises(ToolError, match="pass a picture's name") as caught:
        await tool.run(ImageSearchArguments(url="https://example.org/a.png"), context())
    assert caught.value.kind == "not_found"
