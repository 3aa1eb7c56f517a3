"""What code can do, that calls do not meet, and that the sandbox comes back from whatever happens to it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osvl_plugins.errors import SettingError, ToolError
from osvl_plugins.sandbox import connection
from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings
from osvl_plugins.settings import read
from tests.sandbox.conftest import Runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

SHOWN = {
    "a value": ("1 + 1", "2\n"),
    "a value after statements": ("x = 20\nx + 1", "21\n"),
    "no value for None": ("None", ""),
    "a string as it is written": ("'a\\n'", "'a\\n'\n"),
    "what is printed, then the value": ("print('a')\n'b'", "a\n'b'\n"),
    "both streams in order": ("import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')", "a\nb\nc\n"),
    "nothing for nothing": ("", ""),
    "a comment": ("# nothing", ""),
    "a script's idiom": ("if __name__ == '__main__':\n    print('main')", "main\n"),
    "a quiet exit": ("print('a')\nraise SystemExit", "a\n"),
    "a future import": ("from __future__ import annotations\ndef f(x: y): pass\nf.__annotations__", "{'x': 'y'}\n"),
    "a data class": ("import dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\nP(1)", "P(x=1)\n"),
    "other scripts": ("print('東京 😀')", "東京 😀\n"),
    "half a character": ("print('\\ud800')", "\\ud800\n"),
    "null bytes": ("print('a\\0b')", "a\\0b\n"),
    "bytes that are no text": ("import os\nos.write(1, b'\\xff')", "\ufffd1\n"),
    "windows lines": ("x = 1\r\nprint(x)\r\n", "1\n"),
    "no input": ("import sys\nsys.stdin.read()", "''\n"),
    "numpy": ("import numpy as np\nnp.linalg.solve(np.eye(2), [1, 2]).tolist()", "[1.0, 2.0]\n"),
    "sympy": ("import sympy\nsympy.integrate('x**2')", "x**3/3\n"),
    "PIL": ("from PIL import Image\nImage.new('RGB', (3, 2)).rotate(90, expand=True).size", "(2, 3)\n"),
    "a picture in its folder": (
        "from PIL import Image\nImage.new('RGB', (3, 2)).save('a.png')\nImage.open('a.png').size",
        "(3, 2)\n",
    ),
    "a file in its folder": ("open('a', 'w').write('b')\nopen('a').read()", "'b'\n"),
    "folders in its folder": (
        "import os\nos.makedirs('a/b')\nos.rename('a/b', 'c')\nsorted(os.listdir())",
        "['a', 'c']\n",
    ),
    "temporary files": ("import tempfile\nwith tempfile.NamedTemporaryFile('w') as f:\n    f.write('a')", ""),
    "a temporary folder": ("import tempfile\nwith tempfile.TemporaryDirectory() as d:\n    open(d + '/a', 'w')", ""),
    "a database": ("import sqlite3\nsqlite3.connect('a.db').execute('select 2').fetchone()", "(2,)\n"),
    "modules that were not imported ahead": ("import colorsys, zoneinfo\ncolorsys.rgb_to_hsv(1, 0, 0)[1]", "1.0\n"),
    "the time somewhere": ("import zoneinfo\nstr(zoneinfo.ZoneInfo('UTC'))", "'UTC'\n"),
    "no secret in the environment": ("import os\n[n for n in os.environ if 'KEY' in n or 'PATH' in n]", "[]\n"),
}


@pytest.mark.parametrize(("code", "shown"), SHOWN.values(), ids=SHOWN)
def test_code_shows(code: str, shown: str, runs: Runs) -> None:
    result = runs(code)
    assert result.error is None
    assert result.stdout == shown
    assert not result.cut


def test_a_traceback_names_the_lines_of_the_code_and_nothing_else(runs: Runs) -> None:
    error = runs("import json\ndef f():\n    return json.loads('{')\nf()").error
    assert error is not None
    assert 'File "<code>", line 4, in <module>\n    f()' in error
    assert 'File "<code>", line 3, in f\n    return json.loads' in error
    assert error.count("File ") == 2
    assert error.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")


def test_what_was_printed_before_an_exception_is_kept(runs: Runs) -> None:
    result = runs("print('before')\n1 / 0")
    assert (result.stdout, result.error is not None) == ("before\n", True)


def test_a_wrong_syntax_is_shown_where_it_stands(runs: Runs) -> None:
    error = runs("x = 1\ny = = 2").error
    assert error is not None
    assert "line 2" in error
    assert "SyntaxError: invalid syntax" in error


def test_output_is_cut_at_its_bound_and_says_so(runs: Runs) -> None:
    result = runs("print('é' * 3000)")
    assert result.stdout == "é" * 2000
    assert result.cut


def test_a_long_traceback_keeps_its_end(runs: Runs) -> None:
    error = runs("raise ValueError('x' * 5000 + 'end')").error
    assert error is not None
    assert error.endswith("xend")
    assert len(error) == 4000


@given(code=st.text(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_an_answer(code: str, runs: Runs) -> None:
    result = runs(code)
    assert isinstance(result.stdout, str)
    result.stdout.encode()
    (result.error or "").encode()


@given(data=st.binary(max_size=200))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_on_every_open_file_are_only_output(data: bytes, runs: Runs) -> None:
    result = runs(
        f"import os\nfor number in range(64):\n    try:\n        os.write(number, {data!r})\n    except OSError:\n"
        "        pass\nos._exit(0)"
    )
    assert result.error is None
    assert runs("6 * 7").stdout == "42\n"


def test_nothing_of_a_call_reaches_the_next(runs: Runs) -> None:
    runs(
        "import builtins, math, os, numpy, sys\nopen('left', 'w').write('here')\nmath.pi = 3\nnumpy.array = None\n"
        "builtins.leak = 1\nos.environ['LEAK'] = '1'\nsys.modules['json'] = None"
    )
    code = (
        "import builtins, json, math, numpy, os\n"
        "(os.listdir(), math.pi > 3, numpy.array is None, hasattr(builtins, 'leak'), 'LEAK' in os.environ)"
    )
    assert runs(code).stdout == "([], True, False, False, False)\n"


def test_what_the_code_registers_for_the_end_does_not_run(runs: Runs) -> None:
    assert runs("import atexit\natexit.register(print, 'late')\nprint('now')").stdout == "now\n"


def test_random_numbers_and_the_order_of_sets_replay(runs: Runs) -> None:
    code = "import random, numpy\n(random.random(), numpy.random.rand(), list(set('abcdef')))"
    assert runs(code).stdout == runs(code).stdout


def test_the_code_finds_no_way_to_the_server_in_its_own_memory(runs: Runs) -> None:
    code = """
