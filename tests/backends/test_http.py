from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from osvl_plugins.backends.http import Http, HttpSettings, Response
from osvl_plugins.errors import SettingError, ToolError
from osvl_plugins.settings import read
from tests.backends.asking import DEADLINE_S, SHORT_S, Ask, Client, Unlimited, kind, requests
from tests.backends.certificate import self_signed
from tests.backends.misbehaving import TEXT, misbehaving_server
from tests.backends.names import Names

pytestmark = pytest.mark.usefixtures("nothing_leaks")


async def test_a_good_answer_is_given_whole(ask: Ask) -> None:
    assert (await ask("/ok")).body == TEXT


async def test_a_call_sends_its_method_parameters_headers_and_json(http: Http, base: str) -> None:
    response = await http.call(
        "wiki", "POST", base + "/echo", headers={"X-Key": "k"}, params={"q": "a b&c"}, json={"n": 1}
    )
    seen = response.json()
    assert (seen["method"], seen["query"], seen["body"]) == ("POST", {"q": "a b&c"}, '{"n": 1}')
    assert seen["headers"]["x-key"] == "k"


async def test_a_call_sends_raw_bytes(http: Http, base: str) -> None:
    assert (await http.call("wiki", "PUT", base + "/echo", data=b"raw")).json()["body"] == "raw"


async def test_the_address_of_an_answer_does_not_show_parameters(http: Http, base: str) -> None:
    assert (await http.call("wiki", "GET", base + "/ok", params={"key": "secret"})).url == base + "/ok"


async def test_rate_limit_with_seconds_is_waited_for(ask: Ask) -> None:
    assert (await ask("/rate-limited-once?after=1")).status == 200


async def test_rate_limit_with_a_date_is_waited_for(ask: Ask) -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=1), usegmt=True)
    assert (await ask("/rate-limited-once?after=" + quote(soon))).status == 200


async def test_unreadable_retry_after_falls_back_to_the_own_pause(ask: Ask) -> None:
    assert (await ask("/rate-limited-once?after=soon")).status == 200


@pytest.mark.parametrize("after", ["3600", quote("Fri, 31 Dec 2100 23:59:59 GMT"), "999999999"])
async def test_retry_after_beyond_the_deadline_fails_without_a_second_request(
    http: Http, base: str, ask: Ask, after: str
) -> None:
    assert await kind(ask(f"/rate-limited?after={after}")) == "rate_limited"
    assert await requests(http, base, "/rate-limited") == 1


async def test_endless_rate_limit_ends_after_all_attempts(http: Http, base: str, ask: Ask) -> None:
    assert await kind(ask("/rate-limited")) == "rate_limited"
    assert await requests(http, base, "/rate-limited") == 2


async def test_status_500_ends_as_unavailable_after_all_attempts(http: Http, base: str, ask: Ask) -> None:
    assert await kind(ask("/status?is=500")) == "unavailable"
    assert await requests(http, base, "/status") == 2


async def test_status_503_that_recovers_is_a_good_answer(ask: Ask) -> None:
    assert (await ask("/recovers")).body == TEXT


async def test_reset_at_once_ends_as_unavailable(ask: Ask) -> None:
    assert await kind(ask("/reset")) == "unavailable"


async def test_one_reset_is_survived(ask: Ask) -> None:
    assert (await ask("/reset-once")).body == TEXT


async def test_a_reset_post_is_tried_again(http: Http, base: str) -> None:
    assert (await http.call("wiki", "POST", base + "/reset-once", json={})).body == TEXT


async def test_reset_amid_the_body_ends_as_unavailable_after_all_attempts(http: Http, base: str, ask: Ask) -> None:
    assert await kind(ask("/reset-midway")) == "unavailable"
    assert await requests(http, base, "/reset-midway") == 2


@pytest.mark.parametrize("path", ["/silent", "/stalls", "/trickle"])
async def test_server_that_does_not_finish_ends_at_the_deadline(http: Http, base: str, ask: Ask, path: str) -> None:
    assert await kind(ask(path, SHORT_S), SHORT_S) == "timeout"
    assert await requests(http, base, path) == 1


