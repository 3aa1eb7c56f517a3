"""A web server on this machine that does everything a client has to survive."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

GIGABYTE = 1 << 30
TLS_HANDSHAKE = b"\x16"
TEXT = b"hello " * 100


@dataclass(frozen=True)
class Request:
    """What arrived. ``before`` counts earlier requests for the same path; ``gone`` waits until the client hangs up."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    before: int
    gone: Callable[[], Awaitable[object]]


Behaviour = Callable[[asyncio.StreamWriter, Request], Awaitable[None]]
_BEHAVIOURS: dict[str, Behaviour] = {}


def _at(path: str) -> Callable[[Behaviour], Behaviour]:
    def register(behaviour: Behaviour) -> Behaviour:
        _BEHAVIOURS[path] = behaviour
        return behaviour

    return register


@asynccontextmanager
async def misbehaving_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Yields the server's base address, ``http://127.0.0.1:<port>``.

    The path chooses the behaviour; ``/requests`` answers how often each path was asked for, as JSON. At the end every
    connection and task of the server is gone.
    """
    counts: Counter[str] = Counter()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while (request := await _read(reader, counts)) is not None:
                if request.path == "/requests":
                    await _answer(writer, 200, json.dumps(counts).encode())
                else:
                    counts[request.path] += 1
                    await _BEHAVIOURS[request.path](writer, request)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{'https' if tls else 'http'}://{host}:{port}"
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader, counts: Counter[str]) -> Request | None:
    with suppress(asyncio.IncompleteReadError):
        first = await reader.readexactly(1)
        if first == TLS_HANDSHAKE:
            return None
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return Request(method, parts.path, query, headers, body, counts[parts.path], reader.read)
    return None


async def _head(writer: asyncio.StreamWriter, status: int, *headers: str) -> None:
    writer.write("\r\n".join((f"HTTP/1.1 {status} Whatever", *headers, "", "")).encode())
    await writer.drain()


async def _answer(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str) -> None:
    await _head(writer, status, f"Content-Length: {len(body)}", *headers)
    writer.write(body)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@_at("/ok")
async def _ok(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 200, TEXT)


@_at("/echo")
async def _echo(writer: asyncio.StreamWriter, request: Request) -> None:
    seen = {name: getattr(request, name) for name in ("method", "query", "headers")} | {"body": request.body.decode()}
    await _answer(writer, 200, json.dumps(seen).encode(), "Set-Cookie: id=1; Path=/")


@_at("/status")
async def _status(writer: asyncio.StreamWriter, request: Request) -> None:
    """The status ``is`` says, at every request."""
    await _answer(writer, int(request.query["is"]), b"secret details")


@_at("/rate-limited-once")
async def _rate_limited_once(writer: asyncio.StreamWriter, request: Request) -> None:
    if request.before:
        await _answer(writer, 200, TEXT)
    else:
        await _answer(writer, 429, b"", f"Retry-After: {request.query['after']}")


@_at("/rate-limited")
async def _rate_limited(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 429, b"", *(f"Retry-After: {after}" for after in request.query.values()))


@_at("/recovers")
async def _recovers(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 200 if request.before else 503, TEXT)


@_at("/reset")
async def _reset_at_once(writer: asyncio.StreamWriter, request: Request) -> None:
    _reset(writer)


@_at("/reset-once")
async def _reset_once(writer: asyncio.StreamWriter, request: Request) -> None:
    if request.before:
        await _answer(writer, 200, TEXT)
    else:
        _reset(writer)


@_at("/reset-midway")
async def _reset_midway(writer: asyncio.StreamWriter, request: Request) -> None:
    await _head(writer, 200, "Content-Length: 1000")
    writer.write(b"half of it")
    await writer.drain()
    await asyncio.sleep(0.05)
    _reset(writer)


@_at("/silent")
async def _silent(writer: asyncio.StreamWriter, request: Request) -> None:
    await request.gone()


@_at("/stalls")
async def _stalls(writer: asyncio.StreamWriter, request: Request) -> None:
    await _head(writer, 200, "Content-Length: 1000")
    writer.write(b"half of it")
    await writer.drain()
    await request.gone()


@_at("/trickle")
async def _trickle(writer: asyncio.StreamWriter, request: Request) -> None:
    """One byte a second."""
    await _head(writer, 200, "Content-Length: 1000")
    for _ in range(1000):
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(1)


@_at("/huge")
async def _huge(writer: asyncio.StreamWriter, request: Request) -> None:
    """A gigabyte that is announced."""
    await _head(writer, 200, f"Content-Length: {GIGABYTE}")
    for _ in range(GIGABYTE >> 16):
        writer.write(bytes(1 << 16))
        await writer.drain()


@_at("/huge-chunked")
async def _huge_chunked(writer: asyncio.StreamWriter, request: Request) -> None:
    """A gigabyte that is not announced."""
    await _head(writer, 200, "Transfer-Encoding: chunked")
    for _ in range(GIGABYTE >> 16):
        writer.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")
        await writer.drain()
    writer.write(b"0\r\n\r\n")


@_at("/bomb")
async def _bomb(writer: asyncio.StreamWriter, request: Request) -> None:
    """A gigabyte packed into a few megabytes by the encoding ``as`` says, each of which arrives at once."""
    name = request.query["as"]
    packer = zlib.compressobj(1, zlib.DEFLATED, 31 if name == "gzip" else 15)
    await _head(writer, 200, f"Content-Encoding: {name}", "Connection: close")
    for _ in range(GIGABYTE >> 26):
        packed = b""
        for _ in range(64):
            packed += packer.compress(bytes(1 << 20))
            await asyncio.sleep(0)
        writer.write(packed)
        await writer.drain()
    writer.write(packer.flush())


@_at("/packed")
async def _packed(writer: asyncio.StreamWriter, request: Request) -> None:
    """``TEXT`` in the encoding ``as`` says; ``bits`` are zlib's window bits, ``cut`` how many bytes are missing."""
    packer = zlib.compressobj(9, zlib.DEFLATED, int(request.query["bits"]))
    packed = packer.compress(TEXT) + packer.flush()
    packed = packed[: len(packed) - int(request.query.get("cut", "0"))]
    await _answer(writer, 200, packed, f"Content-Encoding: {request.query['as']}")


