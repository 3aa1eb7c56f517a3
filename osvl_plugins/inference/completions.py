"""Turns from an OpenAI-compatible server: streamed, with deadlines, retries and typed failures."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import aiohttp

from osvl_plugins.backends.budget import Budgets
from osvl_plugins.backends.failures import Failure, from_error, from_status
from osvl_plugins.backends.http import HttpSettings
from osvl_plugins.backends.remote import bearer
from osvl_plugins.conversation import Message
from osvl_plugins.errors import ContextLimit, PolicyError, ToolError

PROVIDER = "policy"
"""Its name in ``osvl.services.budgets``."""
MAX_ERROR_BYTES = 20_000
MAX_SHOWN = 300
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
_TOO_LONG = re.compile(
    r"context_length_exceeded|context (length|window|size)|maximum model length|longer than the model|"
    r"prompt is too long|too many (input )?tokens",
    re.IGNORECASE,
)
"""How servers say that a prompt does not fit (vLLM, SGLang, providers): there is no code that all of them send."""
# Of its own, so that the number of retries leaves the seeded generators of a run alone.
_RANDOM = random.Random()


@dataclass(frozen=True)
class ChatModel:
    """A model behind an OpenAI-compatible server, and how its turns are sampled."""

    url: str
    """Base address of the API, as in ``http://localhost:8000/v1``."""
    name: str
    """Name of the model on that server."""
    key_env: str = ""
    """Environment variable that holds the key; empty for a server that asks for none."""
    temperature: float = 0.0
    top_p: float = 1.0
    max_turn: int = 4096
    """Most tokens of a turn."""
    deadline_s: float = 1800.0
    """Seconds for a turn, with all retries and the wait for the budget."""
    tools: Literal["words", "field"] = "words"
    """How tools reach the model where the wire profile leaves them to the chat template: in the words of Qwen's
    templates, or by ``tools`` and role ``tool`` for a server that puts both through the model's own template."""


