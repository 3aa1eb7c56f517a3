"""One cell: an RL run by verl's own launcher, and its evaluation. Run again, both go on where they were."""

from __future__ import annotations

import json
import math
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from examples.ablation.cells import FAULTS, Cell
from osvl_plugins.agent import AgentSettings
from osvl_plugins.demo import tiny_agent, training_environment
from osvl_plugins.errors import OsvlError
from osvl_plugins.launch import run_logged
from osvl_plugins.tools.faults import FaultSettings

KEPT = {
    "reward": "critic/score/mean",
    "accuracy": "osvl/reward/accuracy/mean",
    "turns": "osvl/turns/mean",
    "fatal_rate": "osvl/fatal_rate/mean",
    "step_s": "timing_s/step",
}
"""What is read of a step, by verl's names."""
METRICS = "metrics-{}.jsonl"
"""verl's own log of the metrics, one file for each attempt at a run."""
EVALUATIONS = {"calm": 1.0, "faulty": 1.0, "calm-greedy": 0.0}
"""Temperature by name: tools that work, tools that fail as they did in the training, tools that work."""
BEGUN, DONE = "begun.json", "done.json"
"""What a cell is, by its name and in its size; the file is named anew when the cell is done."""


@dataclass(frozen=True)
class Size:
    """How much every cell trains: ``prompts`` × ``samples`` episodes a step."""

    steps: int = 20
    prompts: int = 16
    samples: int = 8
    lr: float = 3e-4
    """The highest."""
    save_every: int = 10
    questions: int = 200
    """Of every evaluation."""
    tries: int = 2
    """Episodes of each at temperature 1."""
    threads: int = 1

    @property
    def overrides(self) -> list[str]:
        """For verl's launcher.

        Twenty updates of Adam end where the last batches happened to point: the learning rate rises over a fifth of the
        steps, while its moments are those of a few batches, and falls to 0 by a cosine. The old log-probabilities are
        those that the rollout recorded, since actor and server compute the same here.
        """
        return [
            f"trainer.total_training_steps={self.steps}",
            f"trainer.save_freq={self.save_every}",
            f"data.train_batch_size={self.prompts}",
            f"actor_rollout_ref.actor.ppo_mini_batch_size={self.prompts}",
            f"actor_rollout_ref.actor.optim.lr={self.lr:g}",
            f"actor_rollout_ref.actor.optim.lr_warmup_steps={self.steps // 5}",
            "actor_rollout_ref.actor.optim.lr_scheduler_type=cosine",
            f"actor_rollout_ref.rollout.n={self.samples}",
            f"+actor_rollout_ref.rollout.engine_kwargs.transformers.threads={self.threads}",
            "actor_rollout_ref.rollout.calculate_log_probs=true",
            "algorithm.rollout_correction.bypass_mode=true",
        ]


def train(cell: Cell, size: Size, folder: Path, home: Path, say: Callable[[str], None], stop: threading.Event) -> Path:
    """Train ``cell`` in ``folder`` on the data and the SFT checkpoint in ``home``; gives its checkpoint.

    Raises ``OsvlError`` when the run fails, and when ``stop`` is set.
    """
    checkpoint = folder / f"global_step_{size.steps}" / "actor" / "huggingface"
    if not (checkpoint / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "osvl_tiny_rl",
            *cell.overrides, *size.overrides,
            f"trainer.default_local_dir={folder}", "trainer.resume_mode=auto", "trainer.max_actor_ckpt_to_keep=1",
            "trainer.rollout_data_dir=null", "trainer.logger=[console,file]", f"hydra.run.dir={folder / 'hydra'}",
        ]  # fmt: skip
        # verl's logger begins its file anew, so every attempt has its own.
        attempt = len(list(folder.glob(METRICS.format("*"))))
        environment = {
            **_environment(home, size), "VERL_FILE_LOGGER_PATH": str(folder / METRICS.format(f"{attempt:04}"))
        }  # fmt: skip

        def show(step: int, values: dict[str, float]) -> None:
            # Ray may cut a long line in two: what counts is in the file.
            reward, seconds = (values.get(KEPT[name], math.nan) for name in ("reward", "step_s"))
            say(f"{step}/{size.steps} reward {reward:.2f} in {seconds:.0f} s")

        run_logged(command, folder / "log.txt", 600 + 300 * size.steps, environment, show, stop)
    if not (checkpoint / "config.json").exists():
        raise OsvlError(f"{folder / 'log.txt'}: the run ended and left no {checkpoint}")
    return checkpoint