@_at("/garbage")
async def _garbage(writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(bytes(range(256)) * 16)
    await writer.drain()


@_at("/garbage-chunks")
async def _garbage_chunks(writer: asyncio.StreamWriter, request: Request) -> None:
    await _head(writer, 200, "Transfer-Encoding: chunked")
    writer.write(b"not a length\r\nnot a chunk\r\n")
    await writer.drain()


@_at("/garbage-json")
async def _garbage_json(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 200, b'{"results": [', "Content-Type: application/json")


@_at("/redirect")
async def _redirect(writer: asyncio.StreamWriter, request: Request) -> None:
    """To the address ``to`` says."""
    await _answer(writer, 302, b"", f"Location: {request.query['to']}")


@_at("/loop")
async def _loop(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 302, b"", "Location: /loop")


@_at("/short")
async def _short(writer: asyncio.StreamWriter, request: Request) -> None:
    """Fewer bytes than announced, then an orderly end."""
    await _head(writer, 200, "Content-Length: 1000")
    writer.write(b"half of it")
    await writer.drain()
    writer.close()


@_at("/long")
async def _long(writer: asyncio.StreamWriter, request: Request) -> None:
    """More bytes than announced."""
    await _head(writer, 200, "Content-Length: 5")
    writer.write(TEXT)
    await writer.drain()


@_at("/giant-header")
async def _giant_header(writer: asyncio.StreamWriter, request: Request) -> None:
    await _answer(writer, 200, TEXT, "X-Giant: " + "a" * (1 << 20))


@_at("/many-headers")
async def _many_headers(writer: asyncio.StreamWriter, request: Request) -> None:
    """Headers without an end."""
    writer.write(b"HTTP/1.1 200 Whatever\r\n")
    while True:
        writer.write(b"X-Another: one\r\n" * 1000)
        await writer.drain()
