"""verl on a machine without an accelerator.

``OSVL_CPU`` decides: ``1`` always, ``0`` never, ``auto`` (also when unset) when this machine has no accelerator and no
Ray cluster is named by ``RAY_ADDRESS``. ``VERL_PLATFORM=cpu`` asks for it too. The first process decides and tells the
processes it starts through ``OSVL_CPU``: Ray hides GPUs from workers that asked for none, which would mislead them.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

from osvl_plugins import torchvision_ops
from osvl_plugins.errors import SettingError

_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/davinci_manager", "/dev/dxg")
"""What the drivers of NVIDIA, AMD and Ascend make, and WSL; visible also where Ray hides the devices themselves."""


def wanted() -> bool:
    """Whether verl is to run on the CPU in this process.

    Raises ``SettingError`` for a value of ``OSVL_CPU`` that means nothing.
    """
    choice = os.environ.get("OSVL_CPU", "auto").strip().lower()
    if choice not in ("0", "1", "auto"):
        raise SettingError("OSVL_CPU", f"must be 0, 1 or auto, not {choice!r}")
    if choice != "auto":
        return choice == "1"
    platform = os.environ.get("VERL_PLATFORM", "").strip().lower()
    if platform:
        return platform == "cpu"
    return "RAY_ADDRESS" not in os.environ and not _accelerator()


def set_environment() -> None:
    """Variables that this process and those it starts need."""
    os.environ["OSVL_CPU"] = "1"
    os.environ.setdefault("VERL_PLATFORM", "cpu")
    # verl registers its FSDP engine for cuda and npu only, though it runs on any device of torch.
    os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")
    # OpenMP threads that wait by spinning take the cores from the other processes of the run: ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _accelerator() -> bool:
    if any(Path(device).exists() for device in _DEVICES):
        return True
    # verl has imported torch before it loads plugins; without verl there is nothing to run either.
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def _platform(platform_manager: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.cpu.platform").register(platform_manager)


def _process_group(distributed: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.cpu.torch_compat").single_gloo_backend(distributed)


def _offload(engine: ModuleType) -> None:
    importlib.import_module("osvl_plugins.verl.cpu.torch_compat").unpinned_offload(engine)


HOOKS = (
    ("CPU platform", "verl.plugin.platform.platform_manager", _platform),
    ("CPU: torchvision without compiled operators", torchvision_ops.MODULE, torchvision_ops.declare_missing),
    ("CPU: one gloo backend", "verl.utils.distributed", _process_group),
    ("CPU: offload without pinned memory", "verl.workers.engine.fsdp.transformer_impl", _offload),
)
"""(what, module of verl or torchvision, what to do with it), for ``osvl_plugins.verl.plugin``."""
