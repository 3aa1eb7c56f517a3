"""Live services as a local server that speaks their protocols over a socket, refuses what they refuse, and can fail."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from PIL import Image

from osvl_plugins.backends.budget import FileBudgets
from osvl_plugins.backends.http import Http, HttpSettings
from osvl_plugins.backends.recorder import Recorder, RecordingSettings
from osvl_plugins.backends.recording_store import Store

KEY = "the-secret-key"
KEY_ENV = "OSVL_TEST_KEY"

PAGE = """<!DOCTYPE html><html><head><title>The lighthouse of Kõpu</title><script>var x = "hidden";</script></head>
<body><nav><a href="/">Home</a> <a href="/about">About</a></nav><article><h1>The lighthouse of Kõpu</h1>
<p>The lighthouse stands on the island of Hiiumaa and has been in use since the year 1531 without a pause.</p>
<p>It rises 36 metres, and its light lies 102.6 metres above the level of the sea, which is high for the Baltic.</p>
<p>Merchants of the Hanse asked for it, because ships ran aground on the shoals that lie west of the peninsula.</p>
</article><footer>Imprint</footer></body></html>"""


class Seen(NamedTuple):
    """A request as the server saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Doubles:
    """All services at one address. ``KEY`` is the key of each.

    While ``status`` is set every request is answered with it, and while ``answer`` is set with that body; ``delay_s``
    passes before an answer, and each ``pages[path]`` is (content type, body) of a web page.
    """

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.status = 0
        self.answer: bytes | None = None
        self.delay_s = 0.0
        self.seen: list[Seen] = []
        self.stored: dict[str, bytes] = {}
        self.results: list[dict[str, Any]] = []
        self.extra: dict[str, Any] = {}
        self.run: dict[str, Any] = {}
        self.pages: dict[str, tuple[str, bytes]] = {"/page": ("text/html; charset=utf-8", PAGE.encode())}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=50_000_000, middlewares=[self._front])
        app.router.add_post("/serper/search", self._serper)
        app.router.add_post("/serper/lens", self._serper)
        app.router.add_get("/searxng/search", self._searxng)
        app.router.add_get("/jina/{target:.+}", self._jina)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/paddle/layout-parsing", self._paddle)
        app.router.add_post("/sandbox/run_code", self._run_code)
        app.router.add_put("/store/{name}", self._put)
        app.router.add_get("/store/{name}", self._get)
        app.router.add_get("/{path:.*}", self._page)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.raw_path, dict(request.query), dict(request.headers), body))
        await asyncio.sleep(self.delay_s)
        if self.status:
            return web.Response(status=self.status, text=f"out of order, {KEY}")
        if self.answer is not None:
            return web.Response(body=self.answer)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _serper(self, request: web.Request) -> web.Response:
        if request.headers.get("X-API-KEY") != KEY:
            return web.json_response({"message": "Unauthorized.", "statusCode": 403}, status=403)
        body = await request.json()
        asked = body.get("q" if request.path.endswith("search") else "url")
        if not isinstance(asked, str) or not asked:
            return web.json_response({"message": "Missing query parameter", "statusCode": 400}, status=400)
        return web.json_response({"searchParameters": body, "organic": self.results, "credits": 1, **self.extra})

    async def _searxng(self, request: web.Request) -> web.Response:
        if request.query.get("format") != "json":
            return web.Response(status=403)
        if not request.query.get("q"):
            return web.Response(status=400, text="No query")
        return web.json_response({"query": request.query["q"], "results": self.results, **self.extra})

    async def _jina(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"data": None, "code": 401, "name": "AuthenticationRequiredError"}, status=401)
        if request.headers.get("Accept") != "application/json":
            return web.Response(text="Title: …\n\nMarkdown Content:\n…")
        target = request.raw_path.removeprefix("/jina/")
        data = {"title": "Kõpu", "description": "", "url": target, "content": "Built in 1531.", **self.extra}
        return web.json_response({"code": 200, "status": 20000, "data": data})

    async def _chat(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "Incorrect API key"}}, status=401)
        body = await request.json()
        roles = [message["role"] for message in body["messages"]]
        if roles != ["system", "user"] or not isinstance(body["model"], str) or body["max_tokens"] < 1:
            return web.json_response({"error": {"message": "bad request"}}, status=400)
        message = {"role": "assistant", "content": "It dates from 1531.", **self.extra}
        return web.json_response({"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    async def _paddle(self, request: web.Request) -> web.Response:
        body = await request.json()
        try:
            picture = Image.open(io.BytesIO(base64.b64decode(body["file"], validate=True)))
        except (KeyError, ValueError, OSError):
            return web.json_response({"logId": "1", "errorCode": 422, "errorMsg": "bad file"}, status=422)
        pruned = {
            "page_index": None,
            "width": picture.width,
            "height": picture.height,
            "parsing_res_list": self.results,
        }
        page = {"prunedResult": {**pruned, **self.extra}, "markdown": {"text": "", "images": {}}, "outputImages": None}
        result = {"layoutParsingResults": [page], "dataInfo": {"type": "image"}}
        return web.json_response({"logId": "1", "errorCode": 0, "errorMsg": "Success", "result": result})

    async def _run_code(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body.get("code"), str) or body.get("language") != "python":
            return web.json_response({"detail": "unprocessable"}, status=422)
        return web.json_response({"message": "", "compile_result": None, "files": {}, **self.run})

    async def _put(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != KEY:
            return web.Response(status=403)
        self.stored[request.match_info["name"]] = await request.read()
        return web.Response(status=201)

    async def _get(self, request: web.Request) -> web.Response:
        stored = self.stored.get(request.match_info["name"])
        return web.Response(status=404) if stored is None else web.Response(body=stored, content_type="image/jpeg")

    async def _page(self, request: web.Request) -> web.Response:
        if request.path not in self.pages:
            return web.Response(status=404)
        kind, body = self.pages[request.path]
        return web.Response(body=body, headers={"Content-Type": kind} if kind else {})


@asynccontextmanager
async def serving() -> AsyncIterator[Doubles]:
    """The doubles at a free port of this machine."""
    doubles = Doubles()
    runner = web.AppRunner(doubles.app())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        doubles.port = runner.addresses[0][1]
        doubles.url = f"http://127.0.0.1:{doubles.port}"
        yield doubles
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(folder: Path, **settings: Any) -> AsyncIterator[Http]:
    """A client that tries once; ``settings`` are of ``HttpSettings``."""
    http = Http(HttpSettings(**{"attempts": 1, **settings}), FileBudgets(folder / "budgets", {}))
    try:
        yield http
    finally:
        await http.aclose()


def recorder(folder: Path, mode: str = "live") -> Recorder:
    """A recorder that keeps its recordings below ``folder``."""
    return Recorder(RecordingSettings.model_validate({"mode": mode, "folder": str(folder / "recordings")}))


def everything_written(folder: Path) -> bytes:
    """All recordings below ``folder``, names and unpacked contents."""
    store = Store(folder / "recordings")
    entries = [store.load(name) for name in store.names()]
    return b"\n".join(part for entry in entries if entry for part in (entry.name.encode(), entry.call.line, entry.body))
