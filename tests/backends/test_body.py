from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from osvl_plugins.backends.http import Response
from osvl_plugins.errors import ToolError
from tests.backends.asking import MAX_BYTES, Ask, Client, kind
from tests.backends.misbehaving import TEXT

pytestmark = pytest.mark.usefixtures("nothing_leaks")


async def test_an_announced_gigabyte_is_refused(ask: Ask) -> None:
    assert await kind(ask("/huge")) == "limit"


async def test_an_unannounced_gigabyte_is_refused(ask: Ask) -> None:
    assert await kind(ask("/huge-chunked")) == "limit"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compression_bomb_is_refused(ask: Ask, encoding: str) -> None:
    assert await kind(ask(f"/bomb?as={encoding}")) == "limit"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_compression_bomb_takes_little_memory(ask: Ask, encoding: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ToolError):
            await ask(f"/bomb?as={encoding}")
        assert tracemalloc.get_traced_memory()[1] < 16 * MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "bits"), [("gzip", 31), ("x-gzip", 31), ("GZIP", 31), ("deflate", 15), ("deflate", -15)]
)
async def test_compressed_answers_are_unpacked(ask: Ask, encoding: str, bits: int) -> None:
    assert (await ask(f"/packed?as={encoding}&bits={bits}")).body == TEXT


async def test_a_body_as_large_as_allowed_passes(client: Client, base: str) -> None:
    http = client(base, max_bytes=len(TEXT))
    for path in ("/ok", "/packed?as=gzip&bits=31"):
        assert (await http.call("wiki", "GET", base + path)).body == TEXT


async def test_a_body_one_byte_too_large_is_refused(client: Client, base: str) -> None:
    http = client(base, max_bytes=len(TEXT) - 1)
    for path in ("/ok", "/packed?as=gzip&bits=31"):
        assert await kind(http.call("wiki", "GET", base + path)) == "limit"


async def test_a_compressed_answer_that_is_cut_fails(ask: Ask) -> None:
    assert await kind(ask("/packed?as=gzip&bits=31&cut=4")) == "failed"


async def test_an_answer_that_is_not_what_its_encoding_says_fails(ask: Ask) -> None:
    assert await kind(ask("/packed?as=gzip&bits=-15")) == "failed"


async def test_an_encoding_that_was_not_asked_for_fails(ask: Ask) -> None:
    assert await kind(ask("/packed?as=br&bits=31")) == "failed"


async def test_a_body_shorter_than_announced_ends_as_unavailable(ask: Ask) -> None:
    assert await kind(ask("/short")) == "unavailable"


async def test_what_follows_the_announced_body_is_not_part_of_it(ask: Ask) -> None:
    # Where the surplus arrives together with the body, the whole answer is refused.
    (outcome,) = await asyncio.gather(ask("/long"), return_exceptions=True)
    assert (outcome.body if isinstance(outcome, Response) else str(outcome)) in (
        TEXT[:5],
        "wiki: the answer is not HTTP",
    )
