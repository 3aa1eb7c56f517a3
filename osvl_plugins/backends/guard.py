"""The guard before addresses that come from outside: a model, a page, a redirect.

An address is read once, into a canonical form, and only that form is requested, so that no second reading of it can
lead elsewhere. Names are resolved behind the guard, every address found is checked, and the connection is made to
exactly those addresses: what a name leads to a moment later does not matter.

Sources: RFC 3986 (syntax), UTS #46 (names), the WHATWG URL standard (spellings of IPv4), the IANA registries of
special-purpose addresses.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import idna
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from osvl_plugins.errors import ToolError

Address = IPv4Address | IPv6Address

MAX_URL = 4096
"""Most characters of an address."""

_PORTS = {"http": 80, "https": 443}

_LOCAL_NAMES = frozenset(
    ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "home.arpa")
)
_METADATA_NAMES = frozenset(
    ("metadata.goog", "metadata.tencentyun.com", "metadata.platformequinix.com", "metadata.packet.net")
)
# Where clouds hand credentials to whoever asks. Some of them lie in ranges that are public or may be allowed.
_METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
_INSIDE = tuple(
    map(
        ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10", "fc00::/7", "::1/128"),
    )
)
# Everything of IPv6 outside 2000::/3 is refused as a whole: mapped and compatible IPv4, NAT64, link-local, multicast.
_UNICAST = ip_network("2000::/3")
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)

_ADDRESS = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?://(?P<authority>[^/?#]*)(?P<rest>[^#]*))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_PORT = re.compile(r"[0-9]{1,5}")


class Endpoint(NamedTuple):
    """A canonical host (no brackets around IPv6) and a port."""

    host: str
    port: int


def read_allowed(entries: Iterable[str]) -> frozenset[Endpoint]:
    """The endpoints that ``name`` or ``name:port`` stand for; a name alone means ports 80 and 443.

    Raises ``ValueError`` for an entry that is neither, or whose address can never be allowed.
    """
    endpoints: set[Endpoint] = set()
    for entry in entries:
        try:
            host, port = _split(entry)
        except ToolError as error:
            raise ValueError(f"{entry!r} is not a host or host:port ({error})") from None
        literal = _literal(host)
        if literal is not None and not (is_public(literal) or _is_inside(literal)):
            raise ValueError(f"{entry!r} is an address that is never allowed")
        endpoints.update(Endpoint(host, each) for each in ((port,) if port else _PORTS.values()))
    return frozenset(endpoints)


def check_url(url: str, allowed: Collection[Endpoint] = ()) -> URL:
    """``url`` in canonical form, without its fragment, if it may be requested.

    Public hosts pass on ports 80 and 443, endpoints in ``allowed`` also with addresses of private networks. Where
    the host is a name, its addresses are still to be checked (``GuardResolver``).

    Raises ``ToolError``: ``bad_arguments`` for what is no absolute address, ``limit`` for one that is too long,
    ``denied`` for a scheme, a user name, a port, a name or an address that is not allowed.
    """
    if len(url) > MAX_URL:
        raise ToolError("limit", f"the address has {len(url)} characters, over {MAX_URL}")
    if any(char == "\\" or char.isspace() or ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in url):
        raise _unreadable("it holds a space, a backslash or a control character; percent-encode them")
    parts = _ADDRESS.match(url)
    if parts is None:
        raise _unreadable("it does not start with http:// or https://")
    scheme = parts["scheme"].lower()
    if scheme not in _PORTS:
        raise _denied("only http and https are")
    if not parts["authority"]:
        raise _unreadable("it names no host")
    if "@" in parts["authority"]:
        raise _denied("it holds a user name or a password")
    host, named_port = _split(parts["authority"])
    endpoint = Endpoint(host, named_port or _PORTS[scheme])
    _check_endpoint(endpoint, allowed)
    shown = f"[{host}]" if ":" in host else host
    if endpoint.port != _PORTS[scheme]:
        shown += f":{endpoint.port}"
    rest = parts["rest"] if parts["rest"].startswith("/") else "/" + parts["rest"]
    try:
        canonical = URL(f"{scheme}://{shown}{rest}")
    except ValueError:
        raise _unreadable("its path or query is malformed") from None
    if (canonical.raw_host, canonical.port) != endpoint:
        raise _denied("its host can be read in two ways")
    return canonical


def is_public(address: Address) -> bool:
    """Whether ``address`` is one of the public internet: unicast, in no special-purpose range, no metadata service."""
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address.scope_id is not None):
        return False
    return address.is_global and address not in _METADATA and not any(address in network for network in _SPECIAL)


class GuardResolver(AbstractResolver):
    """Resolves by ``inner`` and refuses a name unless every address it leads to is allowed.

    A client that connects through it connects to addresses that were checked. It does not see hosts that are
    addresses already, which are for ``check_url``. ``inner`` stays its owner's to close.
    """

    def __init__(self, inner: AbstractResolver, allowed: Collection[Endpoint] = ()) -> None:
        self._inner = inner
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The checked addresses. Raises ``ToolError`` ``denied``, and ``OSError`` when there are none."""
        found = await self._inner.resolve(host, port, family)
        if not found:
            raise OSError(None, "the name leads to no address")
        inside = Endpoint(host, port) in self._allowed
        for result in found:
            try:
                address = ip_address(result["host"])
            except ValueError:
                raise _denied(f"{host} does not lead to an address") from None
            if not (is_public(address) or (inside and _is_inside(address))):
                raise _denied(f"{host} leads to an address that is not public")
        return found

    async def close(self) -> None:
        """Nothing to close."""


