"""Reading the body of an answer: bounded while it arrives, as it travels and as it unpacks."""

from __future__ import annotations

import zlib

from aiohttp import ClientResponse

from osvl_plugins.errors import ToolError

ENCODINGS = "gzip, deflate"
"""What ``read_body`` unpacks, as a request says it."""


async def read_body(provider: str, response: ClientResponse, max_bytes: int) -> bytes:
    """The body of ``response``, unpacked, of at most ``max_bytes`` bytes both before and after.

    The session must leave unpacking to this function (``auto_decompress=False``). Raises ``ToolError``: ``limit``
    for a larger body, which is not read further, and ``failed`` for one that cannot be unpacked.
    """
    too_large = ToolError("limit", f"{provider}: the answer is over {max_bytes} bytes")
    if (response.content_length or 0) > max_bytes:
        raise too_large
    unpack = _unpacker(provider, response.headers.get("Content-Encoding", ""))
    body = bytearray()
    arrived = 0
    async for chunk in response.content.iter_any():
        arrived += len(chunk)
        body += unpack(chunk, max_bytes + 1 - len(body)) if unpack else chunk
        if max(arrived, len(body)) > max_bytes:
            raise too_large
    if unpack and arrived and not unpack.complete:
        raise unpack.broken
    return bytes(body)


def _unpacker(provider: str, encoding: str) -> _Unpack | None:
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return _Unpack(name == "deflate", ToolError("failed", f"{provider}: the answer cannot be unpacked"))
    raise ToolError("failed", f"{provider}: the answer is packed in a way that was not asked for")


class _Unpack:
    """Unpacks gzip or both kinds of deflate; what follows the end of the packed data is ignored."""

    def __init__(self, deflate: bool, broken: ToolError) -> None:
        self.broken = broken
        self._undecided = deflate
        self._stream = zlib.decompressobj(zlib.MAX_WBITS if deflate else 16 + zlib.MAX_WBITS)

    def __call__(self, chunk: bytes, room: int) -> bytes:
        """At most ``room`` bytes; so many mean that there may be more."""
        if self._undecided and chunk[0] & 0x0F != zlib.DEFLATED:
            # Some servers send deflate without the header of zlib.
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._undecided = False
        try:
            return self._stream.decompress(chunk, room)
        except zlib.error:
            raise self.broken from None

    @property
    def complete(self) -> bool:
        """Whether the packed data ended."""
        return self._stream.eof