import gc, os, socket, sys
frame, sent = sys._getframe(), 0
held = gc.get_objects()
while frame:
    held += list(frame.f_locals.values())
    frame = frame.f_back
for thing in held:
    if isinstance(thing, socket.socket):
        try:
            thing.send(b'["Ended", 1, 0, "", "", 0.0]')
            sent += 1
        except OSError:
            pass
for number in range(3, 1000):
    try:
        os.fstat(number)
        sent += "socket" in os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        pass
sent
"""
    assert runs(code).stdout == "0\n"


def test_the_server_holds_no_code_of_other_calls(runs: Runs) -> None:
    runs("marker = 'swordfish' + '-' * 3")
    code = "import gc\nsum('sword' 'fish---' in repr(o) for o in gc.get_objects() if isinstance(o, (str, bytes, dict)))"
    assert runs(code).stdout == "0\n"


async def closing(act: Callable[[Sandbox], object], **changed: object) -> None:
    """Run ``act`` with a sandbox of its own."""
    sandbox = Sandbox(read(SandboxSettings, changed, "sandbox"))
    try:
        await act(sandbox)  # type: ignore[misc]
    finally:
        await sandbox.aclose()


def server_pid(sandbox: Sandbox) -> int:
    server = sandbox._server
    assert server is not None
    assert server._process is not None
    return server._process.pid


def descendants(pid: int) -> set[int]:
    """Process ids of all living processes below ``pid``."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


def gone(pids: set[int]) -> bool:
    """Whether all of these processes end soon."""
    for _ in range(200):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


async def test_calls_run_at_the_same_time_and_not_more_than_allowed() -> None:
    async def act(sandbox: Sandbox) -> None:
        await sandbox.start()
        results = await asyncio.gather(
            *(sandbox.run("import time\nt = time.time()\ntime.sleep(.3)\nprint(t)") for _ in range(6))
        )
        starts = sorted(float(result.stdout) for result in results)
        busy = [sum(other <= start < other + 0.3 for other in starts) for start in starts]
        assert max(busy) == 3

    await closing(act, processes=3)


async def test_the_event_loop_goes_on_while_code_runs() -> None:
    async def act(sandbox: Sandbox) -> None:
        run = asyncio.create_task(sandbox.run("import time\ntime.sleep(1)"))
        turns = 0
        while not run.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 20

    await closing(act)


async def test_results_belong_to_their_calls() -> None:
    async def act(sandbox: Sandbox) -> None:
        results = await asyncio.gather(*(sandbox.run(f"{n} * 2") for n in range(150)))
        assert [result.stdout for result in results] == [f"{n * 2}\n" for n in range(150)]

    await closing(act, processes=128, timeout_s=60)