def _check_endpoint(endpoint: Endpoint, allowed: Collection[Endpoint]) -> None:
    """Raises ``denied`` when no request may go there whatever its name resolves to."""
    listed = endpoint in allowed
    if endpoint.port not in _PORTS.values() and not listed:
        raise _denied(f"port {endpoint.port} is not; 80 and 443 are")
    literal = _literal(endpoint.host)
    if literal is not None:
        if not (is_public(literal) or (listed and _is_inside(literal))):
            raise _denied(f"{endpoint.host} is not a public address")
    elif not listed:
        labels = endpoint.host.split(".")
        suffixes = {".".join(labels[start:]) for start in range(len(labels))}
        if len(labels) == 1 or suffixes & _LOCAL_NAMES or suffixes & _METADATA_NAMES:
            raise _denied(f"{endpoint.host} is a name of a private network")


def _split(authority: str) -> tuple[str, int | None]:
    """Canonical host and the port, if one is named. Raises ``bad_arguments`` for anything else."""
    if authority.startswith("["):
        text, bracket, tail = authority[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _unreadable("its IPv6 address has no end")
        host, port = _ipv6(text), tail[1:]
    else:
        name, _, port = authority.partition(":")
        host = _host(name)
    if not port:
        return host, None
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise _unreadable("its port is not a number from 1 to 65535")
    return host, int(port)


def _ipv6(text: str) -> str:
    if "%" in text:
        raise _denied("an IPv6 address with a scope is one of a private network")
    try:
        return str(IPv6Address(text))
    except AddressValueError:
        raise _unreadable("its IPv6 address is malformed") from None


def _host(text: str) -> str:
    """A name in ASCII and lower case, or an IPv4 address with four decimal numbers."""
    try:
        name = idna.uts46_remap(unquote_to_bytes(text).decode(), std3_rules=False).removesuffix(".")
        labels = [label if label.isascii() else idna.alabel(label).decode() for label in name.split(".")]
    except (UnicodeError, idna.IDNAError):
        raise _unreadable("its host name is malformed") from None
    if not all(_LABEL.fullmatch(label) for label in labels) or sum(map(len, labels)) + len(labels) > 254:
        raise _unreadable("its host name is malformed")
    return _ipv4(labels) if _NUMBER.fullmatch(labels[-1]) else ".".join(labels)


def _ipv4(labels: list[str]) -> str:
    """One to four decimal, octal or hexadecimal numbers, of which the last fills what the others leave."""
    try:
        numbers = [_number(label) for label in labels]
        *leading, last = numbers
        if len(numbers) > 4 or any(number > 255 for number in leading) or last >= 256 ** (5 - len(numbers)):
            raise ValueError
        value = last + sum(number << (24 - 8 * place) for place, number in enumerate(leading))
    except ValueError:
        raise _unreadable("its host is neither a name nor an IPv4 address") from None
    return str(IPv4Address(value))


def _number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_inside(address: Address) -> bool:
    """Whether an operator may allow ``address``: this machine or a private network, no metadata service."""
    return address not in _METADATA and any(address in network for network in _INSIDE)


def _unreadable(problem: str) -> ToolError:
    return ToolError("bad_arguments", f"cannot read the address: {problem}")


def _denied(problem: str) -> ToolError:
    return ToolError("denied", f"the address is not allowed: {problem}")
