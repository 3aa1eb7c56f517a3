"""Zip files of unknown origin."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.data.archive import open_archive, read_member
from osvl_plugins.data.report import Rejected

CONTENTS = {"images/a.jpg": b"a" * 5000, "images/ä.jpg": bytes(range(256)) * 9, "b.jpg": b""}


def write(file: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("images/", b"")
        for name, data in contents.items():
            archive.writestr(name, data)
    return file


def contents(file: Path) -> dict[str, bytes]:
    return {name: read_member(file, member, 10**6) for name, member in open_archive(file).members.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_was_packed_is_read(tmp_path: Path, method: int) -> None:
    file = write(tmp_path / "a.zip", CONTENTS, method)
    assert contents(file) == CONTENTS
    assert (open_archive(file).problem, open_archive(file).ignored) == (None, 0)


@given(kept=st.floats(0, 1))
def test_of_an_archive_that_was_cut_off_the_whole_entries_are_read(
    kept: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = write(tmp_path_factory.mktemp("zip") / "a.zip", CONTENTS)
    listed = zipfile.ZipFile(whole)
    ends = [*(info.header_offset for info in listed.infolist()), listed.start_dir]
    cut = whole.with_name("cut.zip")
    size = int(kept * (whole.stat().st_size - 1))
    cut.write_bytes(whole.read_bytes()[:size])
    archive = open_archive(cut)
    assert archive.problem
    expected = {
        name for name, end in zip(listed.namelist(), ends[1:], strict=True) if end <= size and not name.endswith("/")
    }
    assert set(archive.members) == expected
    assert contents(cut) == {name: CONTENTS[name] for name in expected}


def test_an_entry_over_4_gib_is_followed_to_its_end(tmp_path: Path) -> None:
    name, extra = b"large", struct.pack("<HHQQ", 1, 16, 2**33, 3)
    header = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 45, 0, 0, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(name), len(extra))
    whole = write(tmp_path / "a.zip", {"after": b"x"}).read_bytes()
    after = whole[whole.index(b"after") - 30 : whole.index(b"PK\1\2")]
    file = tmp_path / "cut.zip"
    file.write_bytes(header + name + extra + b"abc" + after)
    assert open_archive(file).members["large"].size == 2**33
    assert contents_of(file, "after") == b"x"


def contents_of(file: Path, name: str) -> bytes:
    return read_member(file, open_archive(file).members[name], 10**6)


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "images/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", "C:/a.jpg"])
def test_an_entry_named_outside_the_archive_is_not_there(tmp_path: Path, name: str) -> None:
    archive = open_archive(write(tmp_path / "a.zip", {name: b"x", "a.jpg": b"y"}))
    assert list(archive.members) == ["a.jpg"]
    assert archive.ignored == 1


def test_an_entry_packed_in_an_unusual_way_is_not_there(tmp_path: Path) -> None:
    archive = open_archive(write(tmp_path / "a.zip", {"a.jpg": b"x"}, zipfile.ZIP_BZIP2))
    assert (archive.members, archive.ignored) == ({}, 1)


def test_a_large_entry_is_not_unpacked(tmp_path: Path) -> None:
    file = write(tmp_path / "a.zip", {"a.jpg": bytes(10**6)})
    with pytest.raises(Rejected, match="picture_too_large"):
        read_member(file, open_archive(file).members["a.jpg"], 10**5)


def test_an_entry_that_unpacks_to_more_than_it_says_is_damaged(tmp_path: Path) -> None:
    file = write(tmp_path / "bomb.zip", {"a.jpg": bytes(10**6)})
    member = open_archive(file).members["a.jpg"]._replace(size=100)
    with pytest.raises(Rejected, match="damaged"):
        read_member(file, member, 10**5)


@pytest.mark.parametrize("at", [0, 60])
def test_a_damaged_entry_is_no_picture(tmp_path: Path, at: int) -> None:
    file = write(tmp_path / "a.zip", {"a.jpg": bytes(range(200))})
    member = open_archive(file).members["a.jpg"]
    data = bytearray(file.read_bytes())
    data[member.offset + at] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(Rejected, match="damaged"):
        read_member(file, member, 10**6)


def test_what_is_no_zip_file_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"no archive at all")
    archive = open_archive(file)
    assert archive.members == {}
    assert archive.problem
