"""The MCP server, driven by the SDK's own client: the real process, and one in the test's loop for what it hides."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
import uvicorn
from mcp import Client, MCPError, StdioServerParameters
from mcp_types import CallToolResult, ImageContent, TextContent
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from PIL import Image

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.corpus.corpus import Corpus
from osvl_plugins.images import ImageSettings
from osvl_plugins.mcp import server as module
from osvl_plugins.mcp.server import ToolServer, encode
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult
from osvl_plugins.tools.toolset import CallSettings, ToolSet

OSVL = [sys.executable, "-c", "import sys; from osvl_plugins.cli import main; sys.exit(main())"]
BOX = {"image": "img_1", "x": 10, "y": 20, "width": 40, "height": 30}

Connect = Callable[[], AbstractAsyncContextManager[Client]]


def data(width: int = 64, height: int = 64, colour: str = "red") -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def text(result: CallToolResult) -> str:
    first = result.content[0]
    assert isinstance(first, TextContent)
    return first.text


def picture(result: CallToolResult) -> Image.Image:
    last = result.content[-1]
    assert isinstance(last, ImageContent)
    return Image.open(io.BytesIO(base64.b64decode(last.data)))


@contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """``process``, ended whatever the test finds."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (80, 50), "blue").save(folder / "sea.png")
    return folder


@pytest.fixture(scope="module")
def url(atlas: Corpus, folder: Path) -> Iterator[str]:
    command = [*OSVL, "serve-tools", "--http", "0", "--corpus", str(atlas.folder), "--images", str(folder)]
    with running(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "http://127.0.0.1:" in line, line
        yield line.split()[-1]


@pytest.fixture(params=["http", "stdio", "stdio, first revisions"])
def connect(request: pytest.FixtureRequest, atlas: Corpus, folder: Path) -> Connect:
    if request.param == "http":
        address = request.getfixturevalue("url")
        return lambda: Client(address, read_timeout_seconds=60)
    command, *arguments = [*OSVL, "serve-tools", "--corpus", str(atlas.folder), "--images", str(folder)]
    parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    mode = "auto" if request.param == "stdio" else "legacy"
    return lambda: Client(parameters, mode=mode, read_timeout_seconds=60)


async def test_a_client_sees_the_tools_with_the_schemas_that_a_model_sees(connect: Connect, atlas: Corpus) -> None:
    async with connect() as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    for schema in build_tools(AgentSettings(corpus=str(atlas.folder))).schemas:
        function = schema["function"]
        tool = listed.pop(function["name"])
        assert (tool.description, tool.input_schema) == (function["description"], function["parameters"])
    assert list(listed) == ["open_image"]


async def test_a_picture_is_opened_and_cropped(connect: Connect) -> None:
    async with connect() as client:
        opened = await client.call_tool("open_image", {"data": f"data:image/png;base64,{data()}"})
        cropped = await client.call_tool("crop", BOX)
    assert text(opened) == "img_1 (64x64)"
    assert text(cropped) == "img_2 (40x30)"
    assert picture(cropped).size == (40, 30)
    assert not cropped.is_error


async def test_a_picture_is_opened_from_the_folder(connect: Connect) -> None:
    async with connect() as client:
        assert text(await client.call_tool("open_image", {"path": "sea.png"})) == "img_1 (80x50)"
        refused = await client.call_tool("open_image", {"path": "../sea.png"})
    assert refused.is_error
    assert text(refused).startswith("Error (denied)")


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [("fly", {}, "unknown_tool"), ("crop", BOX, "bad_arguments"), ("visit", {"url": "x://y"}, "not_found")],
)
async def test_what_fails_says_what_the_model_would_read(
    connect: Connect, name: str, arguments: dict[str, Any], kind: str
) -> None:
    async with connect() as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert text(result).startswith(f"Error ({kind}): ")


async def test_sessions_do_not_see_each_others_pictures(connect: Connect) -> None:
    async with connect() as first, connect() as second:
        await first.call_tool("open_image", {"data": data()})
        assert (await second.call_tool("crop", BOX)).is_error
        assert text(await second.call_tool("open_image", {"data": data(48, 32)})) == "img_1 (48x32)"
        assert text(await first.call_tool("crop", BOX)) == "img_2 (40x30)"


