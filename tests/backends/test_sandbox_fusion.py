"""SandboxFusion: what is sent, and what its answers mean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.sandbox_fusion import SandboxFusion, SandboxFusionSettings, show_last
from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox.runner import SandboxResult
from tests.backends.doubles import Doubles, client, recorder, serving


def ran(status: str = "Success", run: str = "Finished", **result: Any) -> dict[str, Any]:
    whole = {"status": run, "stdout": "", "stderr": "", "return_code": 0, "execution_time": 0.25, **result}
    return {"status": status, "run_result": whole}


@pytest.fixture
async def doubles() -> AsyncIterator[Doubles]:
    async with serving() as doubles:
        yield doubles


@pytest.fixture
async def runner(doubles: Doubles, tmp_path: Path) -> AsyncIterator[SandboxFusion]:
    settings = SandboxFusionSettings(url=f"{doubles.url}/sandbox", run_s=7, max_chars=100, max_code_chars=100)
    async with client(tmp_path) as http:
        yield SandboxFusion(settings, http, recorder(tmp_path))


async def test_code_goes_out_with_its_limits(runner: SandboxFusion, doubles: Doubles) -> None:
    doubles.run = ran(stdout="1\n", stderr="careful\n")
    assert await runner.run("print(1)") == SandboxResult("1\ncareful\n", None, False, 0.25)
    assert doubles.seen[0].json == {
        "code": "__import__('sys').displayhook((print(1)))",
        "language": "python",
        "run_timeout": 7,
        "memory_limit_MB": 1024,
    }


async def test_code_that_raised_has_a_traceback(runner: SandboxFusion, doubles: Doubles) -> None:
    doubles.run = ran("Failed", stdout="before\n", stderr="Traceback …\nKeyError: 1\n", return_code=1)
    assert await runner.run("x") == SandboxResult("before\n", "Traceback …\nKeyError: 1\n", False, 0.25)


async def test_code_that_failed_silently_has_an_exit_code(runner: SandboxFusion, doubles: Doubles) -> None:
    doubles.run = ran("Failed", return_code=137)
    assert (await runner.run("x")).error == "the process ended with exit code 137"


async def test_what_is_printed_is_cut(runner: SandboxFusion, doubles: Doubles) -> None:
    doubles.run = ran(stdout="x" * 101)
    result = await runner.run("x")
    assert (len(result.stdout), result.cut) == (100, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ran("Failed", "TimeLimitExceeded"), "timeout"),
        (ran("SandboxError", "Error"), "unavailable"),
        ({"status": "SandboxError", "message": "exception on running code"}, "unavailable"),
    ],
)
async def test_code_that_did_not_run_to_its_end_is_an_error(
    answer: dict[str, Any], kind: str, runner: SandboxFusion, doubles: Doubles
) -> None:
    doubles.run = answer
    with pytest.raises(ToolError) as caught:
        await runner.run("x")
    assert caught.value.kind == kind


async def test_code_that_is_too_long_is_not_sent(runner: SandboxFusion, doubles: Doubles) -> None:
    with pytest.raises(ToolError) as caught:
        await runner.run("x" * 101)
    assert (caught.value.kind, doubles.seen) == ("limit", [])


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("1 + 1", "2"),
        ("x = 2\nx", "2"),
        ("x = 2", ""),
        ("None", ""),
        ("print(3)", "3"),
        ("1, 2", "(1, 2)"),
        ("*[1], 2", "(1, 2)"),
        ("(1 +\n 2)  # a comment", "3"),
        ("x = 'é'; x + 'ü'; ", "'éü'"),
        ("[\n  1,\n][0]", "1"),
        ("if True:\n    4", ""),
        ("x for x in ()", "SyntaxError"),
        ("", ""),
    ],
)
def test_the_value_of_the_last_expression_is_printed_as_by_a_repl(code: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", show_last(code)], capture_output=True, text=True, timeout=60)
    assert printed in (done.stdout + done.stderr if printed == "SyntaxError" else done.stdout)
    assert printed != "" or done.stdout == ""


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.just("(" * 500))
def test_any_text_keeps_its_lines(code: str) -> None:
    assert show_last(code).count("\n") == code.count("\n")
