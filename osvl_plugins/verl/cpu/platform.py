"""verl's view of a CPU as its device (verl/plugin/platform/platform_base.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase

from osvl_plugins.errors import OsvlError


def register(platform_manager: ModuleType) -> None:
    """Make the platform known to verl under the name ``cpu``.

    Raises ``OsvlError`` when verl has chosen another platform in this process already.
    """
    platform_manager.PlatformRegistry.register(platform="cpu")(CPUPlatform)
    chosen = platform_manager._current_platform
    if chosen is not None and chosen.device_name != "cpu":
        raise OsvlError(
            f"something made verl choose the device {chosen.device_name} before this plugin was loaded; "
            "put osvl_plugins.verl.plugin first in VERL_USE_EXTERNAL_MODULES"
        )


class _CPUModule(ModuleType):
    """``torch.cpu`` with what verl calls on a device module beyond it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.cpu, name)

    manual_seed = manual_seed_all = staticmethod(torch.manual_seed)
    get_rng_state = staticmethod(torch.get_rng_state)
    set_rng_state = staticmethod(torch.set_rng_state)

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def get_device_name(device: Any = None) -> str:
        return "CPU"

    @staticmethod
    def memory_allocated(device: Any = None) -> int:
        """Device memory; a CPU has none, here and below."""
        return 0

    memory_reserved = max_memory_allocated = max_memory_reserved = memory_allocated

    @staticmethod
    def mem_get_info(device: Any = None) -> tuple[int, int]:
        return 0, 0

    @staticmethod
    def empty_cache() -> None:
        return None

    ipc_collect = empty_cache

    @staticmethod
    def reset_peak_memory_stats(device: Any = None) -> None:
        return None


class CPUPlatform(PlatformBase):
    """One device named ``cpu``, gloo between processes, and Ray's logical ``GPU`` as the unit of placement."""

    device_name = vendor_name = "cpu"
    device_module = _CPUModule("osvl_cpu")

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        # verl hands this to Tensor.to, for which an index would name an accelerator.
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        return None

    def synchronize(self, device_index: int | None = None) -> None:
        return None

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None:
        return None

    def empty_cache(self) -> None:
        return None

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        return None

    profiler_stop = profiler_start

    def ray_resource_name(self) -> str:
        # verl's resource pools count GPUs; ray_init.num_gpus declares as many as there are to be workers.
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> Any:
        return None