async def test_a_client_that_can_have_no_session_over_http_is_told_so(url: str) -> None:
    async with Client(url, mode="2026-07-28", read_timeout_seconds=60) as client:
        with pytest.raises(MCPError, match="initialize handshake") as refused:
            await client.call_tool("open_image", {"data": data()})
    assert refused.value.error.data["supported"] == list(HANDSHAKE_PROTOCOL_VERSIONS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", [[], ["--http", "0"]])
def test_a_signal_ends_the_server_while_its_client_stays(atlas: Corpus, number: int, where: list[str]) -> None:
    command = [*OSVL, "serve-tools", *where, "--corpus", str(atlas.folder)]
    pipe = subprocess.PIPE
    with running(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if where:
            url = process.stderr.readline().split()[-1]
            assert httpx2.get(url, timeout=60).status_code == 400  # a GET belongs to a session: the server is up
        else:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}) + "\n")
            process.stdin.flush()
            assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(30) != 0
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_a_message(atlas: Corpus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [*OSVL, "serve-tools", "--http", str(taken.getsockname()[1]), "--corpus", str(atlas.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("osvl: cannot listen on 127.0.0.1:")


class WaitArguments(Arguments):
    pass


class Wait:
    """A tool that takes until it is told to end."""

    name: ClassVar[str] = "wait"
    description: ClassVar[str] = "Wait."
    arguments: ClassVar[type[Arguments]] = WaitArguments
    backend = "test"

    def __init__(self) -> None:
        self.started, self.end, self.cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(self, arguments: WaitArguments, context: ToolContext) -> ToolResult:
        self.started.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return ToolResult(text="done")


@asynccontextmanager
async def serving(server: ToolServer) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        uvicorn_server = uvicorn.Server(
            uvicorn.Config(server.app("127.0.0.1"), log_level="warning", timeout_graceful_shutdown=3)
        )
        task = asyncio.create_task(uvicorn_server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        uvicorn_server.should_exit = True
        await asyncio.wait_for(task, 30)


def wait_server(tool: Wait) -> ToolServer:
    return ToolServer(ToolSet([tool], CallSettings()), ImageSettings())


async def test_a_call_that_the_client_cancels_ends_its_tool() -> None:
    tool = Wait()
    async with serving(wait_server(tool)) as url, Client(url) as client:
        call = asyncio.create_task(client.call_tool("wait", {}))
        await asyncio.wait_for(tool.started.wait(), 30)
        call.cancel()
        await asyncio.wait_for(tool.cancelled.wait(), 30)


async def test_a_client_that_asks_hears_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_S", 0.01)
    tool = Wait()

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        assert total == CallSettings().deadline_s
        tool.end.set()

    async with serving(wait_server(tool)) as url, Client(url, read_timeout_seconds=30) as client:
        assert text(await client.call_tool("wait", {}, progress_callback=progressed)) == "done"


async def test_a_session_that_ends_takes_its_pictures_along() -> None:
    server = wait_server(Wait())
    async with serving(server) as url:
        async with Client(url) as client:
            await client.call_tool("open_image", {"data": data()})
            assert server.sessions == 1
        for _ in range(100):
            gc.collect()
            if not server.sessions:
                break
            await asyncio.sleep(0.1)
        assert server.sessions == 0


async def test_a_session_too_many_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 1)
    introduction = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": introduction}
    async with serving(wait_server(Wait())) as url, Client(url) as first, httpx2.AsyncClient() as second:
        answer = await second.post(url, json=request, headers={"accept": "application/json, text/event-stream"})
        assert answer.status_code == 503
        assert (await first.list_tools()).tools


async def test_a_web_page_cannot_reach_a_server_on_this_machine() -> None:
    async with serving(wait_server(Wait())) as url, httpx2.AsyncClient() as page:
        answer = await page.post(url, json={}, headers={"origin": "http://example.org"})
    assert answer.status_code == 403


def test_a_large_picture_goes_out_as_jpeg_and_a_small_one_without_loss() -> None:
    assert encode(Image.new("RGB", (64, 64))).mime_type == "image/png"
    assert encode(Image.effect_noise((512, 512), 90).convert("RGB")).mime_type == "image/jpeg"
