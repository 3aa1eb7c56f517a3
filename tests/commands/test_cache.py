"""``osvl cache`` shows what was recorded and carries it over unchanged, or not at all."""

from __future__ import annotations

import argparse
import gzip
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from osvl_plugins.backends.recording_store import Call, Entry, Store, pack
from osvl_plugins.commands import cache
from osvl_plugins.errors import OsvlError

SEARCH = Entry(Call.of("search", {"q": "Mont Blanc", "k": 5}), b"4805.59 m", None, "2026-01-31T12:00:02+00:00")
PAGE = Entry(Call.of("pages", {"url": "https://example.org/\x9b2J"}), b"x" * 5000, None, "2026-01-31T12:00:01+00:00")
FAILURE = Entry(Call.of("search", {"q": "K2"}), b"try later", "rate_limited", "2026-01-31T12:00:03+00:00")
ENTRIES = (SEARCH, PAGE, FAILURE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "world", *ENTRIES)


def fill(folder: Path, *entries: Entry) -> Path:
    for entry in entries:
        Store(folder).write(entry)
    return folder


def osvl(*args: object) -> int:
    parser = argparse.ArgumentParser()
    cache.add(parser.add_subparsers())
    parsed = parser.parse_args(["cache", *map(str, args)])
    code: int = parsed.command(parsed)
    return code


def archive(file: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, data in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    return file


def everything(folder: Path) -> dict[str, Entry | None]:
    store = Store(folder)
    return {name: store.load(name) for name in store.names()}


def test_ls_lists_by_time_with_one_line_a_recording_when_it_is_piped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert osvl("ls", "--folder", folder) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == [
        ["time", "provider", "answer", "request"],
        [PAGE.time, "pages", "5,000 bytes", '{"url": "https://example.org/\ufffd2J"}'],
        [SEARCH.time, "search", "9 bytes", '{"k": 5, "q": "Mont Blanc"}'],
        [FAILURE.time, "search", "rate_limited", '{"q": "K2"}'],
    ]


def test_ls_shows_one_provider(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    osvl("ls", "--folder", folder, "--provider", "pages")
    assert [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()] == ["provider", "pages"]


def test_a_terminal_gets_a_table(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    osvl("ls", "--folder", folder)
    out = capsys.readouterr().out
    assert "│" in out
    assert "Mont Blanc" in out


def test_stat_counts_by_provider(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osvl("stat", "--folder", folder) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == [
        ["provider", "results", "failures", "bytes"],
        ["pages", "1", "0", "5,000"],
        ["search", "1", "1", "18"],
        ["all", "2", "1", "5,018"],
    ]


def test_stat_names_what_is_damaged_and_unfinished(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = folder / PAGE.name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (folder / "unfinished" / "left by a killed process").write_bytes(b"")
    assert osvl("stat", "--folder", folder) == 1
    output = capsys.readouterr()
    assert str(damaged) in output.err
    assert "1 unfinished" in output.out


@pytest.mark.parametrize("command", [("ls",), ("stat",), ("export", "world.tar.gz")])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(OsvlError, match=r"missing: there is no such folder"):
        osvl(*command, "--folder", tmp_path / "missing")


def test_what_is_exported_and_imported_is_the_same(folder: Path, tmp_path: Path) -> None:
    osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    osvl("import", tmp_path / "world.tar.gz", "--folder", tmp_path / "copy")
    assert everything(tmp_path / "copy") == everything(folder)


def test_equal_content_gives_equal_bytes(folder: Path, tmp_path: Path) -> None:
    osvl("export", tmp_path / "one.tar.gz", "--folder", folder)
    osvl("export", tmp_path / "two.tar.gz", "--folder", fill(tmp_path / "other", *reversed(ENTRIES)))
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_export_refuses_damaged_recordings_and_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    (folder / PAGE.name).write_bytes(b"")
    with pytest.raises(OsvlError, match=PAGE.name):
        osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    assert [file.name for file in tmp_path.iterdir()] == ["world"]


def test_import_keeps_what_is_there_and_adds_what_is_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    earlier = SEARCH._replace(time="2025-01-01T00:00:00+00:00")
    other = fill(tmp_path / "other", earlier)
    capsys.readouterr()
    osvl("import", tmp_path / "world.tar.gz", "--folder", other)
    assert capsys.readouterr().out.startswith("2 recordings added")
    assert everything(other) == {**everything(folder), SEARCH.name: earlier}


def test_import_replaces_a_damaged_recording(folder: Path, tmp_path: Path) -> None:
    osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    (folder / PAGE.name).write_bytes(b"damaged")
    osvl("import", tmp_path / "world.tar.gz", "--folder", folder)
    assert everything(folder)[PAGE.name] == PAGE


def test_import_of_a_different_answer_changes_nothing(folder: Path, tmp_path: Path) -> None:
    osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    other = fill(tmp_path / "other", SEARCH._replace(body=b"4807 m"))
    before = everything(other)
    with pytest.raises(OsvlError, match=r"Mont Blanc.* was answered differently"):
        osvl("import", tmp_path / "world.tar.gz", "--folder", other)
    assert everything(other) == before


def _link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        ("../escaped", pack(SEARCH)),
        ("/tmp/escaped", pack(SEARCH)),
        (f"results/../../{SEARCH.name}", pack(SEARCH)),
        (PAGE.name, pack(SEARCH)),
        (f"{SEARCH.name}\n", pack(SEARCH)),
        (SEARCH.name, pack(SEARCH)[:-1]),
        (_link(SEARCH.name, "/etc/passwd"), b""),
        (PAGE.name, pack(PAGE)),
    ],
    ids=["parent", "absolute", "through parent", "wrong name", "line end", "damaged", "link", "twice"],
)
def test_import_refuses_the_whole_archive_for_one_member_that_is_no_recording(
    tmp_path: Path, member: tuple[str | tarfile.TarInfo, bytes]
) -> None:
    file = archive(tmp_path / "world.tar.gz", (PAGE.name, pack(PAGE)), member)
    with pytest.raises(OsvlError, match=r"world\.tar\.gz"):
        osvl("import", file, "--folder", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["world.tar.gz"]


def test_import_refuses_a_request_that_was_not_written_by_a_recorder(tmp_path: Path) -> None:
    import hashlib

    line = b'[ "search", {"b": 1, "a": 2}]'
    crafted = SEARCH._replace(call=Call(hashlib.sha256(line).hexdigest(), line))
    file = archive(tmp_path / "world.tar.gz", (crafted.name, pack(crafted)))
    with pytest.raises(OsvlError, match="not in canonical form"):
        osvl("import", file, "--folder", tmp_path / "new")


def test_import_refuses_an_archive_that_is_cut_off_anywhere(folder: Path, tmp_path: Path) -> None:
    osvl("export", tmp_path / "world.tar.gz", "--folder", folder)
    data = (tmp_path / "world.tar.gz").read_bytes()
    for size in range(0, len(data), 7):
        (tmp_path / "cut.tar.gz").write_bytes(data[:size])
        with pytest.raises(OsvlError, match=r"cut\.tar\.gz"):
            osvl("import", tmp_path / "cut.tar.gz", "--folder", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("data", [b"", b"no archive", gzip.compress(b"no archive")])
def test_import_refuses_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "world.tar.gz").write_bytes(data)
    with pytest.raises(OsvlError, match=r"world\.tar\.gz"):
        osvl("import", tmp_path / "world.tar.gz", "--folder", tmp_path / "new")
