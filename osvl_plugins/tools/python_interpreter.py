"""python_interpreter: runs Python code that the model wrote, in a place that keeps nothing between calls."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox.runner import CodeRunner
from osvl_plugins.tools.base import Arguments, ToolContext, ToolResult

MAX_TRACEBACK_CHARS = 700
MAX_PRINTED_CHARS = 250
"""Together less than the tool set leaves of an error's message: it cuts the end, where the exception stands."""

_FENCED = re.compile(
    r"\s*(`{3,}|~{3,})[ \t]*(?:python|python3|py)?[ \t]*\r?\n(.*?)\n?[ \t]*\1\s*", re.DOTALL | re.IGNORECASE
)


class PythonInterpreterArguments(Arguments):
    code: str = Field(min_length=1, description="Python code. Print what you want to see.")


class PythonInterpreter:
    """Runs the code with a ``CodeRunner``.

    Code that raises is a failed call: a ``ToolError`` of kind ``failed`` with the traceback as its message.
    """

    name: ClassVar[str] = "python_interpreter"
    description: ClassVar[str] = (
        "Run Python code, e.g. to calculate. numpy, sympy and PIL are there; no network, no files, no memory of "
        "earlier calls. Gives what it prints and the value of a last expression."
    )
    arguments: ClassVar[type[Arguments]] = PythonInterpreterArguments

    def __init__(self, runner: CodeRunner) -> None:
        self.runner = runner
        self.backend = runner.name

    async def run(self, arguments: PythonInterpreterArguments, context: ToolContext) -> ToolResult:
        result = await self.runner.run(unfenced(arguments.code))
        if result.error is not None:
            printed = f"\nIt had printed:\n{result.stdout[:MAX_PRINTED_CHARS]}" if result.stdout else ""
            raise ToolError("failed", _end(result.error, MAX_TRACEBACK_CHARS) + printed)
        cut = f"\n[output cut at {len(result.stdout)} characters]" if result.cut else ""
        return ToolResult(text=result.stdout.rstrip("\n") + cut or "The code ran and printed nothing.")


def unfenced(code: str) -> str:
    """``code`` without the Markdown fence around it, which models like to write."""
    fenced = _FENCED.fullmatch(code)
    return fenced[2] if fenced else code


def _end(text: str, limit: int) -> str:
    """At most ``limit`` characters from the end of ``text``: a traceback ends with the exception."""
    return text if len(text) <= limit else "… " + text[len(text) - limit + 2 :].lstrip()
