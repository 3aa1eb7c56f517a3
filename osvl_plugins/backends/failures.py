"""What goes wrong with a request, as a ``ToolError`` and whether another attempt may help.

Messages name the provider and what happened. They hold no address and no text of an exception, which may hold keys.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiohttp

from osvl_plugins.errors import ToolError

_BROKEN_CONNECTION = frozenset((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE))


class Failure(NamedTuple):
    """A failed attempt. ``again``: another one may do better, after ``wait_s`` where the server asked for a pause."""

    error: ToolError
    again: bool = False
    wait_s: float = 0.0


def from_status(provider: str, status: int, headers: Mapping[str, str]) -> Failure | None:
    """What a status of 429 or from 500 means; None for any other."""
    if status != 429 and status < 500:
        return None
    wait_s = retry_after(headers.get("Retry-After", ""))
    hint = f"; it asks to wait {wait_s:.0f} s" if wait_s else ""
    if status == 429:
        return Failure(ToolError("rate_limited", f"{provider}: too many requests for now{hint}"), True, wait_s)
    return Failure(ToolError("unavailable", f"{provider}: the server is broken (status {status}){hint}"), True, wait_s)


def from_error(provider: str, error: Exception) -> Failure:
    """What an exception of aiohttp means."""
    if isinstance(error, asyncio.TimeoutError):
        stage = "accept a connection" if isinstance(error, aiohttp.ConnectionTimeoutError) else "go on with its answer"
        return Failure(ToolError("timeout", f"{provider}: the server did not {stage} in time"))
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionResetError) or (
        isinstance(error, OSError) and error.errno in _BROKEN_CONNECTION
    ):
        return Failure(
            ToolError("unavailable", f"{provider}: the connection broke before the answer was complete"), True
        )
    if isinstance(error, aiohttp.ClientSSLError):
        return Failure(ToolError("unavailable", f"{provider}: no secure connection ({_tls_problem(error)})"))
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure(ToolError("unavailable", f"{provider}: no connection ({_connect_problem(error.os_error)})"))
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return Failure(ToolError("unavailable", f"{provider}: its address is no http address; check its setting"))
    if isinstance(error, aiohttp.ClientConnectionError):
        return Failure(ToolError("unavailable", f"{provider}: the connection was lost"))
    return Failure(ToolError("failed", f"{provider}: the answer is not HTTP"))


def retry_after(value: str) -> float:
    """Seconds to wait by a ``Retry-After`` header (RFC 9110, 10.2.3), 0 where it says none."""
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _connect_problem(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    return os.strerror(error.errno).lower() if error.errno else "no address of it answers"


def _tls_problem(error: aiohttp.ClientSSLError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return getattr(error.certificate_error, "verify_message", "") or "its certificate is not valid"
    return "the handshake failed"
