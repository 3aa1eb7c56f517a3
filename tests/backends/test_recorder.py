"""What is recorded is what comes back: whole, for the same request only, and asked for once."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.backends.recorder import Recorder, RecordingSettings
from osvl_plugins.backends.recording_store import (
    MAX_BODY_BYTES,
    MAX_REQUEST_BYTES,
    Call,
    Entry,
    RecordingError,
    Store,
    pack,
    unpack,
)
from osvl_plugins.errors import ReplayMiss, SettingError, ToolError
from osvl_plugins.settings import read

Start = Callable[..., subprocess.Popen[str]]

DEADLINE_S = 60
REQUEST = {"q": "height of Mont Blanc", "k": 5}
CALL = Call.of("search", REQUEST)

WRITE = """
import os, sys
from pathlib import Path
from osvl_plugins.backends.recording_store import Call, Entry, Store

store = Store(Path(sys.argv[1]))
number = 0
while True:
    number = (number + 1) % 40  # so that entries are replaced, too
    store.write(Entry.now(Call.of("search", {"number": number}), os.urandom(200_000)))
    if number == 1:
        print("writing", flush=True)
"""

ASK = """
import asyncio, sys
from osvl_plugins.backends.recorder import Recorder, RecordingSettings

async def fetch():
    print("asked", flush=True)
    await asyncio.sleep(float(sys.argv[2]))
    return b"answer"

async def main():
    recorder = Recorder(RecordingSettings(mode="cache", folder=sys.argv[1]))
    print((await recorder.call("search", {"q": "x"}, fetch)).decode())

asyncio.run(main())
"""


class Service:
    """Answers with the number of times that it was asked, or fails."""

    def __init__(self, failure: ToolError | None = None) -> None:
        self.asked = 0
        self.failure = failure

    async def fetch(self) -> bytes:
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.failure is not None:
            raise self.failure
        return f"answer {self.asked}".encode()


def recorder(mode: str, folder: Path) -> Recorder:
    return Recorder(read(RecordingSettings, {"mode": mode, "folder": str(folder)}, "recording"))


async def never() -> bytes:
    raise AssertionError("a service was asked")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that runs a script; it is gone after the test."""
    with ExitStack() as ends:

        def run(script: str, *args: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", script, *map(str, args)]
            process = ends.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            ends.callback(process.kill)
            return process

        yield run


def only_file(folder: Path) -> Path:
    (name,) = Store(folder).names()
    return folder / name


async def test_live_asks_every_time_and_needs_no_folder() -> None:
    live, service = Recorder(RecordingSettings()), Service()
    assert await live.call("search", REQUEST, service.fetch) == b"answer 1"
    assert await live.call("search", REQUEST, service.fetch) == b"answer 2"


async def test_record_asks_every_time_and_replay_gives_the_last_answer_without_asking(tmp_path: Path) -> None:
    record, service = recorder("record", tmp_path), Service()
    for _ in range(2):
        await record.call("search", REQUEST, service.fetch)
    assert service.asked == 2
    assert await recorder("replay", tmp_path).call("search", REQUEST, never) == b"answer 2"


@pytest.mark.parametrize("size", [0, 1, 20_000, 400_000])
async def test_answers_of_every_size_come_back_as_they_were(tmp_path: Path, size: int) -> None:
    body = os.urandom(size)

    async def fetch() -> bytes:
        return body

    await recorder("record", tmp_path).call("search", REQUEST, fetch)
    assert await recorder("replay", tmp_path).call("search", REQUEST, never) == body


async def test_a_recorded_failure_is_replayed_with_its_kind_and_message(tmp_path: Path) -> None:
    service = Service(ToolError("rate_limited", "search: too many requests \ud83d"))
    with pytest.raises(ToolError):
        await recorder("record", tmp_path).call("search", REQUEST, service.fetch)
    with pytest.raises(ToolError, match="search: too many requests \ud83d") as replayed:
        await recorder("replay", tmp_path).call("search", REQUEST, never)
    assert replayed.value.kind == "rate_limited"


async def test_a_recorded_result_outranks_a_later_failure(tmp_path: Path) -> None:
    record = recorder("record", tmp_path)
    await record.call("search", REQUEST, Service().fetch)
    with pytest.raises(ToolError):
        await record.call("search", REQUEST, Service(ToolError("unavailable", "down")).fetch)
    assert await recorder("replay", tmp_path).call("search", REQUEST, never) == b"answer 1"


async def test_a_replay_miss_names_the_call_and_the_folder_and_is_no_tool_failure(tmp_path: Path) -> None:
    with pytest.raises(ReplayMiss) as miss:
        await recorder("replay", tmp_path).call("search", REQUEST, never)
    assert not isinstance(miss.value, ToolError)
    for part in ("search", "height of Mont Blanc", str(tmp_path), "record again"):
        assert part in str(miss.value)


def test_replay_of_a_folder_that_is_not_there_stops_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="there are no recordings to replay"):
        recorder("replay", tmp_path / "missing")


