"""What runs Python code for the model: the embedded sandbox, or a service of the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SandboxResult:
    """What code that ran to its end left behind.

    ``stdout`` is what it printed (standard error included) and the value of a last expression, as a REPL shows it.
    ``error`` is the traceback when the code raised. ``cut`` tells that it printed more than ``stdout`` holds.
    ``wall_s`` is the time it ran, in seconds, without the wait for a free process.
    """

    stdout: str
    error: str | None = None
    cut: bool = False
    wall_s: float = 0.0


class CodeRunner(Protocol):
    """Runs code in a place that keeps nothing between calls.

    ``run`` raises ``ToolError``: ``timeout`` (the code ran too long), ``limit`` (too long, too much memory, too many or
    too large files, too much output), ``unavailable`` (there is nothing that could run it safely).
    """

    name: str

    async def run(self, code: str) -> SandboxResult: ...
