"""An MCP server over a tool set, on stdin and stdout or as streamable HTTP.

Each session has its own pictures. Over HTTP a session is that of the protocol's handshake revisions (up to
2025-11-25): the 2026-07-28 revision has no sessions over HTTP, so the server does not advertise it there, and clients
that speak both take the older one. On stdin and stdout the process is the session, whichever revision is spoken.
"""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER
from mcp_types import (
    INTERNAL_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    CallToolRequestParams,
    CallToolResult,
    DiscoverResult,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    RequestParams,
    TextContent,
    Tool,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from PIL import Image
from starlette.applications import Starlette

from osvl_plugins import __version__
from osvl_plugins.errors import OsvlError
from osvl_plugins.images import ImageSettings, ImageStore
from osvl_plugins.mcp.open_image import MAX_DATA_CHARS, OpenImage
from osvl_plugins.threads import in_thread
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.tools.toolset import ToolSet
from osvl_plugins.trajectory import Observation, ToolCall

PATH = "/mcp"
MAX_SESSIONS = 32
"""Most open HTTP sessions; each may hold pictures."""
SESSION_IDLE_S = 1800.0
"""Seconds without a request after which an HTTP session ends and its pictures are dropped."""
MAX_PNG_BYTES = 150_000
"""A picture whose PNG is larger goes out as JPEG."""
PROGRESS_S = 5.0
"""Seconds between two notes of progress, for clients that ask for them."""

_INSTRUCTIONS = """Pictures are named img_1, img_2, ...; their size is given in pixels, width x height. \
Bring a picture in with open_image and pass it to the other tools by its name."""

Context = ServerRequestContext[Any, Any]


class ToolServer:
    """Answers the protocol's tool requests with ``tools`` and ``open_image``.

    ``folder`` is where ``open_image`` may open files; None for nowhere.
    Raises ``SettingError`` when it is no folder.
    """

    def __init__(self, tools: ToolSet, images: ImageSettings, folder: Path | None = None) -> None:
        self._tools = ToolSet([*tools.tools.values(), OpenImage(folder, images)], tools.settings, tools.aclose)
        self._images = images
        self._stores: dict[str, ImageStore] = {}
        self.listing = [
            Tool(name=function["name"], description=function["description"], input_schema=function["parameters"])
            for function in (schema["function"] for schema in self._tools.schemas)
        ]

    @property
    def sessions(self) -> int:
        """Number of sessions that hold pictures or may."""
        return len(self._stores)

    async def serve_stdio(self) -> None:
        """Serve one client on stdin and stdout, until it closes them."""
        server = self._server()
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    async def serve_http(self, listening: socket.socket) -> None:
        """Serve the path ``/mcp`` on ``listening``, until SIGINT or SIGTERM."""
        host = listening.getsockname()[0]
        config = uvicorn.Config(self.app(host), log_level="warning", timeout_graceful_shutdown=3)
        await uvicorn.Server(config).serve(sockets=[listening])

    def app(self, host: str) -> Starlette:
        """The ASGI application; on a loopback ``host`` it refuses requests that a web page sends by another name."""
        server = self._server()
        server.add_request_handler("server/discover", RequestParams, self._discover)
        return server.streamable_http_app(
            streamable_http_path=PATH,
            host=host,
            max_request_body_size=MAX_DATA_CHARS + 100_000,
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=SESSION_IDLE_S,
        )

    async def aclose(self) -> None:
        """End what the tools have started; a server that ends by itself has done so."""
        await self._tools.aclose()

    def _server(self) -> Server[Any]:
        return Server(
            "osvl",
            version=__version__,
            instructions=_INSTRUCTIONS,
            on_list_tools=self._list,
            on_call_tool=self._call,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, server: Server[Any]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.aclose()

    async def _discover(self, context: Context, params: RequestParams) -> DiscoverResult:
        return DiscoverResult(
            supported_versions=list(HANDSHAKE_PROTOCOL_VERSIONS),
            capabilities=self._server().get_capabilities(),
            instructions=_INSTRUCTIONS,
        )

    async def _list(self, context: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=self.listing)

    async def _call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        store = self._store(context)
        call = ToolCall(params.name, dict(params.arguments or {}))
        reporting = asyncio.ensure_future(self._report(context))
        try:
            observation = await self._tools.run(call, ToolContext(store))
        except OsvlError as error:
            raise MCPError(INTERNAL_ERROR, str(error)) from error
        finally:
            reporting.cancel()
        return await in_thread(_result, observation, store)

    async def _report(self, context: Context) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(PROGRESS_S)
            await context.session.report_progress(time.monotonic() - started, self._tools.settings.deadline_s)

    def _store(self, context: Context) -> ImageStore:
        if context.request is None:
            return self._stores.setdefault("", ImageStore(self._images))
        session = context.request.headers.get(MCP_SESSION_ID_HEADER)
        if session is None:
            raise MCPError(
                UNSUPPORTED_PROTOCOL_VERSION,
                "pictures are kept by session: connect with the initialize handshake",
                {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": context.protocol_version},
            )
        if session not in self._stores:
            self._stores[session] = ImageStore(self._images)
            # The SDK tells no handler that a session has ended, but it then lets go of the client's introduction.
            weakref.finalize(context.session.client_params, self._stores.pop, session, None)
        return self._stores[session]


def _result(observation: Observation, store: ImageStore) -> CallToolResult:
    views = [encode(store.view(image_id)) for image_id in observation.image_ids]
    return CallToolResult(
        content=[TextContent(text=observation.text), *views],
        is_error=observation.error is not None,
    )


def encode(image: Image.Image) -> ImageContent:
    """``image`` as PNG, or as JPEG where a PNG would be large."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    kind = "png"
    if buffer.tell() > MAX_PNG_BYTES:
        buffer, kind = io.BytesIO(), "jpeg"
        image.save(buffer, "JPEG", quality=90)
    return ImageContent(data=base64.b64encode(buffer.getvalue()).decode(), mime_type=f"image/{kind}")
