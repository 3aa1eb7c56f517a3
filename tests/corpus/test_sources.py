from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from osvl_plugins.corpus.sources import SOURCES, WIKI_SAMPLE, WIKI_SAMPLE_DUMP, Source, fetch, fetched_version
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


def test_a_wheel_that_pip_cannot_have_is_reported_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CorpusError, match=r"gensim: .*python.* failed; try again online: .*gensim==4\.4\.0"):
        fetch(WIKI_SAMPLE, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "gensim-4.4.0-cp311-cp311-manylinux_2_28_x86_64.whl", "w") as wheel:
        wheel.writestr(WIKI_SAMPLE_DUMP, "dump")
        wheel.writestr("../escaped", "x")
        wheel.writestr("gensim-4.4.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: gensim\nVersion: 4.4.0\n")
        wheel.writestr("gensim-4.4.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    folder = fetch(WIKI_SAMPLE, tmp_path / "cache")
    assert (folder / WIKI_SAMPLE_DUMP).read_text() == "dump"
    assert fetched_version(folder) == "4.4.0"
    assert not list(tmp_path.glob("*escaped"))
    assert not list((tmp_path / "cache").glob("*escaped"))


def test_every_source_says_its_licence_and_origin() -> None:
    assert all(source.licence and source.origin and source.gives for source in (*SOURCES, WIKI_SAMPLE))
