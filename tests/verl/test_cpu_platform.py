from __future__ import annotations

import pytest

pytest.importorskip("verl")
import torch
from verl.plugin.platform import platform_manager

from osvl_plugins.errors import SettingError
from osvl_plugins.verl import cpu
from osvl_plugins.verl.cpu.platform import CPUPlatform
from tests.fresh import after


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OSVL_CPU", "VERL_PLATFORM", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("choice", "expected"), [("1", True), ("0", False)])
def test_osvl_cpu_decides(monkeypatch: pytest.MonkeyPatch, choice: str, expected: bool) -> None:
    monkeypatch.setenv("OSVL_CPU", choice)
    assert cpu.wanted() is expected


@pytest.mark.parametrize("accelerator", [True, False])
def test_without_a_choice_the_machine_decides(monkeypatch: pytest.MonkeyPatch, accelerator: bool) -> None:
    monkeypatch.setattr(cpu, "_accelerator", lambda: accelerator)
    assert cpu.wanted() is not accelerator


@pytest.mark.parametrize(("platform", "expected"), [("cpu", True), ("nvidia", False)])
def test_verls_own_choice_of_a_platform_is_followed(
    monkeypatch: pytest.MonkeyPatch, platform: str, expected: bool
) -> None:
    monkeypatch.setenv("VERL_PLATFORM", platform)
    assert cpu.wanted() is expected


def test_the_head_of_a_cluster_is_not_taken_for_a_cpu_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_accelerator", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert cpu.wanted() is False


def test_other_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSVL_CPU", "yes")
    with pytest.raises(SettingError, match="OSVL_CPU"):
        cpu.wanted()


def test_the_platform_implements_all_that_verl_asks_for() -> None:
    platform = CPUPlatform()
    assert platform.device_name == "cpu"
    assert torch.zeros(1).to(platform.current_device()).device.type == "cpu"
    assert platform_manager.PlatformRegistry.get("cpu") in (None, CPUPlatform)


def test_verl_runs_its_process_group_and_engine_on_the_cpu() -> None:
    report = after(
        """
import os
import verl
from verl.utils.device import get_device_name, get_nccl_backend, get_torch_device
from verl.utils.distributed import initialize_global_process_group_ray
import verl.workers.engine.fsdp.transformer_impl as fsdp
from verl.workers.engine import EngineRegistry
import torch, torchvision
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", RANK="0", WORLD_SIZE="1")
initialize_global_process_group_ray(60)
total = torch.ones(3)
torch.distributed.all_reduce(total)
value = [
    get_device_name(), get_nccl_backend(), get_torch_device().is_available(), total.tolist(),
    fsdp.CPUOffloadPolicy(pin_memory=True).pin_memory,
    EngineRegistry.get_engine_cls("language_model", "fsdp2").__name__,
]
torch.distributed.destroy_process_group()
""",
        OSVL_CPU="1",
    )
    assert report["value"] == ["cpu", "gloo", True, [1.0, 1.0, 1.0], False, "FSDPEngineWithLMHead"]
    assert not [name for name, status in report["status"].items() if status == "failed"]


def test_processes_that_the_first_one_starts_are_told() -> None:
    environment = after("import verl", OSVL_CPU="1")["environment"]
    assert (environment["VERL_PLATFORM"], environment["OMP_WAIT_POLICY"]) == ("cpu", "PASSIVE")
