from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

pytest.importorskip("verl")
import torch
from tensordict import TensorDict

from osvl_plugins.errors import OsvlError
from osvl_plugins.verl import mrope_guard


@pytest.fixture
def stock() -> ModuleType:
    """verl's module as it is in its file, apart from the one that the plugin has wrapped."""
    spec = importlib.util.find_spec(mrope_guard.MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def guarded(stock: ModuleType) -> ModuleType:
    mrope_guard.install(stock)
    return stock


def rows(*lengths: int) -> list[torch.Tensor]:
    return [torch.arange(4 * length).view(4, length) + 1000 * index for index, length in enumerate(lengths)]


def fetched(positions: list[torch.Tensor]) -> TensorDict:
    """A batch as TransferQueue hands it out for rows of equal length: ragged in the axes."""
    nested = torch.nested.as_nested_tensor(positions, layout=torch.jagged)
    return TensorDict({"position_ids": nested}, batch_size=[len(positions)])


def unbound(data: TensorDict) -> list[torch.Tensor]:
    return list(data["position_ids"].unbind())


def test_stock_verl_fails_on_rows_of_equal_length(stock: ModuleType) -> None:
    data = fetched(rows(5, 5, 5))
    stock.maybe_fix_3d_position_ids(data)
    with pytest.raises(RuntimeError):
        unbound(data)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("length", [1, 2, 4, 5, 8, 12, 32, 100])
def test_rows_of_equal_length_come_back_whole(guarded: ModuleType, count: int, length: int) -> None:
    positions = rows(*[length] * count)
    data = fetched(positions)
    guarded.maybe_fix_3d_position_ids(data)
    for row, expected in zip(unbound(data), positions, strict=True):
        assert torch.equal(row, expected)


@pytest.mark.parametrize("lengths", [(3, 7, 5), (6, 6), (1, 3), (2, 2), (1, 1, 1, 1), (4,), (9,)])
def test_what_is_right_already_stays_as_it_is(guarded: ModuleType, lengths: tuple[int, ...]) -> None:
    positions = guarded.nested_tensor_from_tensor_list(rows(*lengths), ragged_idx=2)
    data = TensorDict({"position_ids": positions}, batch_size=[len(lengths)])
    guarded.maybe_fix_3d_position_ids(data)
    for row, expected in zip(unbound(data), rows(*lengths), strict=True):
        assert torch.equal(row, expected)


def test_batches_without_positions_pass(guarded: ModuleType) -> None:
    guarded.maybe_fix_3d_position_ids(TensorDict({"x": torch.zeros(2)}, batch_size=[2]))


def test_installing_twice_wraps_once(guarded: ModuleType) -> None:
    once = guarded.maybe_fix_3d_position_ids
    mrope_guard.install(guarded)
    assert guarded.maybe_fix_3d_position_ids is once


def test_a_verl_without_the_function_is_reported() -> None:
    with pytest.raises(OsvlError, match="maybe_fix_3d_position_ids"):
        mrope_guard.install(ModuleType("other"))
