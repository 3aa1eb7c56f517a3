"""Small remedies for what verl takes for granted of an accelerator.

Each takes the module it changes, changes one name of it, and refuses when that name is not what it knows.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from osvl_plugins.errors import OsvlError


def single_gloo_backend(distributed: ModuleType) -> None:
    """Let verl make its process group.

    verl asks for "cpu:gloo,<device>:<backend>" (verl/utils/distributed.py:63, 89), which names the CPU twice here, and
    torch refuses that.
    """
    original = distributed.torch.distributed.init_process_group
    if getattr(original, "changed_by_osvl", False):
        return

    @functools.wraps(original)
    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
        return original("cpu:gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)

    init_process_group.changed_by_osvl = True  # type: ignore[attr-defined]
    distributed.torch.distributed.init_process_group = init_process_group


def unpinned_offload(engine: ModuleType) -> None:
    """Let verl build a reference model.

    Its FSDP2 engine offloads models that are not trained to pinned host memory
    (verl/workers/engine/fsdp/transformer_impl.py:462); only an accelerator's driver can pin.
    """
    policy = getattr(engine, "CPUOffloadPolicy", None)
    if policy is None:
        raise OsvlError("verl's FSDP engine has no CPUOffloadPolicy; a reference model may not work on a CPU")

    @functools.wraps(policy)
    def without_pinning(pin_memory: bool = False) -> Any:
        return policy(pin_memory=False)

    engine.CPUOffloadPolicy = without_pinning  # type: ignore[attr-defined]