@pytest.mark.parametrize("path", ["/silent", "/stalls"])
async def test_a_fetched_page_may_not_be_silent_for_long(client: Client, base: str, path: str) -> None:
    http = client(base, idle_s=SHORT_S)
    assert await kind(http.fetch("wiki", base + path, deadline_s=60), SHORT_S) == "timeout"
    assert await requests(http, base, path) == 1


async def test_a_slow_page_that_keeps_sending_is_not_idle(client: Client, base: str) -> None:
    http = client(base, idle_s=2.0)
    with pytest.raises(ToolError, match="no complete answer"):
        await http.fetch("wiki", base + "/trickle", deadline_s=2.5)


async def test_garbage_instead_of_http_fails(ask: Ask) -> None:
    assert await kind(ask("/garbage")) == "failed"


async def test_garbage_between_chunks_ends_in_an_error(ask: Ask) -> None:
    assert await kind(ask("/garbage-chunks")) in ("failed", "unavailable")


async def test_garbage_instead_of_json_fails(ask: Ask) -> None:
    response = await ask("/garbage-json")
    with pytest.raises(ToolError, match="wiki: the answer is not JSON") as caught:
        response.json()
    assert caught.value.kind == "failed"


def test_json_that_is_nested_too_deeply_fails() -> None:
    with pytest.raises(ToolError) as caught:
        Response(200, "", {}, b"[" * 1_000_000).json()
    assert caught.value.kind == "failed"


async def test_a_call_follows_no_redirect(http: Http, base: str) -> None:
    assert await kind(http.call("wiki", "GET", f"{base}/redirect?to=/ok")) == "unavailable"
    assert await requests(http, base, "/ok") == 0


async def test_a_certificate_that_nobody_vouches_for_is_unavailable(client: Client, tmp_path: Path) -> None:
    async with misbehaving_server(self_signed(tmp_path)) as base:
        http = client(base)
        assert await kind(http.call("wiki", "GET", base + "/ok")) == "unavailable"
        assert await kind(http.fetch("wiki", base + "/ok")) == "unavailable"


async def test_a_plain_server_at_a_secure_address_is_unavailable(http: Http, base: str) -> None:
    secure = base.replace("http://", "https://")
    assert await kind(http.call("wiki", "GET", secure + "/ok")) == "unavailable"


@pytest.mark.parametrize("path", ["/giant-header", "/many-headers"])
async def test_too_many_or_too_long_headers_fail(ask: Ask, path: str) -> None:
    assert await kind(ask(path)) == "failed"


@pytest.mark.parametrize(
    ("status", "by_call", "by_fetch"),
    [
        (400, "failed", "failed"),
        (401, "unavailable", "denied"),
        (403, "unavailable", "denied"),
        (404, "not_found", "not_found"),
        (410, "not_found", "not_found"),
        (304, "failed", "failed"),
        (422, "failed", "failed"),
    ],
)
async def test_other_statuses_are_not_tried_again(
    http: Http, base: str, status: int, by_call: str, by_fetch: str
) -> None:
    url = f"{base}/status?is={status}"
    assert await kind(http.call("wiki", "GET", url)) == by_call
    assert await kind(http.fetch("wiki", url)) == by_fetch
    assert await requests(http, base, "/status") == 2


