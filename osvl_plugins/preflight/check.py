"""All that ``osvl recipes check`` looks at, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from osvl_plugins.architectures import Architecture
from osvl_plugins.errors import SettingError
from osvl_plugins.memory import GIB, Training
from osvl_plugins.preflight.arithmetic import check_arithmetic
from osvl_plugins.preflight.finding import Finding, Section, counted
from osvl_plugins.preflight.fit import check_memory, check_work
from osvl_plugins.preflight.model_folder import check_model
from osvl_plugins.preflight.places import check_places
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.preflight.recipes import Composed, compose
from osvl_plugins.preflight.rows import check_rows
from osvl_plugins.preflight.services import check_services

ASSUMED_GIB = 80.0


class Gpu(NamedTuple):
    """Memory of a GPU in GiB, and where that is known from."""

    gib: float
    source: str


def gpu_memory(given: float | None) -> Gpu:
    """``given``, or that of the first CUDA device, or 80 GiB."""
    if given is not None:
        return Gpu(given, "as given")
    try:
        import torch
    except ImportError:
        return Gpu(ASSUMED_GIB, "assumed: there is no torch to ask")
    if not torch.cuda.is_available():
        return Gpu(ASSUMED_GIB, "assumed: there is no CUDA device here")
    device = torch.cuda.get_device_properties(0)
    return Gpu(device.total_memory / GIB, device.name)


def on_gpus(overrides: list[str], gpus: int | None, first: Plan) -> list[str]:
    """``overrides`` for a run on ``gpus`` GPUs, in machines as large as the recipe's.

    Raises ``SettingError`` where they fill no whole number of machines.
    """
    if gpus is None or gpus == first.gpus:
        return overrides
    node = min(gpus, first.gpus_per_node)
    if gpus % node:
        raise SettingError("--gpus", f"{gpus} do not fill machines of {node}; name trainer.n_gpus_per_node too")
    return [*overrides, f"trainer.nnodes={gpus // node}", f"trainer.n_gpus_per_node={node}"]


def check_recipe(
    name: str,
    overrides: list[str],
    own_checks: Callable[[Composed], list[Finding]],
    gpus: int | None = None,
    memory: float | None = None,
    live: bool = False,
) -> list[Section]:
    """All findings on a recipe. ``own_checks`` are verl's; ``gpus`` and ``memory`` (GiB) replace what is there.

    Raises ``SettingError`` when the recipe cannot be composed, or a number of GPUs or of parallel parts is none.
    """
    composed = compose(name, overrides)
    changed = on_gpus(overrides, gpus, plan_of(composed))
    if changed is not overrides:
        composed = compose(name, changed)
    plan = plan_of(composed)
    model = check_model(plan, name)
    training = plan.training() if plan.estimable else None
    title = f"{name}: {composed.kind} on {counted(plan.gpus, 'GPU')}"
    sections = [
        Section(title, _given(changed[len(overrides) :]) + own_checks(composed)),
        Section("model", model.findings),
        Section("data", check_rows(plan)),
        Section("folders", check_places(plan, model.sizes, training)),
    ]
    if tools := check_services(plan, live):
        sections.append(Section("tools and judges", tools))
    if training is not None:
        sections.append(Section("layout", check_arithmetic(plan, training.layout, model.sizes)))
    sections.append(_memory(plan, model.sizes, training, memory))
    return sections


def plan_of(composed: Composed) -> Plan:
    """The config with its interpolations resolved. Raises ``SettingError`` where one cannot be."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        values: Any = OmegaConf.to_container(composed.config, resolve=True)
    except OmegaConfBaseException as error:
        raise SettingError(getattr(error, "full_key", "") or "NAME", str(error).splitlines()[0]) from error
    return Plan(values, composed.kind == "RL")


def _given(added: list[str]) -> list[Finding]:
    if not added:
        return []
    return [
        Finding("warning", "--gpus", "checked with other GPUs than the recipe's", f"launch it with {' '.join(added)}")
    ]


def _memory(plan: Plan, sizes: Architecture | None, training: Training | None, memory: float | None) -> Section:
    work = check_work(plan)
    if plan.on_cpu:
        return Section("memory", [*work, Finding("ok", "GPU", "trainer.device is cpu: nothing is estimated")])
    if sizes is None or training is None:
        why = f"the engine is {plan.strategy}" if training is None else "the model's sizes are not known"
        return Section("memory", [*work, Finding("warning", "GPU", f"nothing is estimated: {why}")])
    gpu = gpu_memory(memory)
    estimate = check_memory(plan, sizes, training, gpu.gib * GIB)
    return Section(f"memory on GPUs of {gpu.gib:.0f} GiB ({gpu.source})", [*work, *estimate])
