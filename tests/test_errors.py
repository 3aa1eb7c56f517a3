"""Errors travel between processes as they are."""

from __future__ import annotations

import pickle

import pytest

from osvl_plugins.errors import CorpusError, OsvlError, SettingError, ToolError


@pytest.mark.parametrize(
    "error", [ToolError("not_found", "no page"), SettingError("osvl.tools", "is empty"), CorpusError("no corpus")]
)
def test_an_error_survives_pickling(error: OsvlError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_kind_outside_the_closed_set_is_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown error kind 'oops'"):
        ToolError("oops", "")  # type: ignore[arg-type]
