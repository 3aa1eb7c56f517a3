"""verl 0.9.1's legacy trainers: ``trainer.use_v1=False``, fully asynchronous, one step off policy.

All three compute advantages with ``compute_advantage`` of ``verl/trainer/ppo/ray_trainer.py``, which gives an
estimator scores, mask and groups only. The patch lets an estimator ask, by naming the parameter, for
``non_tensor_batch`` (what was recorded of each row, the agent loop's ``extra_fields`` among it) and for ``metrics``, a
dict for what it counts, which ``compute_data_metrics`` then logs. It also makes rollout correction pass over a batch
without a token to train, at which verl raises: fatal trajectories can fill a micro-batch, and the loss of
``rollout_correction.bypass_mode``, which the last two use by default, corrects each micro-batch by itself. Last, it
gives a version of the weights to rollouts that failed before they had one, which would end a fully asynchronous run.
"""

from __future__ import annotations

from osvl_plugins.patches.patch import Edit, FilePatch, Patch

_ADVANTAGE = FilePatch(
    path="trainer/ppo/ray_trainer.py",
    before="eb41f99ccc66976eab14ebe35aa1aa5b7318e02469240ef1569ac4c884c94312",
    after="08cc017c157134cc4683844c4b56a5053964ec033cf2b7a345af746172cab164",
    edits=(
        Edit("import json\nimport os\nimport uuid\n", "import inspect\nimport json\nimport os\nimport uuid\n"),
        Edit(
            """\
        # GDPO: pass raw data for per-dimension reward extraction
""",
            """\
        # Pass what was recorded of each row, and a place for metrics, to estimators that name them
        parameters = inspect.signature(adv_estimator_fn).parameters
        if "non_tensor_batch" in parameters:
            adv_kwargs["non_tensor_batch"] = data.non_tensor_batch
        if "metrics" in parameters:
            adv_kwargs["metrics"] = data.meta_info.setdefault("adv_metrics", {})
        # GDPO: pass raw data for per-dimension reward extraction
""",
        ),
    ),
)

_METRICS = FilePatch(
    path="trainer/ppo/metric_utils.py",
    before="d857834a6593301ad932ce2fd2e41e781ee140d0f1dafcfe157b97a0625e847f",
    after="d0296d8b24279d9c85fcce87b6b325c5153b880a943f3a61554100a29c6603db",
    edits=(
        Edit(
            """\
        metrics["tool_call_counts/mean"] = tool_call_counts.mean()

    return metrics
""",
            """\
        metrics["tool_call_counts/mean"] = tool_call_counts.mean()

    # What the advantage estimator counted
    metrics.update(batch.meta_info.get("adv_metrics", {}))

    return metrics
""",
        ),
    ),
)

_CORRECTION = FilePatch(
    path="trainer/ppo/rollout_corr_helper.py",
    before="763158342551bc4077805a8a009d959a7a2043c4d43b772fe6045f4a40932f3e",
    after="147717d95fc4580786da26157c5665ec625b04d752eb8c6ec5d278e62f285bb9",
    edits=(
        Edit(
            """\
    if not response_mask.any():
        raise ValueError("response_mask must contain at least one valid token (1).")
    if old_log_prob.shape != rollout_log_prob.shape:
""",
            """\
    if not response_mask.any():
        # No token to train: nothing to correct or to reject
        return None, response_mask, {}
    if old_log_prob.shape != rollout_log_prob.shape:
""",
        ),
    ),
)

_VERSIONS = FilePatch(
    path="experimental/fully_async_policy/detach_utils.py",
    before="31a10345d9db0b6700387e0f30497c1bbbd495fa69c7910d00c239704046e98d",
    after="fb117564ae9a11a86c07ef47105465484b85875a6db8d40b6739d271d65229e0",
    edits=(
        Edit(
            """\
    param_version_start = final_batch.non_tensor_batch["min_global_steps"]
""",
            """\
    # A rollout that failed before its first token has no version: it counts as the newest of the batch
    for key in ("min_global_steps", "max_global_steps"):
        column = final_batch.non_tensor_batch[key]
        missing = np.array([version is None for version in column])
        column[missing] = max(column[~missing], default=0)
    param_version_start = final_batch.non_tensor_batch["min_global_steps"]
""",
        ),
    ),
)

PATCH = Patch(
    name="legacy-trainers",
    why="trainer.use_v1=False, fully_async_policy and one_step_off_policy: tells estimators which rows are fatal, "
    "and keeps rollouts that have nothing to train from ending the run",
    version="0.9.1",
    files=(_ADVANTAGE, _METRICS, _CORRECTION, _VERSIONS),
)
