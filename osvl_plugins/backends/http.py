"""HTTP for every backend: one client with deadlines, retries, bounds and, for addresses from outside, a guard."""

from __future__ import annotations

import asyncio
import json as jsonlib
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import Field, field_validator
from yarl import URL

from osvl_plugins.backends.body import ENCODINGS, read_body
from osvl_plugins.backends.failures import Failure, from_error, from_status
from osvl_plugins.backends.guard import GuardResolver, check_url, read_allowed
from osvl_plugins.errors import ErrorKind, ToolError
from osvl_plugins.settings import Settings

if TYPE_CHECKING:
    from osvl_plugins.backends.budget import Budgets

MAX_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
# Headers that a redirect to another origin still gets; any other may be a credential.
_PORTABLE = frozenset(("accept", "accept-language", "user-agent"))
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
# Of its own, so that the number of retries leaves the seeded generators of a run alone.
_RANDOM = random.Random()
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 8.0


class HttpSettings(Settings):
    """Bounds of every request."""

    connect_s: float = Field(default=10.0, gt=0)
    """Longest wait for a connection to one address, TLS included."""
    idle_s: float = Field(default=10.0, gt=0)
    """Longest silence of a fetched page's server. A configured service may think until the deadline."""
    total_s: float = Field(default=30.0, gt=0)
    """Deadline of a call that names none: its waits, attempts and redirects together."""
    attempts: int = Field(default=3, ge=1, le=10)
    """Most attempts of one request."""
    max_bytes: int = Field(default=10_000_000, ge=1)
    """Most bytes of an answer's body, both as it travels and unpacked."""
    connections: int = Field(default=512, ge=1)
    """Most open connections of a process to services, and as many to fetched pages."""
    allowed: tuple[str, ...] = ()
    """Hosts (``wiki.example.com``, ``10.1.2.3:8080``) that pages may be fetched from though their addresses are
    private. Exact names; a name alone means ports 80 and 443."""
    user_agent: str = Field(default="osvl-plugins/0.1", max_length=256, pattern=r"^[!-~][ -~]*$")
    """What the client calls itself. Some sites, Wikimedia's for one, refuse clients that give no contact in it."""

    @field_validator("allowed")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        read_allowed(entries)
        return entries


