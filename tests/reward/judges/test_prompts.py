"""A prompt's version changes with whatever the judge is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from osvl_plugins.reward.judges.prompts import ACCURACY, QUERIES


@pytest.mark.parametrize("changed", [{"instructions": "x"}, {"schema": {}}, {"reminder": "x"}])
def test_another_text_is_another_version(changed: dict[str, object]) -> None:
    assert replace(ACCURACY, **changed).version != ACCURACY.version  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [ACCURACY, QUERIES], ids=["accuracy", "queries"])
def test_what_is_asked_for_is_what_the_schema_holds(prompt: object) -> None:
    assert all(f'"{key}"' in prompt.instructions for key in prompt.schema["properties"])  # type: ignore[attr-defined]


def test_the_reason_stands_before_the_verdict() -> None:
    assert list(ACCURACY.schema["properties"]) == ["reason", "verdict"]  # type: ignore[arg-type]
