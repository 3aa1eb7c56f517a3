"""Where the content of the embedded corpus comes from, and how it is fetched: through ordinary package clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from osvl_plugins.errors import CorpusError

TIMEOUT_S = 300.0
MAX_ARCHIVE_BYTES = 128 * 2**20
MAX_UNPACKED_BYTES = 512 * 2**20
VERSION_FILE = ".source-version"


@dataclass(frozen=True)
class Source:
    """A package with content. ``version`` is pinned, or empty where the registry serves one version only."""

    name: str
    registry: Literal["npm", "debian", "pypi"]
    gives: str
    licence: str
    origin: str
    version: str = ""


SOURCES = (
    Source(
        "world-countries",
        "npm",
        "250 countries with flags, capitals, currencies, languages, borders",
        "ODbL-1.0",
        "https://github.com/mledoze/countries",
        version="5.1.0",
    ),
    Source(
        "gcompris-qt-data",
        "debian",
        "photos and texts of monuments and animals, paintings",
        "GPL-3.0-or-later; pictures as listed below",
        "https://invent.kde.org/education/gcompris",
    ),
    Source(
        "freeciv-data",
        "debian",
        "the last paragraph, on history, of pages of countries",
        "GPL-2.0-or-later",
        "https://github.com/freeciv/freeciv",
    ),
)


WIKI_SAMPLE = Source(
    "gensim",
    "pypi",
    "106 articles of the English Wikipedia as a dump, in its test data",
    "CC-BY-SA-3.0; the package around them LGPL-2.1-only",
    "https://github.com/piskvorky/gensim",
    version="4.4.0",
)
"""No part of the embedded corpus: a small real dump to build a graph from."""
WIKI_SAMPLE_DUMP = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
"""Where the dump lies in the unpacked package."""

# One wheel for all machines, so that its content does not depend on where it is fetched.
_WHEEL_TAGS = ("--python-version", "3.11", "--implementation", "cp", "--platform", "manylinux_2_28_x86_64")


def fetch(source: Source, cache: Path) -> Path:
    """The unpacked folder of a source below ``cache``, downloaded when it is not there yet.

    Raises ``CorpusError`` when the registry's client is missing or the download fails, is over 128 MiB packed or
    512 MiB unpacked, or takes longer than five minutes a step.
    """
    cache = cache.absolute()
    target = cache / f"{source.name}-{source.version}" if source.version else cache / source.name
    if (target / VERSION_FILE).is_file():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{source.name}-", dir=cache) as scratch:
        download, unpacked = Path(scratch) / "download", Path(scratch) / "unpacked"
        download.mkdir()
        unpacked.mkdir()
        archive = _download(source, download, cache)
        if archive.stat().st_size > MAX_ARCHIVE_BYTES:
            raise CorpusError(f"{source.name}: the package is over {MAX_ARCHIVE_BYTES} bytes")
        _unpack(source, archive, unpacked)
        (unpacked / VERSION_FILE).write_text(_version(source, archive), encoding="utf-8")
        try:
            unpacked.rename(target)
        except OSError as error:
            # Another process may have fetched the same source meanwhile; then its copy serves.
            if not (target / VERSION_FILE).is_file():
                raise CorpusError(f"{source.name}: cannot write {target}: {error}") from error
    return target


def fetched_version(folder: Path) -> str:
    """Version of the package in a folder that ``fetch`` returned."""
    return (folder / VERSION_FILE).read_text(encoding="utf-8")


def _download(source: Source, download: Path, cache: Path) -> Path:
    if source.registry == "npm":
        return _npm(source, download)
    return _debian(source, download, cache) if source.registry == "debian" else _pypi(source, download)


def _npm(source: Source, download: Path) -> Path:
    _need("npm", source, "install Node.js with npm")
    package = f"{source.name}@{source.version}"
    _run(["npm", "pack", "--silent", "--ignore-scripts", package], download, source)
    return _only(download.glob("*.tgz"), source)


def _debian(source: Source, download: Path, cache: Path) -> Path:
    _need("apt-get", source, "build on Debian or Ubuntu, or in a container of one")
    _need("dpkg-deb", source, "install dpkg")
    # Folders of our own: neither root nor the system's package lists are needed, and neither is changed.
    state = cache / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}"]
    options += ["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", "-q"]
    if not any((state / "lists").glob("*Packages*")):
        _run(["apt-get", *options, "update"], download, source)
    _run(["apt-get", *options, "download", source.name], download, source)
    return _only(download.glob("*.deb"), source)


def _pypi(source: Source, download: Path) -> Path:
    package = f"{source.name}=={source.version}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *_WHEEL_TAGS]
    _run([*pip, package], download, source)
    return _only(download.glob("*.whl"), source)


def _unpack(source: Source, archive: Path, target: Path) -> None:
    if archive.suffix == ".deb":
        _run(["dpkg-deb", "-x", str(archive), str(target)], target, source)
        size = sum(file.lstat().st_size for file in target.rglob("*"))
        if size > MAX_UNPACKED_BYTES:
            raise CorpusError(f"{source.name}: over {MAX_UNPACKED_BYTES} bytes unpacked")
        return
    try:
        if archive.suffix == ".whl":
            _unpack_wheel(source, archive, target)
            return
        with tarfile.open(archive) as tar:
            if sum(member.size for member in tar.getmembers()) > MAX_UNPACKED_BYTES:
                raise CorpusError(f"{source.name}: over {MAX_UNPACKED_BYTES} bytes unpacked")
            for member in tar.getmembers():
                _unpack_member(source, tar, member, target)
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise CorpusError(f"{source.name}: the package does not unpack: {error}") from error


def _unpack_wheel(source: Source, archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        if sum(member.file_size for member in wheel.infolist()) > MAX_UNPACKED_BYTES:
            raise CorpusError(f"{source.name}: over {MAX_UNPACKED_BYTES} bytes unpacked")
        # Names that lead outside are made to stay inside by zipfile itself.
        wheel.extractall(target)


def _unpack_member(source: Source, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    # tarfile's own filter is not in the first releases of Python 3.10 and 3.11.
    path = (target / member.name).resolve()
    content = tar.extractfile(member) if member.isreg() else None
    if not path.is_relative_to(target.resolve()) or not (content or member.isdir()):
        raise CorpusError(f"{source.name}: the package does not unpack: {member.name} is no file or folder inside it")
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _version(source: Source, archive: Path) -> str:
    # Debian names its files package_version_architecture.deb, with ":" of the version escaped.
    return source.version or archive.name.split("_")[1].replace("%3a", ":")


def _need(tool: str, source: Source, remedy: str) -> None:
    if shutil.which(tool) is None:
        raise CorpusError(f"{source.name}: {tool} is not installed; {remedy}")


def _only(files: Iterable[Path], source: Source) -> Path:
    found = list(files)
    if len(found) != 1:
        raise CorpusError(f"{source.name}: the download left {len(found)} packages instead of one")
    return found[0]


def _run(command: Sequence[str], folder: Path, source: Source) -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorpusError(f"{source.name}: {command[0]} did not finish: {error}; try again online") from error
    if done.returncode:
        detail = (done.stderr or done.stdout).strip()[-400:]
        raise CorpusError(f"{source.name}: {command[0]} failed; try again online: {detail}")