@pytest.mark.parametrize("mode", ["record", "replay", "cache"])
def test_a_mode_that_keeps_answers_needs_a_folder(mode: str) -> None:
    with pytest.raises(SettingError, match=r"^recording\.folder: .*needs a folder"):
        read(RecordingSettings, {"mode": mode}, "recording")


async def test_cache_asks_once(tmp_path: Path) -> None:
    service = Service()
    for _ in range(3):
        assert await recorder("cache", tmp_path).call("search", REQUEST, service.fetch) == b"answer 1"


async def test_cache_neither_keeps_nor_serves_failures(tmp_path: Path) -> None:
    failing, working = Service(ToolError("unavailable", "down")), Service()
    for mode in ("record", "cache"):
        with pytest.raises(ToolError):
            await recorder(mode, tmp_path).call("search", REQUEST, failing.fetch)
    assert await recorder("cache", tmp_path).call("search", REQUEST, working.fetch) == b"answer 1"
    other = tmp_path / "other"
    with pytest.raises(ToolError):
        await recorder("cache", other).call("search", REQUEST, failing.fetch)
    assert not list(Store(other).names())


async def test_what_is_no_tool_error_is_not_recorded(tmp_path: Path) -> None:
    async def broken() -> bytes:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await recorder("record", tmp_path).call("search", REQUEST, broken)
    assert not list(Store(tmp_path).names())


@pytest.mark.parametrize("mode", ["live", "record", "cache"])
async def test_an_answer_over_the_bound_is_a_limit_in_every_mode(tmp_path: Path, mode: str) -> None:
    async def fetch() -> bytes:
        return bytes(MAX_BODY_BYTES + 1)

    with pytest.raises(ToolError) as refused:
        await recorder(mode, tmp_path).call("pages", {"url": "x"}, fetch)
    assert refused.value.kind == "limit"


async def test_a_damaged_recording_is_asked_for_again_by_cache_and_named_by_replay(tmp_path: Path) -> None:
    cache, service = recorder("cache", tmp_path), Service()
    await cache.call("search", REQUEST, service.fetch)
    file = only_file(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RecordingError, match=str(file)):
        await recorder("replay", tmp_path).call("search", REQUEST, never)
    assert await cache.call("search", REQUEST, service.fetch) == b"answer 2"
    assert await recorder("replay", tmp_path).call("search", REQUEST, never) == b"answer 2"


WHOLE = pack(Entry.now(CALL, b"It is 4805.59 metres high. " * 20))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_every_changed_byte_is_noticed(at: int, change: int) -> None:
    damaged = WHOLE[:at] + bytes([WHOLE[at] ^ change]) + WHOLE[at + 1 :]
    with pytest.raises(RecordingError, match="here"):
        unpack(damaged, Entry.now(CALL, b"").name, "here")


@given(st.integers(0, len(WHOLE) - 1))
def test_every_missing_end_is_noticed(size: int) -> None:
    with pytest.raises(RecordingError, match="here"):
        unpack(WHOLE[:size], Entry.now(CALL, b"").name, "here")


def test_a_recording_of_another_call_is_not_served(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(Entry.now(CALL, b"4805.59"))
    other = Call.of("search", {"q": "height of K2"})
    moved = tmp_path / Entry.now(other, b"").name
    moved.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / Entry.now(CALL, b"").name).rename(moved)
    with pytest.raises(RecordingError, match="it belongs at"):
        store.read(other.key)


def test_a_process_killed_while_it_writes_leaves_only_whole_recordings(tmp_path: Path, start: Start) -> None:
    for round_ in range(24):
        writer = start(WRITE, tmp_path)
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(0.005 + 0.003 * round_)
        writer.kill()
        writer.wait(DEADLINE_S)
    store = Store(tmp_path)
    entries = [store.load(name) for name in store.names()]
    assert len(entries) > 1
    assert all(entry is not None and len(entry.body) == 200_000 for entry in entries)


