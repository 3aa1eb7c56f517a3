"""The offline solver: what each search gives it, and nothing without."""

from __future__ import annotations

import io

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.solver import IMAGE_SEARCH, NO_TOOLS, TEXT_SEARCH, Budget, RetrievalSolver

SHOWN = "the country whose flag is shown in the picture"


@pytest.fixture(scope="module")
def solver(atlas: Corpus) -> RetrievalSolver:
    return RetrievalSolver(atlas)


@pytest.fixture(scope="module")
def flag(atlas: Corpus) -> bytes:
    buffer = io.BytesIO()
    atlas.picture("brazil").save(buffer, "PNG")
    return buffer.getvalue()


async def test_what_is_named_is_recalled_without_tools(solver: RetrievalSolver, atlas: Corpus) -> None:
    assert await solver.solve("What is the capital of Norway?", b"", NO_TOOLS) == "Oslo"


async def test_a_pictured_page_is_read_only_with_an_image_search(solver: RetrievalSolver, flag: bytes) -> None:
    question = f"What is the capital of {SHOWN}?"
    assert await solver.solve(question, flag, IMAGE_SEARCH) == "Brasília"
    assert await solver.solve(question, flag, NO_TOOLS) != "Brasília"


async def test_a_text_search_reads_what_words_describe(solver: RetrievalSolver, atlas: Corpus) -> None:
    found = await solver.solve("What is the top-level domain of the country with the capital Oslo?", b"", TEXT_SEARCH)
    assert found == ".no"


@pytest.mark.parametrize(("hops", "solved"), [(0, False), (1, True), (2, True)])
async def test_a_link_is_followed_only_within_the_budget(
    hops: int, solved: bool, solver: RetrievalSolver, flag: bytes
) -> None:
    question = f"What is the symbol for the currency of {SHOWN}?"
    answer = await solver.solve(question, flag, Budget(image_search=True, hops=hops))
    assert (answer == "R$") is solved


async def test_links_are_followed_backwards(solver: RetrievalSolver, atlas: Corpus) -> None:
    question = "What is the international calling code of the country whose capital is Oslo?"
    assert await solver.solve(question, b"", Budget(hops=1)) == "+47"


async def test_what_the_question_says_is_no_answer(solver: RetrievalSolver) -> None:
    assert await solver.solve("What is the capital of Norway, other than Oslo?", b"", NO_TOOLS) != "Oslo"


async def test_a_question_that_asks_for_nothing_known_has_no_answer(solver: RetrievalSolver) -> None:
    assert await solver.solve("???", b"", TEXT_SEARCH) == ""
