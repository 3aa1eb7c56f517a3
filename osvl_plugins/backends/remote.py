"""What live services have in common: a key from the environment, and a recorded call whose answer is checked."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from osvl_plugins.backends.http import Http, Response
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.recording_store import JSON
from osvl_plugins.errors import ToolError


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


Text = Annotated[str, BeforeValidator(_text)]
"""A field of an answer that is text; anything else there, such as null, is empty."""


class Answer(BaseModel):
    """Base of what is read from a service's answer: the fields that are used, of all that it holds."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    def check(self) -> None:
        """Raises ``ToolError`` when the answer, well-formed as it is, says that the service could not do its work."""


A = TypeVar("A", bound=Answer)


def secret(provider: str, variable: str) -> str:
    """The key of ``provider``: what the environment variable holds.

    Raises ``ToolError`` of kind ``unavailable`` that names the variable when it is not set or cannot be sent.
    """
    value = os.environ.get(variable, "").strip()
    if not (value and value.isascii() and value.isprintable()):
        problem = "holds no key; set it" if not value else "holds what cannot be a key"
        raise ToolError("unavailable", f"{provider}: the environment variable {variable} {problem}")
    return value


def bearer(provider: str, variable: str) -> dict[str, str]:
    """The header with the key in ``variable``, none where no variable is named. Raises as ``secret``."""
    return {"Authorization": f"Bearer {secret(provider, variable)}"} if variable else {}


class Endpoint(Protocol):
    """Where a service is, which environment variable holds its key, and the seconds for one call."""

    @property
    def url(self) -> str: ...
    @property
    def key_env(self) -> str: ...
    @property
    def deadline_s(self) -> float: ...


async def post(http: Http, provider: str, endpoint: Endpoint, path: str, body: Mapping[str, JSON]) -> Response:
    """The answer to ``body``, sent as JSON to ``path`` with the key as a bearer.

    Raises as ``bearer`` and ``Http.call`` do.
    """
    return await http.call(
        provider,
        "POST",
        endpoint.url.rstrip("/") + path,
        headers=bearer(provider, endpoint.key_env),
        json=body,
        deadline_s=endpoint.deadline_s,
    )


async def ask(
    recorder: Recorder,
    provider: str,
    answer: type[A],
    request: Mapping[str, JSON],
    send: Callable[[], Awaitable[Response]],
) -> A:
    """The answer to ``request``, from a recording or from ``send``; ``request`` is what identifies it there.

    ``send`` is not awaited, and needs no key, where a recording answers. Raises what ``Recorder.call`` raises, and
    ``ToolError``: what ``answer.check`` raises, and ``failed`` when the answer has not the form that it should have.
    """

    def read(body: bytes) -> A:
        try:
            found = answer.model_validate_json(body)
        except ValidationError as invalid:
            first = invalid.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ToolError("failed", f"{provider}: the answer cannot be read ({where}: {first['msg']})") from None
        found.check()
        return found

    async def fetch() -> bytes:
        body = (await send()).body
        read(body)  # what is no good answer is a failure: it is recorded as one, and never cached
        return body

    return read(await recorder.call(provider, request, fetch))
