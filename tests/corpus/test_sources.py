from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from osvl_plugins.corpus.sources import SOURCES, Source, fetch, fetched_version
from osvl_plugins.errors import CorpusError

NPM = Source("world-countries", "npm", "countries", "ODbL-1.0", "", version="5.1.0")
DEBIAN = Source("gcompris-qt-data", "debian", "photos", "GPL-3.0-or-later", "")


def client(folder: Path, name: str, script: str) -> None:
    """A stand-in for a registry's client, so that failures of the registry can be had."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("source", [NPM, DEBIAN])
def test_a_missing_client_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(CorpusError, match=rf"{source.name}: (npm|apt-get) is not installed; "):
        fetch(source, tmp_path)


def test_a_failed_download_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client(tmp_path / "bin", "npm", "echo no network >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(CorpusError, match=r"world-countries: npm failed; .*no network"):
        fetch(NPM, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_fetched_source_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "package"
    inside.mkdir()
    (inside / "countries.json").write_text("[]")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as tar:
        tar.add(inside, "package")
    client(tmp_path / "bin", "npm", f"cp {tmp_path / 'made.tgz'} world-countries-5.1.0.tgz")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    folder = fetch(NPM, tmp_path / "cache")
    assert (folder / "package" / "countries.json").read_text() == "[]"
    assert fetched_version(folder) == "5.1.0"
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert fetch(NPM, tmp_path / "cache") == folder


def test_a_package_that_leaves_its_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("x")
    with tarfile.open(tmp_path / "made.tgz", "w:gz") as tar:
        tar.add(tmp_path / "x", "../../escaped")
    client(tmp_path / "bin", "npm", f"cp {tmp_path / 'made.tgz'} world-countries-5.1.0.tgz")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(CorpusError, match="does not unpack"):
        fetch(NPM, tmp_path / "cache")


def test_every_source_says_its_licence_and_origin() -> None:
    assert all(source.licence and source.origin and source.gives for source in SOURCES)
