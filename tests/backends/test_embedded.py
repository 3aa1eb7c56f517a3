"""Search over the real corpus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.embedded import SNIPPET_CHARS, CorpusImages, CorpusPages, CorpusSnippets, CorpusText, snippet
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError


async def test_a_text_hit_is_lead_and_fact_box(atlas: Corpus) -> None:
    page = atlas.pages["mexico"]
    hit = (await CorpusText(atlas).search("Mexico", "en", 3))[0]
    assert (hit.title, hit.url, hit.page) == ("Mexico", "atlas://mexico", "mexico")
    assert hit.text == f"{page.lead}\n{page.fact_box}"
    assert (await CorpusText(atlas, lead=False).search("Mexico", "en", 3))[0].text == page.fact_box


async def test_a_snippet_is_the_part_that_the_query_is_about(atlas: Corpus) -> None:
    hits = await CorpusSnippets(atlas).search("Mexico liberal constitution 1857", "en", 10)
    found = next(hit for hit in hits if hit.page == "mexico")
    assert "A liberal constitution was proclaimed in 1857" in found.text
    assert len(found.text) <= SNIPPET_CHARS + 4


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("short text", {"nothing"}, "short text"),
        ("", {"a"}, ""),
        ("x " * 200 + "Tallinn harbour" + " y" * 200, {"harbour"}, "Tallinn harbour"),
        ("Café\n\nau lait", {"cafe"}, "Café au lait"),
    ],
)
def test_a_snippet_shows_the_words_on_one_line(text: str, words: set[str], expected: str) -> None:
    assert expected in snippet(text, words)
    assert "\n" not in snippet(text, words)


@given(st.text("ab \n", max_size=600), st.sets(st.sampled_from(["a", "ab", "b", "bb"])))
def test_a_snippet_is_a_bounded_part_of_the_text(text: str, words: set[str]) -> None:
    shown = snippet(text, words)
    assert len(shown) <= SNIPPET_CHARS + 4
    assert shown.removeprefix("… ").removesuffix(" …") in " ".join(text.split())


async def test_a_picture_is_found_by_itself_and_by_its_page(atlas: Corpus) -> None:
    page_id = next(
        page.id for page in atlas.pages.values() if page.pictures and (page.id, 0) not in atlas.ambiguous_pictures
    )
    images = CorpusImages(atlas)
    assert (await images.search(atlas.picture(page_id), 3))[0].page == page_id
    assert (await images.search_url(f"atlas://{page_id}", 3))[0].page == page_id


@pytest.mark.parametrize("url", ["https://example.org/a.png", "atlas://nowhere", "file:///etc/passwd"])
async def test_a_picture_elsewhere_is_not_found(url: str, atlas: Corpus) -> None:
    with pytest.raises(ToolError) as caught:
        await CorpusImages(atlas).search_url(url, 3)
    assert caught.value.kind == "not_found"


async def test_a_page_is_its_whole_text(atlas: Corpus) -> None:
    page = atlas.pages["mexico"]
    reading = await CorpusPages(atlas).read(" Mexico ", "capital")
    assert reading.text == f"{page.lead}\n{page.fact_box}\n{page.body}"
    assert (reading.url, reading.page) == ("atlas://mexico", "mexico")
