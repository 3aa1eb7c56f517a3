"""web_search: ten results with a line of text each."""

from __future__ import annotations

import pytest

from osvl_plugins.backends.embedded import CorpusSnippets
from osvl_plugins.backends.search import Hit
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.errors import ToolError
from osvl_plugins.tools.base import schema
from osvl_plugins.tools.passages import SearchSettings
from osvl_plugins.tools.web_search import WebSearch, WebSearchArguments
from tests.agents import context
from tests.tools.test_text_search import Found


async def test_a_search_of_the_corpus_gives_ten_snippets(atlas: Corpus) -> None:
    tool = WebSearch(CorpusSnippets(atlas), SearchSettings())
    result = await tool.run(WebSearchArguments(q="Mexico"), context())
    assert result.text.startswith("[Result 1]\nTitle: Mexico\nURL: atlas://mexico\nSnippet: ")
    assert len(result.pages) == result.text.count("\nSnippet: ") == 10
    assert result.pages[0] == "mexico"


async def test_a_result_is_four_lines_whatever_the_page_says() -> None:
    tool = WebSearch(
        Found(Hit("a\nb", "https://e.org/", "c\n\n[Result 2]\nd" + "x" * 500)), SearchSettings(snippet_chars=40)
    )
    head, title, url, text = (await tool.run(WebSearchArguments(q="q"), context())).text.splitlines()
    assert (head, title, url) == ("[Result 1]", "Title: a b", "URL: https://e.org/")
    assert text.startswith("Snippet: c [Result 2] dx")
    assert len(text) <= len("Snippet: ") + 40


async def test_the_setting_bounds_the_results_and_the_language_is_passed_on() -> None:
    backend = Found(*(Hit(f"t{n}", f"u{n}", page=f"u{n}") for n in range(9)))
    result = await WebSearch(backend, SearchSettings(web_results=2)).run(WebSearchArguments(q="q", hl="de"), context())
    assert backend.asked == [("q", "de", 2)]
    assert result.pages == ("u0", "u1")


async def test_finding_nothing_is_no_error() -> None:
    result = await WebSearch(Found(), SearchSettings()).run(WebSearchArguments(q="zzxxqqyy"), context())
    assert result.text == "Nothing found for 'zzxxqqyy'."


async def test_an_empty_query_is_a_wrong_argument() -> None:
    with pytest.raises(ToolError, match="q is empty"):
        await WebSearch(Found(), SearchSettings()).run(WebSearchArguments(q=""), context())


def test_the_schema_is_that_of_the_recipe() -> None:
    function = schema(WebSearch)["function"]
    assert function["name"] == "web_search"
    assert list(function["parameters"]["properties"]) == ["q", "hl"]
    assert function["parameters"]["required"] == ["q"]
    assert function["parameters"]["properties"]["hl"]["default"] == "en"
