"""What the owner and the server say to each other: one message a packet, JSON."""

from __future__ import annotations

import json
from typing import NamedTuple

PACKET = 65536
FILES = 3
"""Open files that travel with ``Run``: the code, what it prints, the traceback."""


class Run(NamedTuple):
    """Owner: run the code in the files that come with this."""

    call: int


class Kill(NamedTuple):
    """Owner: nobody waits for this call any more."""

    call: int


class Ready(NamedTuple):
    """Server: calls may come."""

    namespaces: str
    landlock: int
    preloaded: str


class Refused(NamedTuple):
    """Server: there is no isolation here; ``reason`` says what is missing."""

    reason: str


class Ended(NamedTuple):
    """Server: the call's process is gone. ``status`` is that of ``wait``; ``stopped`` is why the server killed it.

    ``problem`` is empty, or says why the process could not isolate itself; then it ran no code.
    """

    call: int
    status: int
    stopped: str
    problem: str
    wall_s: float


Message = Run | Kill | Ready | Refused | Ended
_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Run, Kill, Ready, Refused, Ended)}


def encode(message: Message) -> bytes:
    """A message as a packet."""
    return json.dumps([type(message).__name__, *message]).encode()


def decode(packet: bytes) -> Message:
    """A packet as a message."""
    name, *values = json.loads(packet)
    return _KINDS[name](*values)
