"""What a data card may say."""

from __future__ import annotations

from osvl_plugins.curation.candidate import Candidate
from osvl_plugins.curation.card import Side, public


def test_addresses_keys_and_folders_of_the_run_are_not_published() -> None:
    settings = {
        "seed": 1,
        "language": {"engine": "server", "url": "http://inside:8000/v1", "model": "m", "key_env": "KEY"},
        "merge": {"sets": [{"path": "/data/sets/fvqa.json", "name": "fvqa"}]},
        "trajectories": {"tools": {"corpus": "/data/atlas", "services": {"searxng": {"url": "http://inside"}}}},
    }
    assert public(settings) == {
        "seed": 1,
        "language": {"engine": "server", "model": "m"},
        "merge": {"sets": [{"path": "fvqa.json", "name": "fvqa"}]},
        "trajectories": {"tools": {}},
    }


def test_an_imported_row_has_no_hops_and_a_picture_without_a_licence_is_counted() -> None:
    side = Side()
    side.add(Candidate("1", "train", source="fvqa", question="Who?"), None)
    assert (side.hops, side.licences) == ({"imported": 1}, {"not stated": 1})
    assert (side.questions, side.examples, side.anchors) == (1, 0, set())
