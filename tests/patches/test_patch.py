"""The mechanism: exact, idempotent, reversible to the byte, and nothing but the files it names."""

from __future__ import annotations

import hashlib
import os
import py_compile
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osvl_plugins.errors import OsvlError
from osvl_plugins.patches.patch import Edit, FilePatch, Patch, apply, edited, examine, revert

BEFORE = {"a.py": b"x = 1\ny = 2\n", "sub/b.py": "name = 'é'\n".encode()}
AFTER = {"a.py": b"x = 1\ny = 20\nz = 3\n", "sub/b.py": b"name = 'e'\n"}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(path: str, *edits: Edit) -> FilePatch:
    return FilePatch(path, digest(BEFORE[path]), digest(AFTER[path]), edits)


PATCH = Patch(
    "numbers",
    "for the test.",
    "9.9",
    (
        file("a.py", Edit("y = 2\n", "y = 20\n"), Edit("y = 20\n", "y = 20\nz = 3\n")),
        file("sub/b.py", Edit("'é'", "'e'")),
    ),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return package(tmp_path / "package")


def package(root: Path, version: str = "9.9") -> Path:
    for name, content in {**BEFORE, "version/version": f"{version}\n".encode()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_applied_files_are_the_expected_ones_and_nothing_else_changes(root: Path) -> None:
    assert apply(PATCH, root) is True
    assert contents(root) == {**AFTER, "version/version": b"9.9\n"}


def test_applying_twice_is_applying_once(root: Path) -> None:
    apply(PATCH, root)
    once = contents(root)
    assert apply(PATCH, root) is False
    assert contents(root) == once


def test_reverting_gives_every_byte_back_and_leaves_nothing(root: Path) -> None:
    before = contents(root)
    apply(PATCH, root)
    assert revert(PATCH, root) is True
    assert contents(root) == before
    assert revert(PATCH, root) is False


def test_the_state_is_told(root: Path) -> None:
    assert examine(PATCH, root).state == "not applied"
    apply(PATCH, root)
    assert examine(PATCH, root).state == "applied"
    (root / "a.py").write_bytes(BEFORE["a.py"])
    assert examine(PATCH, root).state == "partly applied"


@pytest.mark.parametrize("bring", [apply, revert])
def test_a_half_done_patch_can_be_finished_or_undone(root: Path, bring: object) -> None:
    (root / "a.py").write_bytes(AFTER["a.py"])
    assert bring(PATCH, root) is True  # type: ignore[operator]
    assert contents(root) == {**(AFTER if bring is apply else BEFORE), "version/version": b"9.9\n"}


@pytest.mark.parametrize("bring", [apply, revert])
def test_a_file_that_somebody_changed_is_refused_and_nothing_is_touched(root: Path, bring: object) -> None:
    (root / "sub" / "b.py").write_bytes(b"name = 'mine'\n")
    before = contents(root)
    with pytest.raises(OsvlError, match=r"patch numbers: .*sub/b\.py is not the file of the released verl 9\.9"):
        bring(PATCH, root)  # type: ignore[operator]
    assert contents(root) == before


def test_another_version_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"is verl 9\.8, and the patch is for 9\.9"):
        apply(PATCH, package(tmp_path, "9.8"))


def test_a_folder_that_is_no_verl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OsvlError, match=r"is no folder of verl"):
        apply(PATCH, tmp_path)


def test_a_missing_file_is_an_unknown_source(root: Path) -> None:
    (root / "a.py").unlink()
    assert examine(PATCH, root).state == "unknown source"


def test_compiled_files_of_the_old_source_are_removed(root: Path) -> None:
    compiled = Path(py_compile.compile(str(root / "a.py"), doraise=True) or "")
    kept = compiled.with_name("ab.cpython-311.pyc")
    kept.write_bytes(b"")
    apply(PATCH, root)
    assert not compiled.exists()
    assert kept.exists()


def test_an_unchecked_compiled_file_cannot_hide_the_patch(root: Path) -> None:
    py_compile.compile(str(root / "a.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    apply(PATCH, root)
    done = subprocess.run([sys.executable, "-c", "import a; print(a.y)"], cwd=root, capture_output=True, timeout=60)
    assert done.stdout == b"20\n"


def test_permissions_stay(root: Path) -> None:
    (root / "a.py").chmod(0o640)
    apply(PATCH, root)
    assert stat.S_IMODE((root / "a.py").stat().st_mode) == 0o640


def test_a_cache_that_shares_the_file_keeps_the_released_one(root: Path, tmp_path: Path) -> None:
    os.link(root / "a.py", tmp_path / "cached.py")
    apply(PATCH, root)
    assert (tmp_path / "cached.py").read_bytes() == BEFORE["a.py"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """As a user whom permissions bind, which they do not for root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A package that everybody may read; pytest's own folders are for their owner only."""
    with tempfile.TemporaryDirectory(prefix="osvl-patch-") as folder:
        Path(folder).chmod(0o755)
        root = package(Path(folder) / "package")
        yield root
        for path in root.rglob("*"):
            path.chmod(0o755)


@pytest.mark.parametrize("locked", [(".",), ("sub",)])
def test_a_read_only_installation_is_an_error_that_says_what_to_do(reachable: Path, locked: tuple[str, ...]) -> None:
    for folder in (".", "sub"):
        (reachable / folder).chmod(0o555 if folder in locked else 0o777)
    before = contents(reachable)
    with (
        as_nobody(),
        pytest.raises(OsvlError, match=r"cannot be written \(Permission denied\), and nothing"),
    ):
        apply(PATCH, reachable)
    assert contents(reachable) == before


def occurrences(text: str, part: str) -> int:
    return sum(text.startswith(part, at) for at in range(len(text) + 1))


LETTERS = st.text("ab\n", max_size=12)


@given(content=LETTERS, old=st.text("ab\n", min_size=1, max_size=3), new=st.text("ab\n", max_size=4))
def test_edits_are_made_only_where_they_can_be_undone(content: str, old: str, new: str) -> None:
    after = content.replace(old, new, 1)
    patched = FilePatch("f", digest(content.encode()), digest(after.encode()), (Edit(old, new),))
    if occurrences(content, old) != 1:
        with pytest.raises(OsvlError, match="instead of once"):
            edited(patched, content.encode())
        return
    there = edited(patched, content.encode())
    assert there == after.encode()
    if occurrences(after, new) == 1:
        assert edited(patched, there, forward=False) == content.encode()


def test_a_result_other_than_the_expected_one_is_not_written(root: Path) -> None:
    wrong = PATCH._replace(files=(PATCH.files[0]._replace(after="0" * 64),))
    before = contents(root)
    with pytest.raises(OsvlError, match="do not give the expected file"):
        apply(wrong, root)
    assert contents(root) == before
