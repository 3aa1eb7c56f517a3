"""What one process of a run sees: which modules import, what the plugin has registered, which device verl uses.

    python -m osvl_plugins.verl.probe verl.trainer.main_ppo verl.trainer.ppo.v1

imports verl, then these, and prints a ``Report`` as the last line. A process imports a module once and keeps what
it registered, so every question of this kind takes a process of its own; ``ask`` starts one.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from osvl_plugins.errors import OsvlError

PLUGIN = "osvl_plugins.verl.plugin"
TIMEOUT_S = 240.0

PROCESSES: dict[str, tuple[str, ...]] = {
    "driver": ("verl.trainer.main_ppo", "verl.trainer.ppo.v1"),
    "agent loop worker": ("verl.experimental.agent_loop",),
    "reward worker": ("verl.experimental.reward_loop", "verl.experimental.reward_loop.reward_manager"),
    "rollout server": ("verl.workers.rollout.replica", "verl.workers.rollout.base"),
    "training worker": ("verl.workers.engine_workers", "verl.workers.engine.fsdp.transformer_impl"),
}
"""The kinds of processes of a run, and what each imports of verl."""


@dataclass(frozen=True)
class HookState:
    """A registration of the plugin as it stands in the process."""

    name: str
    module: str
    status: str
    detail: str


@dataclass(frozen=True)
class Report:
    """What a process found.

    ``errors`` names the modules that do not import; ``plugin_error`` says why the plugin is not there, and is empty
    when verl has loaded it. ``accelerator`` is the name of the first one that torch can use, or empty.
    """

    version: str = ""
    file: str = ""
    device: str = ""
    torch: str = ""
    accelerator: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    hooks: list[HookState] = field(default_factory=list)
    plugin_error: str = ""

    @classmethod
    def from_json(cls, line: str) -> Report:
        """Inverse of what a probe prints. Raises ``ValueError`` or ``TypeError`` for anything else."""
        data: dict[str, Any] = json.loads(line)
        return cls(**{**data, "hooks": [HookState(**hook) for hook in data["hooks"]]})


def ask(modules: Sequence[str]) -> Report:
    """The report of a new process, with this one's environment, that imports verl and then ``modules``.

    Raises ``OsvlError`` when it does not end within four minutes, or dies.
    """
    asked = f"a process that imports {', '.join(modules)}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, *modules], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise OsvlError(f"{asked} did not end within {TIMEOUT_S:g} s") from None
    try:
        return Report.from_json(done.stdout.splitlines()[-1])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1][:400] if lines else "it printed nothing"
        raise OsvlError(f"{asked} died with exit code {done.returncode}: {said}") from error


def report(modules: Sequence[str]) -> Report:
    """What this process sees once it has imported verl and ``modules``."""
    errors = {name: problem for name in ("verl", *modules) if (problem := _import_error(name))}
    verl, torch = sys.modules.get("verl"), sys.modules.get("torch")
    accelerated = torch is not None and torch.cuda.is_available()
    hooks, plugin_error = _hooks()
    return Report(
        version=getattr(verl, "__version__", ""),
        file=getattr(verl, "__file__", None) or "",
        device="" if "verl" in errors else str(importlib.import_module("verl.utils.device").get_device_name()),
        torch=str(torch.__version__) if torch is not None else "",
        accelerator=str(torch.cuda.get_device_name(0)) if torch is not None and accelerated else "",
        errors=errors,
        hooks=hooks,
        plugin_error=plugin_error,
    )


def _import_error(name: str) -> str:
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a foreign module raises is the answer
        return f"{type(error).__name__}: {error}"
    return ""


def _hooks() -> tuple[list[HookState], str]:
    plugin = sys.modules.get(PLUGIN)
    if plugin is None:
        # verl hides why; importing it again tells.
        return [], _import_error(PLUGIN) or "verl has not loaded it"
    return [HookState(each.name, each.module, each.status, each.detail) for each in plugin.registrations()], ""


if __name__ == "__main__":
    found = report(sys.argv[1:])
    # A line of its own, whatever the imported modules printed without an end.
    sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")
    sys.stdout.flush()
    # Skips exit handlers of the imported modules, some of which wait for services that are not there.
    os._exit(0)