@pytest.mark.parametrize("mode", ["record", "cache"])
async def test_equal_calls_at_the_same_time_share_one_request(tmp_path: Path, mode: str) -> None:
    shared, service = recorder(mode, tmp_path), Service()
    answers = await asyncio.gather(*(shared.call("search", REQUEST, service.fetch) for _ in range(20)))
    assert set(answers) == {b"answer 1"}
    assert service.asked == 1


async def _crowd(shared: Recorder, fetch: Callable[[], Awaitable[bytes]], size: int = 3) -> list[asyncio.Task[bytes]]:
    """Tasks that wait for the same answer."""
    crowd = [asyncio.create_task(shared.call("search", REQUEST, fetch)) for _ in range(size)]
    await asyncio.sleep(0.05)
    return crowd


async def test_a_cancelled_caller_does_not_take_the_answer_from_the_others(tmp_path: Path) -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def fetch() -> bytes:
        return await answer

    crowd = await _crowd(recorder("cache", tmp_path), fetch)
    crowd[0].cancel()
    await asyncio.wait(crowd[:1])
    answer.set_result(b"late")
    assert await asyncio.gather(*crowd[1:]) == [b"late", b"late"]


async def test_a_request_that_nobody_waits_for_is_cancelled_and_the_next_caller_asks_anew(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def fetch() -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError("unreachable")

    shared = recorder("cache", tmp_path)
    for caller in (crowd := await _crowd(shared, fetch)):
        caller.cancel()
    await asyncio.wait(crowd)
    assert await shared.call("search", REQUEST, Service().fetch) == b"answer 1"
    await asyncio.wait_for(ended.wait(), DEADLINE_S)


def test_equal_calls_of_several_processes_share_one_request(tmp_path: Path, start: Start) -> None:
    processes = [start(ASK, tmp_path, 1.0) for _ in range(4)]
    lines = [line for process in processes for line in process.communicate(timeout=DEADLINE_S)[0].splitlines()]
    assert sorted(lines) == ["answer"] * 4 + ["asked"]
    assert not list((tmp_path / "locks").iterdir())


async def test_a_killed_process_leaves_its_request_to_the_next(tmp_path: Path, start: Start) -> None:
    asking = start(ASK, tmp_path, 60)
    assert asking.stdout is not None
    asking.stdout.readline()
    waiter = asyncio.create_task(recorder("cache", tmp_path).call("search", {"q": "x"}, Service().fetch))
    await asyncio.sleep(0.1)
    assert not waiter.done()
    asking.kill()
    asking.wait(DEADLINE_S)
    assert await asyncio.wait_for(waiter, DEADLINE_S) == b"answer 1"


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(RecordingError, match=str(tmp_path)):
        await recorder("record", tmp_path).call("search", REQUEST, Service().fetch)


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=10
)
requests = st.dictionaries(st.text(), values, max_size=5)


def _reversed(value: object) -> object:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


@given(requests)
def test_the_order_of_keys_does_not_matter(request: dict[str, object]) -> None:
    assert Call.of("search", request) == Call.of("search", _reversed(request))


@given(requests, requests, st.text(), st.text())
def test_different_calls_have_different_keys(
    request: dict[str, object], other: dict[str, object], provider: str, another: str
) -> None:
    # As text, because True == 1 == 1.0 in Python but not in JSON.
    same = (provider, json.dumps(request, sort_keys=True)) == (another, json.dumps(other, sort_keys=True))
    assert (Call.of(provider, request) == Call.of(another, other)) == same


def test_half_surrogates_are_not_taken_for_the_character_they_spell() -> None:
    assert Call.of("search", {"q": "\ud83d\ude00"}) != Call.of("search", {"q": "\U0001f600"})


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), b"bytes", (1, 2), {1: "a"}, {None: 1}, {1, 2}, "x" * MAX_REQUEST_BYTES],
    ids=["NaN", "infinity", "bytes", "tuple", "number as key", "null as key", "set", "too large"],
)
def test_what_is_not_plain_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a request to search"):
        Call.of("search", {"nested": [value]})


@given(requests)
def test_a_request_in_short_is_one_printable_line(request: dict[str, object]) -> None:
    short = Call.of("search", request).request(40)
    assert len(short) <= 40
    assert short.isprintable()
