"""python_interpreter over the real sandbox and the real tool set."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings
from osvl_plugins.tools.python_interpreter import PythonInterpreter, unfenced
from osvl_plugins.tools.toolset import CallSettings, ToolSet
from osvl_plugins.trajectory import Observation, ToolCall
from tests.agents import context

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


@pytest.fixture
async def tools() -> AsyncIterator[ToolSet]:
    sandbox = Sandbox(SandboxSettings(timeout_s=3, output_chars=100, memory_mb=128))
    yield ToolSet([PythonInterpreter(sandbox)], CallSettings())
    await sandbox.aclose()


async def run(tools: ToolSet, **arguments: Any) -> Observation:
    return await tools.run(ToolCall("python_interpreter", arguments), context())


async def test_the_model_reads_what_the_code_shows(tools: ToolSet) -> None:
    observation = await run(tools, code="x = 6\nprint(x)\nx * 7")
    assert (observation.text, observation.error) == ("6\n42", None)
    assert observation.backend == "sandbox"


async def test_a_fence_around_the_code_is_taken_off(tools: ToolSet) -> None:
    assert (await run(tools, code="```python\n6 * 7\n```")).text == "42"


async def test_silent_code_says_so(tools: ToolSet) -> None:
    assert (await run(tools, code="x = 1")).text == "The code ran and printed nothing."


async def test_cut_output_says_so(tools: ToolSet) -> None:
    assert (await run(tools, code="print('x' * 500)")).text == "x" * 100 + "\n[output cut at 100 characters]"


async def test_code_that_raises_is_a_failed_call_with_its_traceback(tools: ToolSet) -> None:
    observation = await run(tools, code="print('before')\n1 / 0")
    assert observation.error is not None
    assert observation.error.kind == "failed"
    assert observation.text.startswith('Error (failed): Traceback (most recent call last):\n  File "<code>", line 2')
    assert "ZeroDivisionError: division by zero\nIt had printed:\nbefore" in observation.text


async def test_the_exception_is_told_even_after_a_long_traceback(tools: ToolSet) -> None:
    code = "print('p' * 5000)\ndef f(n):\n    " + "g(n" + " " * 400 + ")\ndef g(n):\n    f(n - 1) if n else h()\nf(10)"
    observation = await run(tools, code=code)
    assert "NameError: name 'h' is not defined" in observation.text


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("while True: pass", "timeout"),
        ("x = bytearray(10**10)", "limit"),
        ("x" * 60_000, "limit"),
        ("open('/etc/passwd')", "failed"),
        ("", "bad_arguments"),
    ],
)
async def test_a_call_that_does_not_work_is_an_error_of_kind(code: str, kind: str, tools: ToolSet) -> None:
    observation = await run(tools, code=code)
    assert observation.error is not None
    assert observation.error.kind == kind


async def test_a_call_over_the_tool_sets_deadline_frees_the_sandbox() -> None:
    sandbox = Sandbox(SandboxSettings(timeout_s=60, processes=1))
    tools = ToolSet([PythonInterpreter(sandbox)], CallSettings(deadline_s=0.5))
    await sandbox.start()
    slow = await run(tools, code="import time\ntime.sleep(50)")
    assert slow.error is not None
    assert slow.error.kind == "timeout"
    assert (await asyncio.wait_for(sandbox.run("1"), 10)).stdout == "1\n"
    await sandbox.aclose()


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("1 + 1", "1 + 1"),
        ("```python\n1\n```", "1"),
        ("```\n1\n```", "1"),
        ("```py\n1\n2\n```\n", "1\n2"),
        ("\n  ```Python3\n  1\n  ```  \n", "  1"),
        ("~~~python\n1\n~~~", "1"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
        ("```python\n\n```", ""),
        ("s = '```'", "s = '```'"),
        ("```python\n1", "```python\n1"),
    ],
)
def test_only_a_fence_around_everything_is_taken_off(written: str, code: str) -> None:
    assert unfenced(written) == code
