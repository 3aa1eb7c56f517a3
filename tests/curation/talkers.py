"""A chat server on a thread of its own, for stages that run their own event loop."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Talker:
    """Says ``turns`` one after the other; a number is a status. ``asked``: the bodies of requests."""

    def __init__(self, turns: Iterable[str | int]) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self._turns = iter(turns)
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.asked.append(body)
            said = next(self._turns, 410)
        if isinstance(said, int):
            return said, {"error": {"message": "out of order"}}
        return 200, {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}


def streamed_form(answer: dict[str, Any]) -> bytes:
    """A completion as the event stream of one piece."""
    (choice,) = answer["choices"]
    event = {"choices": [{"delta": choice["message"], "finish_reason": choice["finish_reason"]}]}
    return f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode()


@contextmanager
def talking(turns: Iterable[str | int]) -> Iterator[Talker]:
    """A server that says ``turns``."""
    talker = Talker(turns)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = talker.answer(body)
            streamed = bool(body.get("stream")) and status == 200
            data = streamed_form(answer) if streamed else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    talker.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield talker
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