@dataclass(frozen=True)
class Response:
    """An answer with a status of 200 to 299, read to its end and unpacked.

    ``url`` is the address that answered, without parameters that were given apart from it.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    provider: str = "the service"

    def json(self) -> Any:
        """The body as JSON. Raises ``ToolError`` of kind ``failed`` when it is none."""
        try:
            return jsonlib.loads(self.body)
        except (ValueError, RecursionError):
            raise ToolError("failed", f"{self.provider}: the answer is not JSON") from None


class _Sessions(NamedTuple):
    trusted: aiohttp.ClientSession
    guarded: aiohttp.ClientSession


_Send = Callable[[], AbstractAsyncContextManager[aiohttp.ClientResponse]]


class Http:
    """The client that all backends of a process share.

    Every event loop that uses it has connections of its own, opened on first use; it awaits ``aclose`` before it
    ends. ``budgets`` gives every attempt its turn. ``resolver`` replaces the system's and stays its owner's to close.

    Both kinds of request raise ``ToolError``: ``timeout`` at the deadline or after a silence, ``rate_limited`` for
    status 429, ``unavailable`` when the server cannot be reached or breaks, ``not_found`` for 404 and 410, ``limit``
    for a body that is too large, ``failed`` for anything else that is no good answer. Status 429, 5xx and broken
    connections are tried again after a jittered, growing pause or what ``Retry-After`` asks for, unless that would
    outlast the deadline. A request may therefore reach its server more than once.
    """

    def __init__(self, settings: HttpSettings, budgets: Budgets, resolver: AbstractResolver | None = None) -> None:
        self.settings = settings
        self._budgets = budgets
        self._resolver = resolver
        self._allowed = read_allowed(settings.allowed)
        self._sessions: dict[asyncio.AbstractEventLoop, _Sessions] = {}

    async def call(
        self,
        provider: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        deadline_s: float | None = None,
    ) -> Response:
        """Ask a configured service: ``url`` is trusted, redirects are not followed.

        Besides the kinds above, status 401 and 403 are ``unavailable``: the service's key is wrong.
        """
        session = self._open().trusted
        send = partial(
            session.request,
            method,
            url,
            headers=headers,
            params=params,
            json=json,
            data=data,
            allow_redirects=False,
        )

        async def ask(until: float) -> Response:
            response = await self._request(provider, url, send, until)
            if response.status in (401, 403):
                problem = f"it refuses the credentials (status {response.status}); check the setting of its key"
                raise ToolError("unavailable", f"{provider}: {problem}")
            if response.status in _REDIRECTS:
                problem = f"it has moved (status {response.status}); check the setting of its address"
                raise ToolError("unavailable", f"{provider}: {problem}")
            return _good(response)

        return await self._within(provider, deadline_s, ask)

    async def fetch(
        self,
        provider: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
    ) -> Response:
        """GET an address that came from outside, behind the guard.

        Up to ``MAX_REDIRECTS`` redirects are followed, each checked like the first address. One from https to http
        is followed: the request is anonymous, and at another origin only ``Accept``, ``Accept-Language`` and
        ``User-Agent`` of ``headers`` are kept.

        Besides the kinds above, what ``check_url`` raises, and ``denied`` for status 401 and 403.
        """
        session = self._open().guarded

        async def follow(until: float) -> Response:
            target, sent = check_url(url, self._allowed), dict(headers or {})
            for _ in range(MAX_REDIRECTS + 1):
                send = partial(session.get, target, headers=sent, allow_redirects=False)
                response = await self._request(provider, str(target), send, until)
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or not location:
                    break
                origin, target = target.origin(), self._redirected(provider, target, location)
                if target.origin() != origin:
                    sent = {name: value for name, value in sent.items() if name.lower() in _PORTABLE}
            else:
                raise ToolError("failed", f"{provider}: more than {MAX_REDIRECTS} redirects")
            if response.status in (401, 403):
                raise ToolError("denied", f"{provider}: the site refuses access (status {response.status})")
            return _good(response)

        return await self._within(provider, deadline_s, follow)

    async def aclose(self) -> None:
        """Close the connections of the running event loop; no call of that loop may be under way."""
        sessions = self._sessions.pop(asyncio.get_running_loop(), None)
        for session in sessions or ():
            await session.close()

    def _open(self) -> _Sessions:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            resolver = self._resolver or aiohttp.ThreadedResolver()
            # Two pools, so that a connection to a trusted address is never taken for a page.
            self._sessions[loop] = _Sessions(
                self._session(resolver, idle_s=None),
                self._session(GuardResolver(resolver, self._allowed), idle_s=self.settings.idle_s),
            )
        return self._sessions[loop]

    def _session(self, resolver: AbstractResolver, idle_s: float | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.settings.connections, resolver=resolver),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_s, sock_read=idle_s),
            headers={"User-Agent": self.settings.user_agent, "Accept-Encoding": ENCODINGS},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    async def _within(
        self, provider: str, deadline_s: float | None, work: Callable[[float], Awaitable[Response]]
    ) -> Response:
        seconds = self.settings.total_s if deadline_s is None else deadline_s
        try:
            return await asyncio.wait_for(work(asyncio.get_running_loop().time() + seconds), seconds)
        except asyncio.TimeoutError:
            raise ToolError("timeout", f"{provider}: no complete answer within {seconds:g} s") from None

    async def _request(self, provider: str, url: str, send: _Send, until: float) -> Response:
        """The first answer that is worth no other attempt; its body is read only if its status is good."""
        attempt = 1
        while True:
            outcome = await self._attempt(provider, url, send)
            if isinstance(outcome, Response):
                return outcome
            longest = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
            pause = outcome.wait_s + _RANDOM.uniform(0.5, 1.0) * longest
            left = until - asyncio.get_running_loop().time()
            if not outcome.again or attempt == self.settings.attempts or pause >= left:
                raise outcome.error
            await asyncio.sleep(pause)
            attempt += 1

    async def _attempt(self, provider: str, url: str, send: _Send) -> Response | Failure:
        try:
            async with self._budgets.slot(provider), send() as response:
                failure = from_status(provider, response.status, response.headers)
                if failure is not None:
                    return failure
                good = 200 <= response.status < 300
                body = await read_body(provider, response, self.settings.max_bytes) if good else b""
                return Response(response.status, url, response.headers, body, provider)
        except (aiohttp.ClientError, aiohttp.http.HttpProcessingError, asyncio.TimeoutError) as error:
            return from_error(provider, error)

    def _redirected(self, provider: str, source: URL, location: str) -> URL:
        # Servers send raw spaces and raw UTF-8, which aiohttp hands over as surrogates.
        escaped = quote(location.encode("utf-8", "surrogateescape"), safe=_PRINTABLE)
        try:
            return check_url(urljoin(str(source), escaped), self._allowed)
        except ValueError:
            raise ToolError("failed", f"{provider}: a redirect leads to no address") from None
        except ToolError as error:
            # An address that the server made up is not the caller's mistake.
            kind: ErrorKind = "denied" if error.kind == "denied" else "failed"
            raise ToolError(kind, f"{provider}: a redirect is not followed: {error}") from None


def _good(response: Response) -> Response:
    """``response`` if its status says so. Raises ``not_found`` or ``failed`` if not."""
    if 200 <= response.status < 300:
        return response
    if response.status in (404, 410):
        raise ToolError(
            "not_found", f"{response.provider}: there is nothing at this address (status {response.status})"
        )
    raise ToolError("failed", f"{response.provider}: the request was not accepted (status {response.status})")
