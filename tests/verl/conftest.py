"""What runs of the tiny recipes start from."""

from __future__ import annotations

from pathlib import Path

import pytest

from osvl_plugins.corpus.corpus import Corpus


@pytest.fixture(scope="session")
def home(atlas: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions of the tiny recipe and a model that has learned the wire format."""
    from osvl_plugins.demo import SCALES, _home, _sft, make_data, make_tiny_model

    folder = _home(tmp_path_factory.mktemp("tiny"), atlas.folder)
    make_data(folder / "atlas", folder / "data", SCALES["smoke"], print)
    make_tiny_model(folder / "atlas", folder / "base")
    _sft(folder, folder, SCALES["smoke"], print)
    return folder
