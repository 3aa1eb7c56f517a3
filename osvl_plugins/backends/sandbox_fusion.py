"""A SandboxFusion server as a runner of Python code (github.com/bytedance/SandboxFusion, ``POST /run_code``)."""

from __future__ import annotations

import ast
from functools import partial

from pydantic import Field

from osvl_plugins.backends.http import Http
from osvl_plugins.backends.recorder import Recorder
from osvl_plugins.backends.recording_store import JSON
from osvl_plugins.backends.remote import Answer, Text, ask, post
from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox.runner import SandboxResult
from osvl_plugins.settings import Settings

PROVIDER = "sandbox_fusion"


class SandboxFusionSettings(Settings):
    """A SandboxFusion server."""

    url: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Address of the server, without ``/run_code``."""
    key_env: str = ""
    """Environment variable with a token that goes out as ``Authorization: Bearer``; empty where none is asked for."""
    run_s: float = Field(default=20.0, gt=0)
    """Seconds that the code may run."""
    deadline_s: float = Field(default=40.0, gt=0)
    """Seconds for the whole call, the wait for a free place included."""
    memory_mb: int = Field(default=1024, ge=64)
    """Megabytes of memory that the code may take, as far as the server enforces it."""
    max_code_chars: int = Field(default=100_000, ge=100)
    """Most characters of code."""
    max_chars: int = Field(default=20_000, ge=100)
    """Most characters of what the code prints, and as many of a traceback, that are kept."""


class _Run(Answer):
    status: Text
    stdout: Text = ""
    stderr: Text = ""
    return_code: int | None = None
    execution_time: float | None = None


class _Outcome(Answer):
    status: Text
    run_result: _Run | None = None

    def run(self) -> _Run:
        """How the code ran. Raises ``ToolError`` when it did not run to its end."""
        run = self.run_result
        if run is not None and run.status == "TimeLimitExceeded":
            raise ToolError("timeout", "the code ran for too long")
        if self.status not in ("Success", "Failed") or run is None or run.status != "Finished":
            raise ToolError("unavailable", f"{PROVIDER}: the server could not run the code")
        return run

    def check(self) -> None:
        self.run()


class SandboxFusion:
    """Runs each piece of code in a fresh process on the server."""

    name = "sandbox fusion"

    def __init__(self, settings: SandboxFusionSettings, http: Http, recorder: Recorder) -> None:
        self._settings = settings
        self._http = http
        self._recorder = recorder

    async def run(self, code: str) -> SandboxResult:
        """As ``CodeRunner.run``."""
        settings = self._settings
        if len(code) > settings.max_code_chars:
            raise ToolError("limit", f"the code has {len(code)} characters, over {settings.max_code_chars}")
        request: dict[str, JSON] = {
            "code": show_last(code),
            "language": "python",
            "run_timeout": settings.run_s,
            "memory_limit_MB": settings.memory_mb,
        }

        send = partial(post, self._http, PROVIDER, settings, "/run_code", request)
        run = (await ask(self._recorder, PROVIDER, _Outcome, request, send)).run()
        limit = settings.max_chars
        failed = run.return_code != 0
        # Of what failed, standard error holds the traceback; it belongs to the output otherwise.
        printed = run.stdout if failed else run.stdout + run.stderr
        error = (run.stderr[-limit:] or f"the process ended with exit code {run.return_code}") if failed else None
        return SandboxResult(printed[:limit], error, len(printed) > limit, run.execution_time or 0.0)


def show_last(code: str) -> str:
    """``code`` that also prints the value of its last expression, as a REPL does; line numbers stay."""
    try:
        statements = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # Python on the server will say what is wrong
        return code
    if not statements or not isinstance(last := statements[-1], ast.Expr):
        return code
    lines = code.encode().splitlines(keepends=True)
    # ast counts columns in bytes.
    first, end = last.lineno - 1, (last.end_lineno or last.lineno) - 1
    tail = lines[end][last.end_col_offset or 0 :]
    lines[end] = lines[end][: last.end_col_offset] + b"))" + tail
    lines[first] = (
        lines[first][: last.col_offset] + b"__import__('sys').displayhook((" + lines[first][last.col_offset :]
    )
    return b"".join(lines).decode()
