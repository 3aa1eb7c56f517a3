from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from aiohttp.abc import ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from osvl_plugins.backends.guard import MAX_URL, Endpoint, GuardResolver, check_url, is_public, read_allowed
from osvl_plugins.errors import ToolError
from tests.backends.addresses import DENIED, GOOD, UNREADABLE
from tests.backends.names import Names


@pytest.mark.parametrize("url", [pytest.param(url, id=name) for name, url in DENIED.items()])
def test_an_address_that_is_not_public_is_denied(url: str) -> None:
    with pytest.raises(ToolError) as caught:
        check_url(url)
    assert caught.value.kind == "denied"


@pytest.mark.parametrize("url", [pytest.param(url, id=name) for name, url in UNREADABLE.items()])
def test_what_is_no_address_is_a_bad_argument(url: str) -> None:
    with pytest.raises(ToolError) as caught:
        check_url(url)
    assert caught.value.kind == "bad_arguments"


@pytest.mark.parametrize(("url", "canonical"), [pytest.param(*pair, id=name) for name, pair in GOOD.items()])
def test_a_public_address_passes_in_canonical_form(url: str, canonical: str) -> None:
    assert str(check_url(url)) == canonical
    assert check_url(str(check_url(url))) == check_url(url)


def test_an_address_that_is_too_long_is_over_a_limit() -> None:
    with pytest.raises(ToolError) as caught:
        check_url("http://example.com/" + "a" * MAX_URL)
    assert caught.value.kind == "limit"


def test_messages_show_no_path_and_no_query() -> None:
    for url in ("http://127.0.0.1/?key=secret", "http://u:secret@example.com/", "http://a b/?key=secret"):
        with pytest.raises(ToolError) as caught:
            check_url(url)
        assert "secret" not in str(caught.value)


