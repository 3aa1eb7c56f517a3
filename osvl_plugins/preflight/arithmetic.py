"""Whether batches, parallel sizes and the model's heads divide as verl's engines ask for."""

from __future__ import annotations

from osvl_plugins.architectures import Architecture
from osvl_plugins.memory import Layout
from osvl_plugins.preflight.finding import Finding, counted
from osvl_plugins.preflight.plan import Plan

ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


def check_arithmetic(plan: Plan, layout: Layout, model: Architecture | None) -> list[Finding]:
    """Findings; a single one where everything divides. ``model``: None where its sizes are not known."""
    problems = [*_layout(plan, layout), *_batches(plan, layout), *_lengths(plan, layout)]
    if plan.rl:
        problems += _rollout(plan)
    if model is not None:
        problems += _model(plan, layout, model)
    summary = f"{counted(plan.gpus, 'GPU')} = {layout.data} data parallel x {plan.gpus // layout.data}"
    return problems or [Finding("ok", "layout", f"{summary}; batches, heads and layers divide")]


def _indivisible(whole: int, part: int, name: str, detail: str, remedy: str) -> list[Finding]:
    return [Finding("error", name, detail, remedy)] if part < 1 or whole % part else []


def _layout(plan: Plan, layout: Layout) -> list[Finding]:
    engine, gpus = plan.engine_setting, counted(plan.gpus, "GPU")
    if layout.engine != "megatron":
        name = f"{engine}.ulysses_sequence_parallel_size"
        return _indivisible(
            plan.gpus,
            layout.sequence,
            name,
            f"{gpus} do not divide by {layout.sequence}",
            f"set {name}",
        )
    group = layout.tensor * layout.pipeline * layout.sequence
    experts = layout.expert * layout.expert_tensor * layout.pipeline
    sizes = f"{layout.tensor} (tensor) x {layout.pipeline} (pipeline) x {layout.sequence} (context)"
    return [
        *_indivisible(
            plan.gpus, group, engine, f"{gpus} do not divide by {sizes} = {group}",
            f"more GPUs, or smaller parallel sizes below {engine}",
        ),
        *_indivisible(
            plan.gpus, experts, f"{engine}.expert_model_parallel_size",
            f"{gpus} do not divide by {layout.expert} (expert) x {layout.expert_tensor} (expert tensor) "
            f"x {layout.pipeline} (pipeline) = {experts}",
            "more GPUs, or fewer experts in parallel",
        ),
    ]  # fmt: skip


def _rollout(plan: Plan) -> list[Finding]:
    name = f"{ROLLOUT}.tensor_model_parallel_size"
    tensor = plan.size(name)
    replica = tensor * plan.size(f"{ROLLOUT}.data_parallel_size") * plan.size(f"{ROLLOUT}.pipeline_model_parallel_size")
    found = _indivisible(
        plan.gpus, replica, name, f"{counted(plan.gpus, 'GPU')} do not divide into replicas of {replica}", f"set {name}"
    )
    if tensor > plan.gpus_per_node:
        found.append(Finding("warning", name, f"{tensor}: a replica spans machines of {plan.gpus_per_node} GPUs"))
    longest = plan.get(f"{ROLLOUT}.max_model_len")
    if longest is not None and int(longest) < plan.length:
        found.append(Finding(
            "error", f"{ROLLOUT}.max_model_len",
            f"{longest} is less than prompt and response, {plan.length}: the longest trajectories are cut short",
            f"{ROLLOUT}.max_model_len={plan.length}",
        ))  # fmt: skip
    turn = plan.get("osvl.max_turn_tokens")
    if turn is not None and int(turn) > int(plan.get("data.max_response_length", 0)):
        found.append(Finding(
            "warning", "osvl.max_turn_tokens", f"{turn} for a turn, and data.max_response_length is no more than that",
            "a trajectory has several turns: lower one, or raise the other",
        ))  # fmt: skip
    return found


def _batches(plan: Plan, layout: Layout) -> list[Finding]:
    size = int(plan.get("data.train_batch_size", 0))
    if not plan.rl:
        remedy = f"data.train_batch_size={-(-size // layout.data) * layout.data}"
        detail = f"{size} rows do not divide by {layout.data} data parallel ranks"
        found = _indivisible(size, layout.data, "data.train_batch_size", detail, remedy)
        return found or _micro(plan, size // layout.data, "data.micro_batch_size_per_gpu")
    name = f"{ACTOR}.ppo_mini_batch_size"
    mini = int(plan.get(name, 0))
    found = _indivisible(
        mini * plan.samples, layout.data, name,
        f"{mini} prompts x {plan.samples} trajectories do not divide by {layout.data} data parallel ranks",
        f"a multiple of {layout.data} trajectories",
    )  # fmt: skip
    if mini and size % mini:
        said = f"{size} prompts are no whole number of mini-batches of {mini}"
        remedy = "verl fills the last one with rows that train nothing"
        found.append(Finding("warning", "data.train_batch_size", said, remedy))
    return [*found, *_micro(plan, mini * plan.samples // layout.data, f"{ACTOR}.ppo_micro_batch_size_per_gpu")]


def _micro(plan: Plan, rows: int, name: str) -> list[Finding]:
    if plan.dynamic:
        return []
    micro = int(plan.get(name, 0))
    detail = f"{rows} rows of a rank's mini-batch do not divide by {micro}"
    return _indivisible(rows, micro, name, detail, "a divisor, or use_dynamic_bsz=true")


def _lengths(plan: Plan, layout: Layout) -> list[Finding]:
    if not plan.dynamic:
        return []
    names = {"data.max_token_len_per_gpu": plan.tokens()}
    if plan.rl:
        names = {
            f"{ACTOR}.ppo_max_token_len_per_gpu": plan.tokens(),
            f"{ROLLOUT}.log_prob_max_token_len_per_gpu": plan.tokens(scoring=True),
        }
    least = -(-plan.length // layout.sequence)
    return [
        Finding(
            "error", name,
            f"{tokens} x {layout.sequence} GPUs of a sequence hold no sequence of {plan.length} tokens, and verl stops",
            f"{name}={least}",
        )
        for name, tokens in names.items()
        if tokens < least
    ]  # fmt: skip


def _model(plan: Plan, layout: Layout, model: Architecture) -> list[Finding]:
    found = []
    sizes = {f"{plan.engine_setting}.ulysses_sequence_parallel_size": layout.sequence}
    if layout.engine == "megatron":
        sizes = {f"{plan.engine_setting}.tensor_model_parallel_size": layout.tensor}
    if plan.rl:
        name = f"{ROLLOUT}.tensor_model_parallel_size"
        sizes[name] = plan.size(name)
    for name, size in sizes.items():
        if model.heads % size or (model.kv_heads % size and size % model.kv_heads):
            heads = f"{model.heads} heads and {model.kv_heads} key-value heads"
            found.append(Finding("error", name, f"{heads} do not divide by {size}", "a divisor of both"))
    if layout.engine != "megatron":
        return found
    uneven = plan.get(f"{plan.engine_setting}.override_transformer_config", {})
    if model.layers % layout.pipeline and not any(key.startswith("num_layers_in_") for key in uneven):
        name = f"{plan.engine_setting}.pipeline_model_parallel_size"
        found.append(Finding("error", name, f"{model.layers} layers do not divide by {layout.pipeline}", f"set {name}"))
    if model.experts and model.experts % layout.expert:
        name = f"{plan.engine_setting}.expert_model_parallel_size"
        found.append(Finding("error", name, f"{model.experts} experts do not divide by {layout.expert}", f"set {name}"))
    return found
