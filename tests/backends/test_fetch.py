from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from osvl_plugins.backends.http import Http
from osvl_plugins.errors import ToolError
from tests.backends.asking import Client, kind, requests
from tests.backends.certificate import self_signed
from tests.backends.misbehaving import TEXT, misbehaving_server
from tests.backends.names import Names

pytestmark = pytest.mark.usefixtures("nothing_leaks")


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("http://169.254.169.254/latest/", id="metadata"),
        pytest.param("http://127.0.0.1/", id="this-machine"),
        pytest.param("//[::1]/", id="ipv6-without-scheme"),
        pytest.param("http://ⓛocalhost/", id="unicode"),
        pytest.param("http://2130706433/", id="decimal"),
        pytest.param("http://user@example.com/", id="user-name"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("http://inside.example.com/", id="name-of-a-private-address"),
    ],
)
async def test_a_redirect_to_a_private_address_is_denied(client: Client, base: str, target: str) -> None:
    http = client(base, Names({"inside.example.com": [["10.0.0.1"]]}))
    with pytest.raises(ToolError) as caught:
        await http.fetch("wiki", f"{base}/redirect?to={quote(target)}")
    assert caught.value.kind == "denied"


async def test_a_redirect_to_another_port_of_an_allowed_host_is_denied(http: Http, base: str) -> None:
    asked = http.fetch("wiki", f"{base}/redirect?to=" + quote("http://127.0.0.1:1/"))
    assert await kind(asked) == "denied"


async def test_a_redirect_to_no_address_fails(http: Http, base: str) -> None:
    for target in ("http://[", "http://[::1", "http://[v1.x]/", "http://a..b/"):
        assert await kind(http.fetch("wiki", f"{base}/redirect?to={quote(target)}")) == "failed"


async def test_a_redirect_without_a_target_fails(http: Http, base: str) -> None:
    assert await kind(http.fetch("wiki", base + "/status?is=302")) == "failed"


@pytest.mark.parametrize("target", ["/ok", "ok", "//{host}/ok", "http://{host}/ok#top", "/ok?q=a b"])
async def test_a_redirect_to_an_allowed_address_is_followed(http: Http, base: str, target: str) -> None:
    target = target.format(host=base.removeprefix("http://"))
    response = await http.fetch("wiki", f"{base}/redirect?to={quote(target)}")
    assert (response.body, response.url.partition("?")[0]) == (TEXT, base + "/ok")


async def test_a_redirect_loop_ends(http: Http, base: str) -> None:
    assert await kind(http.fetch("wiki", base + "/loop")) == "failed"
    assert await requests(http, base, "/loop") == 6


async def test_a_redirect_to_another_origin_gets_no_credentials(client: Client, base: str) -> None:
    async with misbehaving_server() as other:
        http = client(base, allowed=(base.removeprefix("http://"), other.removeprefix("http://")))
        sent = {"Authorization": "secret", "X-Key": "secret", "Accept-Language": "de"}
        same = await http.fetch("wiki", f"{base}/redirect?to=/echo", headers=sent)
        away = await http.fetch("wiki", f"{base}/redirect?to={quote(other + '/echo')}", headers=sent)
    assert same.body.count(b"secret") == 2
    assert away.body.count(b"secret") == 0
    assert away.json()["headers"]["accept-language"] == "de"


async def test_a_name_is_asked_for_once_and_its_host_is_sent(client: Client, base: str) -> None:
    port = base.rpartition(":")[2]
    names = Names({"wiki.example.com": [["127.0.0.1"], ["10.0.0.1"]]})
    http = client(base, names, allowed=(f"wiki.example.com:{port}",))
    seen = (await http.fetch("wiki", f"http://wiki.example.com:{port}/echo")).json()
    assert seen["headers"]["host"] == f"wiki.example.com:{port}"
    assert names.asked == ["wiki.example.com"]


async def test_a_secure_connection_names_the_host_that_was_asked_for(client: Client, tmp_path: Path) -> None:
    seen: list[str | None] = []
    context = self_signed(tmp_path, "wiki.example.com")
    context.sni_callback = lambda connection, name, _: seen.append(name)  # type: ignore[assignment, misc, func-returns-value]
    async with misbehaving_server(context) as base:
        port = base.rpartition(":")[2]
        names = Names({"wiki.example.com": [["127.0.0.1"]]})
        http = client(base, names, allowed=(f"wiki.example.com:{port}",))
        assert await kind(http.fetch("wiki", f"https://wiki.example.com:{port}/ok")) == "unavailable"
    assert seen == ["wiki.example.com"]


async def test_a_connection_of_a_call_is_not_taken_for_a_page(client: Client, base: str) -> None:
    host = f"wiki.example.com:{base.rpartition(':')[2]}"
    http = client(base, Names({"wiki.example.com": [["127.0.0.1"], ["169.254.169.254"]]}), allowed=(host,))
    await http.call("wiki", "GET", f"http://{host}/ok")
    assert await kind(http.fetch("wiki", f"http://{host}/ok")) == "denied"
