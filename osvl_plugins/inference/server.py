"""A model in this process behind the OpenAI chat API: ``osvl serve-model``, for a machine without vLLM or SGLang.

It has ``POST /v1/chat/completions``, streamed or whole, and ``GET /v1/models``. Pictures come as data URLs; no address
is fetched. A request is rendered by the model's own chat template, role ``tool`` and ``tools`` included, and what the
model writes is sent as it is: no parser takes calls or thoughts out. A turn is sampled whole before its first piece
is sent. Anything else that the API knows is ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from aiohttp import web
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from osvl_plugins.conversation import ChatTokens, Message
from osvl_plugins.errors import PolicyError, ToolError
from osvl_plugins.images import ImageSettings, decode
from osvl_plugins.threads import in_thread

if TYPE_CHECKING:
    from osvl_plugins.generation import BatchGenerator

MAX_BODY_BYTES = 256 * 2**20
MAX_IMAGES = 64
PIECE_CHARS = 16
"""Characters of one event of a stream."""
_DATA_URL = "data:image/"


class _Url(BaseModel):
    url: str


class _Words(BaseModel):
    type: Literal["text"]
    text: str


class _Picture(BaseModel):
    type: Literal["image_url"]
    image_url: _Url


_Part = Annotated[_Words | _Picture, Field(discriminator="type")]


class _Said(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[_Part]


class _Asked(BaseModel):
    messages: list[_Said] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stream: bool = False


class _Refused(Exception):
    def __init__(self, problem: str, code: str = "invalid_request") -> None:
        super().__init__(problem)
        self.code = code


@dataclass(frozen=True)
class ChatServer:
    """Serves ``generator``, whose processor ``chat`` has, under ``name``; a turn has ``deadline_s`` seconds."""

    generator: BatchGenerator
    chat: ChatTokens
    name: str
    deadline_s: float = 1800.0

    def app(self) -> web.Application:
        """The application, to be run by aiohttp."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        model = {"id": self.name, "object": "model", "max_model_len": self.generator.max_context}
        return web.json_response({"object": "list", "data": [model]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = _Asked.model_validate_json(await request.read())
            text, reason, usage = await self._turn(asked)
        except ValidationError as error:
            # The last is of the form that the request came closest to.
            last = error.errors(include_url=False, include_input=False)[-1]
            return _error(400, f"{'.'.join(map(str, last['loc']))}: {last['msg']}", "invalid_request")
        except _Refused as error:
            return _error(400, str(error), error.code)
        except PolicyError as error:
            return _error(500, str(error), "failed")
        head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": self.name}
        if not asked.stream:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        pieces = [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]
        deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
        deltas += [({"content": piece}, None) for piece in pieces]
        for delta, ended in [*deltas, ({}, reason)]:
            choice = {"index": 0, "delta": delta, "finish_reason": ended}
            event = {**head, "object": "chat.completion.chunk", "choices": [choice]}
            await response.write(b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _turn(self, asked: _Asked) -> tuple[str, Literal["stop", "length"], dict[str, int]]:
        from osvl_plugins.generation import Request
        from osvl_plugins.sampling import Sampling

        messages, images = await in_thread(_read, asked.messages)
        try:
            prompt_ids = await in_thread(self.chat.prompt, messages, images, asked.tools)
        except ValueError as error:
            raise _Refused(f"the chat template does not take these messages: {error}") from error
        room = self.generator.max_context - len(prompt_ids)
        if room < 1:
            raise _Refused(
                f"This model's maximum context length is {self.generator.max_context} tokens; the messages have "
                f"{len(prompt_ids)}.",
                "context_length_exceeded",
            )
        sampling = Sampling(asked.temperature, asked.top_p, max_new_tokens=min(asked.max_tokens or room, room))
        turn = await self.generator.generate(Request(prompt_ids, images, sampling), self.deadline_s)
        usage = {"prompt_tokens": len(prompt_ids), "completion_tokens": len(turn.token_ids)}
        ended = turn.token_ids[-1:] == [self.chat.end_of_turn]
        return self.chat.text(turn.token_ids), "stop" if ended else "length", usage


@asynccontextmanager
async def serving(server: ChatServer, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The base address (``http://127.0.0.1:8000/v1``) at which ``server`` answers, at any free port when ``port`` is 0.

    Raises ``OSError`` when it cannot listen there.
    """
    runner = web.AppRunner(server.app(), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


def _read(said: list[_Said]) -> tuple[list[Message], list[Image.Image]]:
    messages: list[Message] = []
    images: list[Image.Image] = []
    for message in said:
        content = [_Words(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        parts: list[dict[str, Any]] = []
        for part in content:
            if isinstance(part, _Picture):
                images.append(_picture(part.image_url.url))
                parts.append({"type": "image"})
            else:
                parts.append({"type": "text", "text": part.text})
        messages.append({"role": message.role, "content": parts})
    if len(images) > MAX_IMAGES:
        raise _Refused(f"more than {MAX_IMAGES} pictures")
    return messages, images


def _picture(url: str) -> Image.Image:
    head, comma, data = url.partition(";base64,")
    if not (comma and head.startswith(_DATA_URL)):
        raise _Refused("pictures must be data URLs in base64")
    try:
        return decode(base64.b64decode(data, validate=True), ImageSettings())
    except (binascii.Error, ToolError) as error:
        raise _Refused(f"a picture cannot be read: {error}") from error


def _error(status: int, message: str, code: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error" if status == 400 else "error", "code": code}}
    return web.json_response(body, status=status)
