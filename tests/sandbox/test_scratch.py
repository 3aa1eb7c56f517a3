"""Folders of calls are counted without following what is in them, and removed whatever is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from osvl_plugins.sandbox import scratch


def deep(folder: Path, levels: int) -> None:
    """A chain of folders, longer than a path may be."""
    inside = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=inside)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inside)
        os.close(inside)
        inside = deeper
    os.close(os.open("file", os.O_CREAT, dir_fd=inside))
    os.close(inside)


def test_a_tree_deeper_than_a_path_is_long_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "call"
    folder.mkdir()
    deep(folder, 3000)
    scratch.remove(str(folder))
    assert not folder.exists()


def test_folders_without_permissions_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "call"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "file").touch()
    (folder / "a" / "b").chmod(0)
    (folder / "a").chmod(0)
    scratch.remove(str(folder))
    assert not folder.exists()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    folder = tmp_path / "call"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    scratch.remove(str(folder))
    assert (kept / "file").exists()


def test_few_small_files_are_within_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(bytes(1000))
    assert not scratch.over_limit(str(tmp_path))


@pytest.mark.parametrize("levels", [scratch.MAX_ENTRIES + 1, 3000])
def test_many_folders_in_folders_are_over_the_limit(levels: int, tmp_path: Path) -> None:
    folder = tmp_path / "call"
    folder.mkdir()
    deep(folder, levels)
    assert scratch.over_limit(str(folder))
    scratch.remove(str(folder))


def test_many_files_are_over_the_limit(tmp_path: Path) -> None:
    for number in range(scratch.MAX_ENTRIES + 1):
        (tmp_path / str(number)).touch()
    assert scratch.over_limit(str(tmp_path))


def test_large_files_are_over_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, scratch.MAX_BYTES + 4096)
    assert scratch.over_limit(str(tmp_path))


def test_the_holes_of_a_sparse_file_do_not_count(tmp_path: Path) -> None:
    os.truncate(tmp_path / "file", 0) if (tmp_path / "file").exists() else (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", scratch.MAX_BYTES * 10)
    assert not scratch.over_limit(str(tmp_path))


def test_no_file_is_left_open_by_counting(tmp_path: Path) -> None:
    folder = tmp_path / "call"
    folder.mkdir()
    deep(folder, 1500)
    (folder / "other").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    scratch.over_limit(str(folder))
    assert len(os.listdir("/proc/self/fd")) == before
    scratch.remove(str(folder))