async def test_a_cancelled_call_is_killed_and_gives_its_place_back() -> None:
    async def act(sandbox: Sandbox) -> None:
        await sandbox.start()
        run = asyncio.create_task(sandbox.run("import time\ntime.sleep(50)"))
        await asyncio.sleep(0.3)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (await asyncio.wait_for(sandbox.run("1"), 10)).stdout == "1\n"

    await closing(act, processes=1, timeout_s=60)


async def test_a_call_that_waits_can_be_cancelled() -> None:
    async def act(sandbox: Sandbox) -> None:
        first = asyncio.create_task(sandbox.run("import time\ntime.sleep(1)\n1"))
        await asyncio.sleep(0)
        second = asyncio.create_task(sandbox.run("2"))
        await asyncio.sleep(0.1)
        second.cancel()
        assert (await first).stdout == "1\n"
        assert (await asyncio.wait_for(sandbox.run("3"), 10)).stdout == "3\n"

    await closing(act, processes=1)


async def test_a_call_that_is_cancelled_while_the_server_starts_leaves_no_folder_and_no_message(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "END_S", 60)
    sandbox = Sandbox(SandboxSettings())
    run = asyncio.create_task(sandbox.run("1"))
    while sandbox._server is None or sandbox._server._process is None:
        await asyncio.sleep(0.01)
    folder, process = Path(sandbox._server._folder), sandbox._server._process
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await sandbox.aclose()
    assert process.returncode == 0
    assert not folder.exists()
    del sandbox, run
    gc.collect()  # a task whose exception nobody took says so when it goes
    assert not caplog.records
    assert capfd.readouterr().err == ""


async def test_a_server_that_dies_fails_its_calls_and_the_next_call_starts_another() -> None:
    async def act(sandbox: Sandbox) -> None:
        await sandbox.start()
        first = server_pid(sandbox)
        below = descendants(first)
        run = asyncio.create_task(sandbox.run("import time\ntime.sleep(50)"))
        await asyncio.sleep(0.3)
        below |= descendants(first)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ToolError, match="ended while the code ran") as lost:
            await run
        assert lost.value.kind == "unavailable"
        assert (await sandbox.run("1")).stdout == "1\n"
        assert await asyncio.to_thread(gone, below)

    await closing(act, timeout_s=60)


async def test_a_server_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "END_S", 0.5)
    monkeypatch.setattr("osvl_plugins.sandbox.sandbox.END_S", 0.5)

    async def act(sandbox: Sandbox) -> None:
        await sandbox.start()
        hung = server_pid(sandbox)
        for pid in (hung, *descendants(hung)):
            os.kill(pid, signal.SIGSTOP)
        with pytest.raises(ToolError) as lost:
            await sandbox.run("1")
        assert lost.value.kind == "unavailable"
        assert (await sandbox.run("1")).stdout == "1\n"

    await closing(act, timeout_s=1)


async def test_closing_ends_the_calls_and_leaves_no_process_and_no_file() -> None:
    sandbox = Sandbox(SandboxSettings(timeout_s=60))
    await sandbox.start()
    run = asyncio.create_task(sandbox.run("import time\nopen('a', 'w').close()\ntime.sleep(50)"))
    await asyncio.sleep(0.3)
    pid = server_pid(sandbox)
    below = {pid, *descendants(pid)}
    folder = Path(sandbox._server._folder)  # type: ignore[union-attr]
    assert folder.is_dir()
    await sandbox.aclose()
    with pytest.raises(ToolError, match="ended while the code ran"):
        await run
    assert gone(below)
    assert not folder.exists()


OWNER = """
import asyncio, os
from osvl_plugins.sandbox.sandbox import Sandbox, SandboxSettings
async def main():
    sandbox = Sandbox(SandboxSettings(timeout_s=600))
    await sandbox.start()
    run = asyncio.create_task(sandbox.run("import time; time.sleep(500)"))
    await asyncio.sleep(.3)
    print(sandbox._server._process.pid, sandbox._server._folder, flush=True)
    await run
asyncio.run(main())
"""


def test_the_server_and_its_calls_end_with_an_owner_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        below = {int(pid), *descendants(int(pid))}
        owner.kill()
    assert len(below) >= 2
    assert gone(below)
    assert not Path(folder).exists()


def test_a_sandbox_serves_one_event_loop_after_the_other() -> None:
    sandbox = Sandbox()
    for number in range(2):
        assert asyncio.run(sandbox.run(str(number))).stdout == f"{number}\n"
    asyncio.run(sandbox.aclose())


