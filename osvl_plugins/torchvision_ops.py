"""Lets torchvision be imported where its compiled part does not load.

transformers' image processors import torchvision for its transforms. PyPI's torchvision is built for CUDA, and its
compiled part needs a CUDA build of torch; without it ``import torchvision`` fails over two operators that it describes
without asking whether they exist, though no transform uses them.
"""

from __future__ import annotations

from types import ModuleType

import wrapt

MODULE = "torchvision.extension"
"""What torchvision imports first: it tries to load the compiled part."""

_libraries: list[object] = []
"""Declared operators disappear with their library object."""


def allow_missing() -> None:
    """From now on, importing torchvision declares those operators if they are missing; costs nothing until then."""
    wrapt.when_imported(MODULE)(declare_missing)


def declare_missing(extension: ModuleType) -> None:
    """Declare them, unless the compiled part has loaded; ``extension`` is ``torchvision.extension``."""
    if extension._has_ops():
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _libraries.append(library)