async def test_a_refused_connection_is_unavailable(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        http = client(base)
        assert await kind(http.call("wiki", "GET", base)) == "unavailable"


async def test_a_name_that_does_not_exist_is_unavailable(client: Client, base: str) -> None:
    http = client(base, Names({}))
    assert await kind(http.call("wiki", "GET", "http://nowhere.example.com/")) == "unavailable"
    assert await kind(http.fetch("wiki", "http://nowhere.example.com/")) == "unavailable"


async def test_a_name_server_that_never_answers_ends_at_the_deadline(client: Client, base: str) -> None:
    http = client(base, Names({"silent.example.com": []}))
    assert await kind(http.fetch("wiki", "http://silent.example.com/", deadline_s=SHORT_S), SHORT_S) == "timeout"


@pytest.mark.parametrize("url", ["localhost:1/x", "ftp://localhost/", "http://", "/search", ""])
async def test_a_service_with_an_unusable_address_is_unavailable(http: Http, url: str) -> None:
    assert await kind(http.call("wiki", "GET", url)) == "unavailable"


async def test_messages_hold_neither_address_nor_key_nor_body(http: Http, base: str) -> None:
    for path in ("/status?is=400", "/status?is=401", "/status?is=500", "/garbage", "/reset", "/huge", "/short"):
        with pytest.raises(ToolError) as caught:
            await http.call("wiki", "GET", base + path, params={"key": "secret"}, headers={"X-Key": "secret"})
        assert "secret" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


async def test_no_cookie_is_kept(http: Http, base: str) -> None:
    for _ in range(2):
        seen = (await http.fetch("wiki", base + "/echo")).json()
    assert "cookie" not in seen["headers"]


async def test_proxies_of_the_environment_are_ignored(http: Http, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await http.fetch("wiki", base + "/ok")).body == TEXT
    assert (await http.call("wiki", "GET", base + "/ok")).body == TEXT


async def test_the_client_says_its_name(client: Client, base: str) -> None:
    http = client(base, user_agent="tests/1 (me@example.com)")
    assert (await http.fetch("wiki", base + "/echo")).json()["headers"]["user-agent"] == "tests/1 (me@example.com)"


async def test_every_attempt_has_a_slot_and_none_is_kept(client: Client, base: str) -> None:
    budgets = Unlimited()
    http = client(base, budgets=budgets, attempts=3)
    for path, deadline_s in (("/status?is=500", DEADLINE_S), ("/silent", SHORT_S), ("/ok", DEADLINE_S)):
        with contextlib.suppress(ToolError):
            await http.call("wiki", "GET", base + path, deadline_s=deadline_s)
    assert (budgets.entered, budgets.held) == (5, 0)


async def test_waiting_for_a_slot_counts(client: Client, base: str) -> None:
    class Full(Unlimited):
        @contextlib.asynccontextmanager
        async def slot(self, provider: str) -> AsyncIterator[None]:
            await asyncio.Event().wait()
            yield

    http = client(base, budgets=Full())
    assert await kind(http.call("wiki", "GET", base + "/ok", deadline_s=SHORT_S), SHORT_S) == "timeout"


async def test_a_cancelled_request_ends_and_frees_its_slot(client: Client, base: str) -> None:
    budgets = Unlimited()
    http = client(base, budgets=budgets)
    asked = asyncio.create_task(http.fetch("wiki", base + "/stalls"))
    while not budgets.held:
        await asyncio.sleep(0.01)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert budgets.held == 0


async def test_more_requests_than_connections_all_finish(client: Client, base: str) -> None:
    http = client(base, connections=2)
    answers = await asyncio.gather(*(http.fetch("wiki", base + "/ok") for _ in range(50)))
    assert {answer.body for answer in answers} == {TEXT}


async def test_a_closed_client_opens_again(http: Http, base: str) -> None:
    await http.call("wiki", "GET", base + "/ok")
    await http.aclose()
    await http.aclose()
    assert (await http.call("wiki", "GET", base + "/ok")).status == 200


async def test_each_event_loop_has_connections_of_its_own(http: Http, base: str) -> None:
    async def elsewhere() -> bytes:
        body = (await http.fetch("wiki", base + "/ok")).body
        await http.aclose()
        return body

    await http.fetch("wiki", base + "/ok")
    assert await asyncio.to_thread(asyncio.run, elsewhere()) == TEXT
    assert (await http.fetch("wiki", base + "/ok")).body == TEXT


@pytest.mark.parametrize("entry", ["", "http://wiki/", "a b", "wiki:0", "wiki:x", "[::1", "169.254.169.254", "a/b"])
def test_an_unreadable_allowed_host_is_a_wrong_setting(entry: str) -> None:
    with pytest.raises(SettingError, match=r"^http\.allowed"):
        read(HttpSettings, {"allowed": [entry]}, "http")


def test_a_user_agent_that_would_split_the_header_is_a_wrong_setting() -> None:
    with pytest.raises(SettingError, match=r"^http\.user_agent"):
        read(HttpSettings, {"user_agent": "a\r\nX-Evil: 1"}, "http")