async def test_many_calls_leave_no_process_no_open_file_and_no_folder() -> None:
    async def act(sandbox: Sandbox) -> None:
        codes = ["1", "1/0", "import os\nos._exit(3)", "open('a', 'w').write('b')", "while True: pass"]

        async def round_of_calls() -> None:
            await asyncio.gather(*(sandbox.run(code) for code in codes * 2), return_exceptions=True)

        def held() -> tuple[int, int, int]:
            below = descendants(server_pid(sandbox))
            files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), server_pid(sandbox), *below))
            return len(below), files, len(os.listdir(sandbox._server._folder))  # type: ignore[union-attr]

        await round_of_calls()
        await asyncio.sleep(1)  # the next children get ready
        before = held()
        for _ in range(5):
            await round_of_calls()
        for _ in range(100):
            await asyncio.sleep(0.1)
            if held() == before:
                return
        assert held() == before

    await closing(act, timeout_s=0.3, processes=4)


async def test_code_over_its_bound_is_not_run() -> None:
    async def act(sandbox: Sandbox) -> None:
        with pytest.raises(ToolError, match="the code has 11 characters; at most 10 may run") as refused:
            await sandbox.run("print('abc')"[:11])
        assert refused.value.kind == "limit"

    await closing(act, code_chars=10)


async def test_a_time_out_tells_what_was_printed() -> None:
    async def act(sandbox: Sandbox) -> None:
        with pytest.raises(ToolError, match=r"did not end within 0.5 seconds\nIt had printed:\nstep 1"):
            await sandbox.run("print('step 1')\nwhile True: pass")

    await closing(act, timeout_s=0.5)


@pytest.mark.parametrize(
    "changed",
    [{"timeout_s": 0}, {"memory_mb": 1}, {"processes": 0}, {"processes": 129}, {"output_chars": 0}, {"cpu": 1}],
)
def test_settings_out_of_their_bounds_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=f"sandbox.{next(iter(changed))}"):
        read(SandboxSettings, changed, "sandbox")


async def test_another_system_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ToolError, match="needs Linux, not darwin") as refused:
        await Sandbox().run("1")
    assert refused.value.kind == "unavailable"


HOLES = {
    "no landlock": ("landlock._CREATE_RULESET = 9999", "no landlock .*Linux 5.13"),
    "no seccomp filters": ("seccomp._PR_SET_SECCOMP = 9999", "no seccomp filters"),
    "an unknown processor": ("seccomp.MACHINE = 'riscv64'", "the processor must be one of x86_64, aarch64"),
    "landlock without effect": ("landlock.restrict = lambda *given: None", "it can list the root folder"),
    "seccomp without effect": ("seccomp.Filter.install = lambda *given: None", "it can open a socket"),
    "a filter without effect on processes": (
        "seccomp._ALLOWED |= {'clone': (56, 220), 'fork': (57, None)}",
        "it can fork",
    ),
    "capabilities that stay": (
        "privileges.drop_capabilities = lambda: privileges.check(-1, 'capset')",
        "not isolated: OSError: .*capset",
    ),
}


@pytest.mark.parametrize(("hole", "reason"), HOLES.values(), ids=HOLES)
async def test_no_code_runs_where_there_is(hole: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = f"from osvl_plugins.sandbox import landlock, privileges, seccomp; {hole}; from osvl_plugins"
    monkeypatch.setattr(connection, "_PROGRAM", connection._PROGRAM.replace("from osvl_plugins", opened, 1))
    with pytest.raises(ToolError, match=f"cannot run safely here: .*{reason}") as refused:
        await Sandbox().run("print('it ran')")
    assert refused.value.kind == "unavailable"


async def test_it_holds_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = "import osvl_plugins.sandbox.privileges as p; p.namespaces = lambda: ('none', 0); from osvl_plugins"
    monkeypatch.setattr(connection, "_PROGRAM", connection._PROGRAM.replace("from osvl_plugins", forbidden, 1))

    async def act(sandbox: Sandbox) -> None:
        server = await sandbox.start()
        assert server.ready is not None
        assert server.ready.namespaces == "none"
        code = f"import os\nfor pid in ({os.getpid()}, os.getppid(), 1, -1):\n    os.kill(pid, 9)"
        assert "PermissionError" in str((await sandbox.run(code)).error)
        assert (await sandbox.run("1")).stdout == "1\n"

    await closing(act)


async def test_a_server_that_cannot_start_is_told_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "_PROGRAM", "raise SystemExit(1)")
    with caplog.at_level(logging.WARNING), pytest.raises(ToolError, match="its server ended while it started"):
        await asyncio.wait_for(Sandbox().run("1"), 30)