class ChatClient:
    """Asks ``model`` for turns. It belongs to one event loop; ``async with`` closes its connections.

    ``http`` bounds connections, attempts and bytes; ``budgets`` gives every attempt its turn as provider ``policy``.
    """

    def __init__(self, model: ChatModel, http: HttpSettings, budgets: Budgets) -> None:
        self.model = model
        self._http = http
        self._budgets = budgets
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; no turn may be under way."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def turn(
        self, messages: Sequence[Message], tools: list[dict[str, Any]] | None, heard: Callable[[str | None], None]
    ) -> str:
        """What the model writes after ``messages``, cut at ``max_turn`` tokens. An empty turn that it ended is a turn.

        Status 429, 5xx and broken connections are tried again after a growing pause or what ``Retry-After`` asks for.
        Raises ``ContextLimit`` when the messages do not fit, and ``PolicyError`` for a refusal, a server that parses
        the turn by itself, or no turn within the attempts or the deadline.
        """
        body: dict[str, Any] = {
            "model": self.model.name,
            "messages": list(messages),
            "temperature": self.model.temperature,
            "top_p": self.model.top_p,
            "max_tokens": self.model.max_turn,
            "stream": True,
        }
        if tools:
            body["tools"] = tools
        try:
            return await asyncio.wait_for(self._bounded(body, heard), self.model.deadline_s)
        except asyncio.TimeoutError:
            raise PolicyError(f"{self.model.name}: no whole turn within {self.model.deadline_s:g} s") from None

    async def _bounded(self, body: dict[str, Any], heard: Callable[[str | None], None]) -> str:
        try:
            return await self._asked(body, heard)
        except ContextLimit:
            # vLLM refuses a prompt that fits when it does not fit together with max_tokens. Without them the turn may
            # take what room is left, which is less.
            del body["max_tokens"]
            return await self._asked(body, heard)

    async def _asked(self, body: dict[str, Any], heard: Callable[[str | None], None]) -> str:
        attempt = 1
        while True:
            outcome = await self._attempt(body, heard)
            if isinstance(outcome, str):
                return outcome
            if not outcome.again or attempt >= self._http.attempts:
                raise PolicyError(f"{self.model.name}: {outcome.error}")
            heard(None)
            longest = min(FIRST_PAUSE_S * 2 ** (attempt - 1), LONGEST_PAUSE_S)
            await asyncio.sleep(outcome.wait_s + _RANDOM.uniform(0.5, 1.0) * longest)
            attempt += 1

    async def _attempt(self, body: dict[str, Any], heard: Callable[[str | None], None]) -> str | Failure:
        session, url = self._open(), self.model.url.rstrip("/") + "/chat/completions"
        try:
            headers = bearer(PROVIDER, self.model.key_env)
            async with (
                self._budgets.slot(PROVIDER),
                session.post(url, json=body, headers=headers, allow_redirects=False) as response,
            ):
                failure = from_status(PROVIDER, response.status, response.headers)
                if failure is not None:
                    return failure
                if response.status != 200:
                    said = (await response.content.read(MAX_ERROR_BYTES)).decode("utf-8", "replace")
                    raise self._refused(said, response.status)
                return await self._read(response, heard)
        except ToolError as error:
            return Failure(error)
        except (aiohttp.ClientError, asyncio.TimeoutError) as error:
            return from_error(PROVIDER, error)

    async def _read(self, response: aiohttp.ClientResponse, heard: Callable[[str | None], None]) -> str | Failure:
        if response.content_type != "text/event-stream":
            raise PolicyError(f"{self.model.name}: the server sends no event stream but {response.content_type}")
        thoughts: list[str] = []
        pieces: list[str] = []
        ended = ""
        async for event in self._events(response):
            if "error" in event:
                raise self._refused(json.dumps(event["error"], ensure_ascii=False), 200)
            choice = (event.get("choices") or [{}])[0]
            delta = choice.get("delta") or {}
            ended = choice.get("finish_reason") or ended
            if delta.get("tool_calls"):
                raise PolicyError(
                    f"{self.model.name}: the server reads tool calls by itself; start it without a tool call parser"
                )
            if delta.get("refusal") or ended == "content_filter":
                raise PolicyError(f"{self.model.name}: the server refuses: {str(delta.get('refusal'))[:MAX_SHOWN]}")
            # A reasoning parser took the tags off and sent what was between them apart.
            thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
            text = delta.get("content") or ""
            if thought:
                heard(thought if thoughts else f"<think>{thought}")
                thoughts.append(thought)
            if text:
                heard(f"</think>{text}" if thoughts and not pieces else text)
                pieces.append(text)
        if not ended:
            return Failure(ToolError("unavailable", f"{PROVIDER}: the connection broke within the turn"), True)
        return (f"<think>{''.join(thoughts)}</think>" if thoughts else "") + "".join(pieces)

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
        """The JSON objects of an event stream (HTML standard, 9.2), up to ``[DONE]``."""
        arrived, rest = 0, b""
        async for chunk in response.content.iter_any():
            arrived += len(chunk)
            if arrived > self._http.max_bytes:
                raise PolicyError(f"{self.model.name}: the turn is over {self._http.max_bytes} bytes")
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                data = line.strip().removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                if not line.startswith(b"data:") or not data:
                    continue
                try:
                    event = json.loads(data)
                except (ValueError, RecursionError):
                    raise PolicyError(f"{self.model.name}: an event of the stream is not JSON") from None
                if isinstance(event, dict):
                    yield event

    def _refused(self, said: str, status: int) -> PolicyError:
        if _TOO_LONG.search(said):
            return ContextLimit(f"{self.model.name}: {said[:MAX_SHOWN]}")
        if status in (401, 403):
            return PolicyError(f"{self.model.name}: the server refuses the credentials (status {status})")
        return PolicyError(
            f"{self.model.name}: the server did not take the request (status {status}): {said[:MAX_SHOWN]}"
        )

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._http.connections, resolver=aiohttp.ThreadedResolver()),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._http.connect_s),
                headers={"User-Agent": self._http.user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session
