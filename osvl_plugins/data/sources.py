"""The files of a download: which hold rows, of which subset, and where their pictures may lie."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from osvl_plugins.errors import OsvlError

SUBSETS = ("fvqa", "livevqa", "palace", "webqa", "wiki_art", "wiki_en", "wiki_zh")
_KNOWN = {name.replace("_", ""): name for name in SUBSETS} | {"demo1k": "demo"}
_SNIFFED_BYTES = 2**20


class Source(NamedTuple):
    """A file of rows. A row's id is ``name:index``."""

    name: str
    file: Path
    folders: tuple[Path, ...]
    """Where to look for its pictures."""


def subset_name(text: str) -> str:
    """One spelling of a subset: the release writes ``new_fvqa`` and ``fvqa``, ``wikiart`` and ``wiki_art``."""
    plain = text.lower().removeprefix("new_")
    return _KNOWN.get(re.sub(r"[^a-z0-9]", "", plain)) or re.sub(r"[^\w.-]+", "_", plain).strip("_") or "unnamed"


def sft_sources(path: Path) -> list[Source]:
    """The ShareGPT files at ``path``: a file, or a folder with them in it or one folder below.

    Raises ``OsvlError`` when there is none, or two of one subset.
    """
    path = path.absolute()
    sources: dict[str, Source] = {}
    for file in _files(path, "conversations", ("*.json", "*.jsonl", "*/*.json", "*/*.jsonl")):
        name, release, _ = file.stem.partition("_llama_factory")
        below = path.is_dir() and file.parent != path
        source = Source(subset_name(file.parent.name if below and not release else name), file, _folders(path, file))
        if source.name in sources:
            raise OsvlError(f"{sources[source.name].file} and {file} are both {source.name}; import them one by one")
        sources[source.name] = source
    return [sources[name] for name in sorted(sources)]


def rl_source(path: Path) -> Source:
    """The file of questions at ``path``: a file, or the one of a folder. Raises ``OsvlError``."""
    path = path.absolute()
    files = _files(path, "question", ("*.jsonl", "*.json"))
    if len(files) > 1:
        raise OsvlError(f"{path}: holds {len(files)} files of questions; name one of {', '.join(map(str, files))}")
    return Source(files[0].stem, files[0], _folders(path, files[0]))


def identity(file: Path) -> dict[str, Any]:
    """What tells ``file`` from another of its name, without reading it whole: its size, its start and its end."""
    size = file.stat().st_size
    digest = hashlib.sha256()
    with open(file, "rb") as data:
        digest.update(data.read(2**16))
        data.seek(max(0, size - 2**16), os.SEEK_SET)
        digest.update(data.read(2**16))
    return {"name": file.name, "bytes": size, "ends_sha256": digest.hexdigest()}


def _files(path: Path, key: str, patterns: Iterable[str]) -> list[Path]:
    if path.is_file():
        return [path]
    found = [file for pattern in patterns for file in sorted(path.glob(pattern)) if _has_key(file, key)]
    if not found:
        raise OsvlError(f"{path}: there is no JSON file whose rows have {key!r}; name the folder of the download")
    return found


def _has_key(file: Path, key: str) -> bool:
    with open(file, "rb") as data:
        return re.search(rb'"' + key.encode() + rb'"\s*:', data.read(_SNIFFED_BYTES)) is not None


def _folders(path: Path, file: Path) -> tuple[Path, ...]:
    return (file.parent,) if path.is_file() or file.parent == path else (file.parent, path)
