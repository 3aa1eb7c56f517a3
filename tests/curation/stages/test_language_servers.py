"""The stages with a language model that answers well, badly, or not at all: rows pass or are rejected with a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.curation.candidate import Candidate, Hop, StageResult
from osvl_plugins.curation.graph.store import Graph
from osvl_plugins.curation.language.protocol import Language
from osvl_plugins.curation.language.server import LanguageSettings, build_language
from osvl_plugins.curation.stages import ground, question, rewrite
from tests.backends.doubles import client, recorder
from tests.curation.stages.making import asked, context, rewritten, row_of
from tests.reward.judges.chat_server import MODEL, ChatServer, Says, chat_server, completion

SAME = json.dumps({"reason": "says the same", "verdict": "same"})
DIFFERENT = json.dumps({"reason": "leaves out a step", "verdict": "different"})
REFUSAL = {
    **completion(None),
    "choices": [{"index": 0, "message": {"role": "assistant", "content": None, "refusal": "I can't help with that."}}],
}
ROW = row_of(["fort-sumter", "united-states", "mexico"], [Hop("country"), Hop("smallest neighbour")])


def worded(question: str, phrase: str) -> str:
    return json.dumps({"description": phrase, "question": question})


BROKEN: dict[str, tuple[list[Says], str]] = {
    "prose": (["Here is your question: what is it?"], "language_failed"),
    "nothing": ([None], "language_failed"),
    "no completion": ([{"object": "error"}], "language_failed"),
    "no JSON": ([b"<html>"], "language_failed"),
    "another object": ([SAME], "language_failed"),
    "two objects": ([f"{worded('a?', 'a')} {worded('b?', 'b')}"], "language_failed"),
    "numbers for texts": (['{"description": 1, "question": 2}'], "language_failed"),
    "endless": (["x" * 60_000], "language_limit"),
    "refusal": ([REFUSAL], "language_denied"),
    "broken": ([500], "language_unavailable"),
    "too many requests": ([429], "language_rate_limited"),
    "polite refusal": ([worded("I'm sorry, but I can't assist with that.", "sorry")], "malformed"),
    "nonsense": ([worded("Colourless green ideas sleep how?", "green ideas")], "name_missing"),
}


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


Make = Callable[..., Language]


@pytest.fixture
async def make(server: ChatServer, tmp_path: Path) -> AsyncIterator[Make]:
    async with client(tmp_path) as http:

        def made(**settings: Any) -> Language:
            values = LanguageSettings(
                **{"engine": "server", "url": server.url, "model": MODEL, "deadline_s": 20.0, **settings}
            )
            return build_language(values, http, recorder(tmp_path))

        yield made


@pytest.fixture(scope="module")
def canonical(atlas_graph: Graph) -> Candidate:
    """The row with a canonical question by rule."""
    return asked(atlas_graph, [ROW]).rows[0]


@pytest.fixture(scope="module")
def described(atlas_graph: Graph) -> Candidate:
    """The row rewritten by rule."""
    return rewritten(atlas_graph, [ROW]).rows[0]


async def questioned(graph: Graph, language: Language) -> StageResult:
    return await asyncio.to_thread(question.run, [ROW], context(graph, question.QuestionSettings(), None, language))


async def rewriting(graph: Graph, language: Language, row: Candidate, attempts: int = 2) -> StageResult:
    settings = rewrite.RewriteSettings(attempts=attempts)
    return await asyncio.to_thread(rewrite.run, [row], context(graph, settings, None, language))


async def grounding(graph: Graph, corpus: Corpus, language: Language, row: Candidate) -> StageResult:
    return await asyncio.to_thread(ground.run, [row], context(graph, ground.GroundSettings(), corpus, language))


def reasons(result: StageResult) -> list[str]:
    assert not result.rows
    return [reject.reason for reject in result.rejects]


async def test_a_good_wording_stands_with_the_graph_s_form(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate
) -> None:
    own = canonical.canonical.replace("The country", "Note that the country")
    server.says = [worded(own, canonical.rewrites[0].description), SAME]
    (row,) = (await questioned(atlas_graph, make())).rows
    assert (row.canonical, row.question, row.answer) == (own, own, canonical.answer)
    assert row.rewrites == canonical.rewrites


async def test_the_model_is_never_shown_the_answer(
    atlas_graph: Graph, atlas: Corpus, make: Make, server: ChatServer, canonical: Candidate, described: Candidate
) -> None:
    server.says = [worded(canonical.canonical, canonical.rewrites[0].description), SAME]
    await questioned(atlas_graph, make())
    server.says = [worded(described.question, described.rewrites[1].description), SAME]
    await rewriting(atlas_graph, make(), canonical)
    server.says = ["nonsense"]
    await grounding(atlas_graph, atlas, make(), described)
    shown = [message["content"] for body in server.asked for message in body["messages"][1:]]
    assert len(shown) >= 5
    assert not any(canonical.answer in text or "Mexico" in text for text in shown)


@pytest.mark.parametrize(("says", "reason"), BROKEN.values(), ids=BROKEN)
async def test_what_is_no_wording_is_a_reject_of_each_stage(
    says: list[Says],
    reason: str,
    atlas_graph: Graph,
    atlas: Corpus,
    make: Make,
    server: ChatServer,
    canonical: Candidate,
    described: Candidate,
) -> None:
    server.says = says
    assert reasons(await questioned(atlas_graph, make())) == [reason]
    assert reasons(await rewriting(atlas_graph, make(), canonical)) == [reason]
    # A grounded question has no name to keep.
    reason = "other_question" if reason == "name_missing" else reason
    assert reasons(await grounding(atlas_graph, atlas, make(), described)) == [reason]


async def test_a_server_that_hangs_is_a_time_out(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate
) -> None:
    server.delay_s = 10.0
    assert reasons(await questioned(atlas_graph, make(deadline_s=0.2))) == ["language_timeout"]
    assert reasons(await rewriting(atlas_graph, make(deadline_s=0.2), canonical)) == ["language_timeout"]


async def test_a_wording_that_says_the_answer_is_rejected(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate, described: Candidate
) -> None:
    told = described.question.removesuffix("?") + f", is it {canonical.answer}?"
    server.says = [worded(told, described.rewrites[1].description)]
    assert reasons(await rewriting(atlas_graph, make(), canonical)) == ["answer_shown"]


async def test_a_rewrite_that_keeps_the_name_is_rejected(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate, described: Candidate
) -> None:
    kept = f"In the United States, {described.question}"
    server.says = [worded(kept, described.rewrites[1].description)]
    result = await rewriting(atlas_graph, make(), canonical)
    assert reasons(result) == ["name_shown"]
    assert result.rejects[0].detail == "United States"


async def test_a_grounding_that_names_the_picture_is_rejected(
    atlas_graph: Graph, atlas: Corpus, make: Make, server: ChatServer, described: Candidate
) -> None:
    server.says = [worded(described.question, "Fort Sumter")]
    assert reasons(await grounding(atlas_graph, atlas, make(), described)) == ["name_shown"]


async def test_what_the_model_itself_finds_different_is_rejected(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate
) -> None:
    server.says = [worded(canonical.canonical, canonical.rewrites[0].description), DIFFERENT]
    result = await questioned(atlas_graph, make())
    assert (reasons(result), result.rejects[0].detail) == (["objection"], "leaves out a step")


async def test_a_bad_rewrite_is_tried_again_with_another_seed(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate, described: Candidate
) -> None:
    good = worded(described.question, described.rewrites[1].description)
    server.says = [worded("Who knows?", "who"), good, SAME]
    assert len((await rewriting(atlas_graph, make(), canonical)).rows) == 1
    assert server.asked[0]["seed"] != server.asked[1]["seed"]


async def test_what_cannot_be_read_is_asked_for_again_with_a_reminder(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate
) -> None:
    server.says = ["Sure!", worded(canonical.canonical, canonical.rewrites[0].description), SAME]
    assert len((await questioned(atlas_graph, make())).rows) == 1
    first, again, _ = (body["messages"][1]["content"] for body in server.asked)
    assert again.startswith(first)
    assert "JSON object" in again.removeprefix(first)


async def test_without_review_there_is_one_request_a_wording(
    atlas_graph: Graph, make: Make, server: ChatServer, canonical: Candidate
) -> None:
    server.says = [worded(canonical.canonical, canonical.rewrites[0].description)]
    assert len((await questioned(atlas_graph, make(review=False))).rows) == 1
    assert len(server.asked) == 1
