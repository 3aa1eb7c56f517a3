"""A guard around verl 0.9.1's repair of mRoPE position ids, which breaks batches of equally long sequences.

TransferQueue builds a fetched batch's nested tensors. Rows of (4, n) position ids of different n become ragged in n;
of one same n they become ragged in the axes: values (rows * 4, n) instead of (4, tokens). verl's
``maybe_fix_3d_position_ids`` (verl/utils/tensordict_utils.py:910) declares both ragged in n, and the next split fails
with "split_with_sizes expects split_sizes to sum exactly". The guard turns the second form into the first one before.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from osvl_plugins.errors import OsvlError

MODULE = "verl.utils.tensordict_utils"


def install(tensordict_utils: ModuleType) -> None:
    """Wrap the function in verl's module; does nothing the second time.

    Raises ``OsvlError`` when verl has no such function, so that ``osvl doctor`` shows that the guard is not there.
    """
    original = getattr(tensordict_utils, "maybe_fix_3d_position_ids", None)
    build = getattr(tensordict_utils, "nested_tensor_from_tensor_list", None)
    if original is None or build is None:
        raise OsvlError("this verl has no maybe_fix_3d_position_ids; check whether equal-length batches still fail")
    if getattr(original, "guarded_by_osvl", False):
        return

    @functools.wraps(original)
    def guarded(data: Any) -> None:
        if data.get("position_ids", None) is not None:
            positions = data["position_ids"]
            if positions.is_nested and positions.dim() == 3 and (rows := _rows_of_equal_length(positions)):
                data["position_ids"] = build(rows, ragged_idx=2)
        original(data)

    guarded.guarded_by_osvl = True  # type: ignore[attr-defined]
    tensordict_utils.maybe_fix_3d_position_ids = guarded  # type: ignore[attr-defined]


def _rows_of_equal_length(positions: Any) -> list[Any]:
    """The (axes, n) rows of a tensor that is ragged in the axes; empty for one that is ragged in n already."""
    values, offsets = positions.values(), positions.offsets()
    total = int(offsets[-1])
    # Ragged in n, the first axis holds the 3 or 4 axes; ragged in the axes, it holds those of all rows, so it has more
    # than 4 entries or belongs to a single row, which is the same in both forms when it is square.
    if values.dim() != 2 or values.shape[0] != total or (total <= 4 and values.shape[1] == total):
        return []
    return [values[start:end] for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
