"""Fatal-aware GRPO and RLOO on tensors (arXiv 2605.05185, section 4.2, equations for the masked, clamped advantage).

Which tokens train is decided before, by ``osvl_plugins.fatal.token_mask``; here the trajectory's score becomes its
advantage.

- Fatal trajectories take part in their group's statistics, also when no token of theirs trains.
- A row whose mask is all zero and that is not fatal is padding or a failure of the infrastructure: it takes no part
  in any statistic and gets no advantage.
- A group of one has no baseline: its advantage is 0.
- The clamp acts after normalisation, on the advantage and not on the score: A = max(A, 0) for fatal trajectories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from osvl_plugins.fatal import MODES, FatalMode

if TYPE_CHECKING:
    import torch

Estimator = Literal["grpo", "rloo"]
ESTIMATORS: tuple[Estimator, ...] = ("grpo", "rloo")
EPSILON = 1e-6


def fatal_aware_advantage(
    scores: torch.Tensor,
    response_mask: torch.Tensor,
    group: torch.Tensor | NDArray[Any],
    fatal: torch.Tensor,
    *,
    estimator: Estimator = "grpo",
    mode: FatalMode = "fatal_mask_clamp",
    norm_by_std: bool = True,
) -> torch.Tensor:
    """Advantage of every token, shape and device of ``response_mask`` (batch, tokens), float32.

    ``scores`` (batch,): the trajectory's reward. ``response_mask``: 1 for tokens that train. ``group`` (batch,):
    equal labels (integers, or strings in a numpy array) for samples of one prompt. ``fatal`` (batch,): bool.
    ``norm_by_std`` divides GRPO's centred score by the group's unbiased standard deviation + 1e-6; RLOO never does.

    Raises ``ValueError`` for an unknown estimator or mode, or shapes that do not fit.
    """
    import torch

    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    rows = response_mask.shape[0]
    if response_mask.dim() != 2 or scores.shape != (rows,) or fatal.shape != (rows,) or len(group) != rows:
        raise ValueError(
            f"expected scores, group and fatal of length {rows} and a mask of two dimensions, got "
            f"{tuple(scores.shape)}, {len(group)}, {tuple(fatal.shape)} and {tuple(response_mask.shape)}"
        )
    with torch.no_grad():
        device = response_mask.device
        labels = group.cpu().numpy() if isinstance(group, torch.Tensor) else group
        index = torch.as_tensor(np.unique(labels, return_inverse=True)[1].reshape(-1), device=device)
        fatal = fatal.to(device=device, dtype=torch.bool)
        counted = (response_mask.any(dim=1) | fatal).double()
        # In single precision the mean of equal scores can be off by an ulp, which division by 1e-6 would inflate.
        score = scores.to(device=device, dtype=torch.float64)

        def group_sum(values: torch.Tensor) -> torch.Tensor:
            return torch.zeros(rows, dtype=torch.float64, device=device).index_add_(0, index, values)[index]

        size = group_sum(counted)
        centred = (score - group_sum(score * counted) / size.clamp(min=1)) * counted
        others = (size - 1).clamp(min=1)
        if estimator == "rloo":
            # r_i - mean of the others = n/(n-1) (r_i - mean of all)
            advantage = centred * size / others
        elif norm_by_std:
            advantage = centred / ((group_sum(centred**2) / others).sqrt() + EPSILON)
        else:
            advantage = centred
        advantage = advantage * (size > 1)
        if mode == "fatal_mask_clamp":
            advantage = torch.where(fatal, advantage.clamp(min=0), advantage)
        elif mode == "hard_mask":
            advantage = advantage.masked_fill(fatal, 0.0)
        return advantage.float().unsqueeze(1) * response_mask