def spellings(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[str]:
    """Ways to write ``address`` as the host of a URL."""
    value = int(address)
    if isinstance(address, ipaddress.IPv6Address):
        for text in (str(address), address.exploded, address.exploded.upper()):
            yield f"[{text}]"
        yield f"[{address.exploded[:30]}{ipaddress.IPv4Address(value & 0xFFFFFFFF)}]"
        yield f"[{address}%25lo]"
        return
    parts = address.packed
    full_width = str.maketrans("0123456789.", "０１２３４５６７８９。")
    plain = [
        str(address),
        str(value),
        hex(value),
        f"0{value:o}",
        ".".join(map(hex, parts)),
        ".".join(f"0{part:o}" for part in parts),
        ".".join(f"{part:#010x}" for part in parts),
        f"{parts[0]}.{value & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]:#x}.{value & 0xFFFF}",
    ]
    for text in plain:
        yield text
        yield text + "."
        yield text.upper()
        yield text.translate(full_width)
        yield "".join(f"%{ord(char):02x}" for char in text)
        yield quote(text.translate(full_width))
    yield f"[::ffff:{address}]"
    yield f"[::{address}]"
    yield f"[::ffff:0:{address}]"
    yield f"[64:ff9b::{address}]"
    yield f"[64:ff9b:1::{address}]"
    yield f"[{ipaddress.IPv6Address((0x2002 << 112) | (value << 80))}]"
    yield f"[{ipaddress.IPv6Address((0x20010000 << 96) | (value ^ 0xFFFFFFFF))}]"


ADDRESSES = st.one_of(
    st.ip_addresses(),
    st.sampled_from(
        [*ipaddress.IPv4Address._constants._private_networks, *ipaddress.IPv6Address._constants._private_networks]  # type: ignore[attr-defined]
    ).flatmap(
        lambda network: st.integers(int(network[0]), int(network[-1])).map(type(network[0])),
    ),
)


@given(ADDRESSES.filter(lambda address: not address.is_global))
def test_no_spelling_of_an_address_that_is_not_global_passes(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert not is_public(address)
    for host in spellings(address):
        for url in (f"http://{host}/", f"HTTPS://{host}:443", f"http://{host}#@example.com"):
            with pytest.raises(ToolError) as caught:
                check_url(url)
            assert caught.value.kind == "denied", url


@given(st.ip_addresses().filter(is_public))
def test_all_plain_spellings_of_a_public_address_are_one(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    for host in spellings(address):
        if address.version == 4 and host.startswith("["):
            continue
        if "%25lo" not in host:
            assert check_url(f"http://{host}/").raw_host == str(address)


@given(st.text(alphabet="aA0.x1７ⓛ%2e@:/?#[]\\;＠／。\u00ad\t ", max_size=30))
def test_what_passes_is_read_alike_by_the_client(text: str) -> None:
    try:
        canonical = check_url(f"http://{text}")
    except ToolError:
        return
    again = URL(str(canonical))
    assert (again.scheme, again.raw_host, again.port) == (canonical.scheme, canonical.raw_host, canonical.port)
    assert again.raw_user is None


async def resolve(answers: list[list[str]], host: str = "example.com", port: int = 80, *allowed: str) -> list[str]:
    """The addresses that the guard lets through."""
    guard = GuardResolver(Names({host: answers}), read_allowed(allowed))
    return [result["host"] for result in await guard.resolve(host, port, socket.AF_UNSPEC)]


async def test_public_addresses_of_a_name_pass() -> None:
    assert await resolve([["8.8.8.8", "2606:4700::1111"]]) == ["8.8.8.8", "2606:4700::1111"]


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1", "8.8.8.8"], ["fe80::1%eth0"], ["::ffff:8.8.8.8"], ["nonsense"]],
    ids=" and ".join,
)
async def test_one_refused_address_of_a_name_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(ToolError) as caught:
        await resolve([addresses])
    assert caught.value.kind == "denied"
    assert not any(address in str(caught.value) for address in addresses)


async def test_a_name_without_addresses_is_no_address() -> None:
    with pytest.raises(OSError, match="no address"):
        await resolve([[]])


async def test_every_answer_of_a_name_that_changes_is_checked() -> None:
    guard = GuardResolver(Names({"example.com": [["8.8.8.8"], ["127.0.0.1"]]}))
    first: list[ResolveResult] = await guard.resolve("example.com", 80)
    assert [result["host"] for result in first] == ["8.8.8.8"]
    with pytest.raises(ToolError, match="not public"):
        await guard.resolve("example.com", 80)


def test_an_allowed_name_passes_on_the_web_ports_only() -> None:
    allowed = read_allowed(["Wiki.Corp."])
    assert check_url("http://wiki.corp/", allowed).raw_host == "wiki.corp"
    assert check_url("https://wiki.corp/", allowed).port == 443
    with pytest.raises(ToolError, match="port 8080"):
        check_url("http://wiki.corp:8080/", allowed)


def test_an_allowed_port_is_the_only_one() -> None:
    allowed = read_allowed(["wiki.corp:8080"])
    assert check_url("http://wiki.corp:8080/", allowed).port == 8080
    with pytest.raises(ToolError, match="private network"):
        check_url("http://wiki.corp/", allowed)


@pytest.mark.parametrize("host", ["a.wiki.corp", "corp", "wiki.corp.local", "xwiki.corp", "wiki.corp.corp", "wiki"])
def test_an_allowed_name_is_exact(host: str) -> None:
    with pytest.raises(ToolError, match="private network"):
        check_url(f"http://{host}/", read_allowed(["wiki.corp"]))


async def test_an_allowed_name_may_lead_to_private_addresses_at_its_port() -> None:
    inside = [["10.0.0.1", "fd12::1", "127.0.0.1", "100.64.0.1", "8.8.8.8"]]
    assert await resolve(inside, "wiki.corp", 8080, "wiki.corp:8080") == inside[0]
    with pytest.raises(ToolError, match="not public"):
        await resolve(inside, "wiki.corp", 80, "wiki.corp:8080")


@pytest.mark.parametrize("address", ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"])
async def test_an_allowed_name_never_leads_to_a_metadata_service(address: str) -> None:
    with pytest.raises(ToolError, match="not public"):
        await resolve([[address]], "wiki.corp", 80, "wiki.corp")


def test_an_allowed_address_passes_in_every_spelling_and_no_other_does() -> None:
    allowed = read_allowed(["127.0.0.1:8080", "[::1]:8080"])
    assert check_url("http://127.1:8080/", allowed) == check_url("http://0x7f000001:8080/", allowed)
    assert check_url("http://[0:0::1]:8080/", allowed).raw_host == "::1"
    for url in ("http://127.0.0.1/", "http://127.0.0.2:8080/", "http://[::ffff:127.0.0.1]:8080/"):
        with pytest.raises(ToolError):
            check_url(url, allowed)


def test_allowed_hosts_are_read_into_endpoints() -> None:
    assert read_allowed(["wiki", "[::1]:1"]) == {Endpoint("wiki", 80), Endpoint("wiki", 443), Endpoint("::1", 1)}


@pytest.mark.parametrize("entry", ["", "http://wiki", "a b", "wiki:0", "wiki:x", "[::1", "169.254.169.254", "0.0.0.0"])
def test_an_allowed_host_that_cannot_be_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is"):
        read_allowed([entry])
