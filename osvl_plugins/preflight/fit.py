"""Whether the estimate of ``osvl_plugins.memory`` and ``osvl_plugins.serving`` fits, and what to change if not."""

from __future__ import annotations

import os

from osvl_plugins.architectures import Architecture
from osvl_plugins.memory import GIB, Phase, Training, host, scoring, step, update
from osvl_plugins.preflight.finding import Finding, counted
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.serving import Rollout, cache, generating, hand_over, sleeping, staying, weights

TIGHT = 0.9
"""Of a GPU's memory; above it an estimate is no promise."""


def check_memory(plan: Plan, model: Architecture, training: Training, gpu: float) -> list[Finding]:
    """A finding for each phase on GPUs of ``gpu`` bytes, one for the cache, and one for the hosts."""
    rollout = plan.rollout(model)
    stays = [] if rollout is None else staying(model, training, rollout, gpu)
    phases = [(update(model, training), _shrink(plan, training)), (step(model, training), _shrink(plan, training))]
    if training.score_tokens:
        phases.insert(0, (scoring(model, training), _shorten(plan, training)))
    found = []
    if rollout is not None:
        share = "actor_rollout_ref.rollout.gpu_memory_utilization"
        found.append(_fits(generating(model, training, rollout, gpu), gpu, f"a smaller {share}, or off-loading"))
        found += _cache(plan, model, rollout, gpu)
    found += [_fits(Phase(phase.name, phase.terms + stays), gpu, remedy) for phase, remedy in phases]
    if rollout is not None:
        found.append(_fits(hand_over(model, training, rollout), gpu, "off-loading, or more tensor parallelism"))
    elif plan.rl:
        engine = plan.get("actor_rollout_ref.rollout.name")
        found.append(Finding("warning", "rollout", f"the memory of {engine} is not estimated"))
    needs = host(model, training, plan.gpus_per_node)
    if rollout is not None:
        needs = Phase(needs.name, [*needs.terms, *sleeping(model, training, rollout, plan.gpus_per_node)])
    return [*found, _host(plan, needs)]


def check_work(plan: Plan) -> list[Finding]:
    """How much a step generates and trains."""
    rows, length = plan.trajectories, plan.length
    if not plan.rl:
        return [Finding("ok", "a step", f"{rows:,} rows of at most {length:,} tokens: up to {rows * length:,} tokens")]
    prompts = int(plan.get("data.train_batch_size", 0))
    said = f"{prompts:,} prompts x {plan.samples} = {rows:,} trajectories of at most {length:,} tokens"
    return [Finding("ok", "a step", f"{said}: up to {rows * length:,} tokens to generate, score and train")]


def _fits(phase: Phase, gpu: float, remedy: str) -> Finding:
    level = "error" if phase.total > gpu else "warning" if phase.total > TIGHT * gpu else "ok"
    verdict = {"error": "does not fit", "warning": "tight", "ok": "fits"}[level]
    detail = f"{phase.total / GIB:,.1f} of {gpu / GIB:,.0f} GiB, {verdict}: {_parts(phase)}"
    return Finding(level, phase.name, detail, "" if level == "ok" else remedy)  # type: ignore[arg-type]


def _parts(phase: Phase) -> str:
    terms = sorted((term for term in phase.terms if term.bytes >= 0.05 * GIB), key=lambda term: -term.bytes)
    return "; ".join(f"{term.name} {term.bytes / GIB:,.1f}" for term in terms)


def _cache(plan: Plan, model: Architecture, rollout: Rollout, gpu: float) -> list[Finding]:
    room, prefix = cache(model, rollout, gpu), "actor_rollout_ref.rollout"
    if not room.tokens:
        size = f"{weights(model, rollout) / GIB:,.1f} GiB of weights"
        said = f"{size} leave nothing of {rollout.share:.0%} of {gpu / GIB:,.0f} GiB for keys and values"
        return [Finding("error", "cache", said, f"more {prefix}.tensor_model_parallel_size, or gpu_memory_utilization")]
    said = f"{room.tokens:,} tokens a replica: {room.sequences} sequences of {room.context:,} tokens"
    if room.tokens < room.context:
        remedy = f"{prefix}.max_model_len={max(plan.length, 1)}"
        if room.tokens < plan.length:
            remedy = f"more {prefix}.tensor_model_parallel_size or gpu_memory_utilization, or shorter trajectories"
        return [Finding("error", "cache", f"{said}: not one fits, and the engine does not start", remedy)]
    few = room.sequences < rollout.wanted
    waits = ", so long ones wait or are computed again" if few else ""
    return [Finding("ok", "cache", f"{said}; up to {rollout.wanted} are wanted at once{waits}")]


def _shrink(plan: Plan, training: Training) -> str:
    tokens = "data.max_token_len_per_gpu" if not plan.rl else "actor_rollout_ref.actor.ppo_max_token_len_per_gpu"
    if not plan.dynamic:
        tokens = "the micro-batch size per GPU"
    ways = [f"a smaller {tokens}", "more GPUs a sequence"]
    if not training.fused_head:
        ways.insert(0, f"{plan.model_setting}.use_fused_kernels=true")
    if not training.lora_rank:
        ways.append("more GPUs, or LoRA")
    return ", ".join(ways)


def _shorten(plan: Plan, training: Training) -> str:
    ways = ["a smaller actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu"]
    if not training.fused_head:
        ways.insert(0, f"{plan.model_setting}.use_fused_kernels=true")
        if not training.entropy_chunk:
            ways.append(f"{plan.engine_setting}.entropy_from_logits_with_chunking=true")
    return ", ".join(ways)


def _host(plan: Plan, phase: Phase) -> Finding:
    parts = _parts(phase) or "nothing is off-loaded"
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    where = f"on each of {counted(plan.nodes, 'machine')}"
    said = f"{phase.total / GIB:,.1f} GiB {where}: {parts}; this one has {here / GIB:,.0f} GiB"
    if phase.total <= TIGHT * here:
        return Finding("ok", "host", said)
    return Finding("warning", "host", said, "machines with more memory, or less off-loading")