def worlds(faults: FaultSettings) -> dict[str, FaultSettings]:
    """The evaluations of what was trained with ``faults``, and the faults of each."""
    calm = FaultSettings()
    return {"calm": calm, **({"faulty": faults} if faults != calm else {}), "calm-greedy": calm}


def evaluate(
    model: Path, among: Mapping[str, FaultSettings], out: Path, home: Path, size: Size, stop: threading.Event
) -> None:
    """The held-out questions in the worlds ``among``, by names of ``EVALUATIONS``; reports in ``out``.

    Raises ``OsvlError`` when ``osvl eval`` fails, and when ``stop`` is set.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, faults in among.items():
        folder, temperature = out / name, EVALUATIONS[name]
        agent = with_faults(tiny_agent(home / "atlas"), faults)
        config = folder.with_suffix(".yaml")
        config.write_text(json.dumps({"osvl": agent.model_dump(mode="json")}))  # JSON is YAML
        command = [
            str(Path(sys.executable).with_name("osvl")), "eval", "run", str(home / "data" / "held_out.parquet"),
            "--model-path", str(model), "--config", str(config), "--temperature", f"{temperature:g}",
            "--limit", str(size.questions), "--samples", str(size.tries if temperature else 1), "--out", str(folder),
        ]  # fmt: skip
        log = folder.with_suffix(".log")
        run_logged(command, log, 60 + 10 * size.questions * size.tries, _environment(home, size), stop=stop)


def _environment(home: Path, size: Size) -> dict[str, str]:
    return {**training_environment(home), "OMP_NUM_THREADS": str(size.threads)}


def with_faults(agent: AgentSettings, faults: FaultSettings) -> AgentSettings:
    """``agent`` in a world of ``faults``."""
    return agent.model_copy(update={"episode": agent.episode.model_copy(update={"faults": faults})})


def check_size(out: Path, size: Size) -> None:
    """Raises ``OsvlError`` when ``out`` has a cell of another size, since its table compares cells of one."""
    for name in (BEGUN, DONE):
        for record in sorted(out.glob(f"cells/*/{name}")):
            before = Size(**json.loads(record.read_text())["size"])
            if replace(before, threads=size.threads) != size:
                raise OsvlError(f"{record.parent} has {before}, asked for is {size}: give that, or another --out")


def run_cell(cell: Cell, size: Size, out: Path, home: Path, say: Callable[[str], None], stop: threading.Event) -> None:
    """Train and evaluate ``cell`` in ``out/cells/<name>``, unless that is done.

    Raises ``OsvlError`` when that fails, and when ``stop`` is set.
    """
    folder = out / "cells" / cell.name
    if (folder / DONE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{BEGUN}.part"
    part.write_text(json.dumps({"cell": cell.to_dict(), "size": asdict(size)}))
    part.replace(folder / BEGUN)
    model = train(cell, size, folder / "run", home, lambda message: say(f"{cell.name}: {message}"), stop)
    evaluate(model, worlds(FAULTS[cell.faults]), folder / "evaluation", home, size, stop)
    shutil.copytree(model, folder / "model", dirs_exist_ok=True)
    for spent in (folder / "run").glob("global_step_*"):
        shutil.rmtree(spent)
    (folder / BEGUN).replace(folder / DONE)
    say(f"{cell.name}: done")
