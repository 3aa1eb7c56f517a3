"""examples/launch and docs/launch: what they name exists, and what can run without a cluster does."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

pytest.importorskip("verl")

import psutil
import verl.trainer
from hydra import compose, initialize_config_dir

ROOT = Path(__file__).parents[1]
FILES, PAGES = ROOT / "examples/launch", sorted((ROOT / "docs/launch").glob("*.md"))
SBATCH, ENVIRONMENT, RAYJOB = FILES / "slurm.sbatch", FILES / "env.example", FILES / "rayjob.yaml"
CONFIGS = str(Path(verl.trainer.__file__).parent / "config")

SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do
    [[ $1 == --nodelist=* ]] && exec env NODE="${1#*=}" "${@:2}"
    shift
done
for node in one two; do NODE=$node "$@" || exit; done
"""
SCONTROL = """#!/usr/bin/env bash
if [[ $1 == show ]]; then printf 'one\\ntwo\\n'; else echo "scontrol $*" >>"$(dirname "$0")/asked"; fi
"""
FAKE_RAY = f"""#!{sys.executable}
import socket, sys, time
for word in sys.argv:
    if word.startswith("--port="):
        server = socket.create_server(("", int(word.removeprefix("--port="))))
time.sleep(300)
"""
FAKE_PYTHON = """#!/usr/bin/env bash
[[ $1 == -m ]] && touch "$(dirname "$0")/training" && exec sleep 300
exit 0
"""


class Slurm(NamedTuple):
    """A job of two nodes, both this machine: ``srun`` and ``scontrol`` are stand-ins, all else is real."""

    folder: Path
    environment: dict[str, str]

    def install(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SBATCH), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[psutil.Process]:
        """Those that the job has started, on whichever node, and that still run."""
        mark = f"SLURM_JOB_ID={self.environment['SLURM_JOB_ID']}"
        found = []
        for process in psutil.process_iter():
            try:
                if mark in [f"{key}={value}" for key, value in process.environ().items()]:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def job_id() -> int:
    """A number whose ports nobody uses."""
    for number in range(os.getpid() % 5000, os.getpid() % 5000 + 200):
        port = 20000 + number % 5000 * 2
        try:
            for one in (port, port + 1):
                socket.create_server(("", one)).close()
        except OSError:
            continue
        return number
    raise AssertionError("no free ports")


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    addresses = subprocess.run(["ip", "-4", "-o", "addr", "show", "scope", "global"], capture_output=True, check=False)
    if not addresses.stdout:
        pytest.skip("no network but the loopback")
    (tmp_path / "osvl.env").write_text("OSVL_CPU=1\nRAY_AUTH_MODE=token\n")
    number = job_id()
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_SOCKET_IFNAME")} | {
        "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": str(number),
        "SLURM_JOB_NODELIST": "[one-two]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_PER_NODE": "cpu:1",
        "SLURM_CPUS_PER_TASK": "4",
    }
    job = Slurm(tmp_path, environment)
    job.install("srun", SRUN)
    job.install("scontrol", SCONTROL)
    yield job
    for process in job.processes():
        process.kill()
    shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)


@pytest.mark.parametrize("script", [SBATCH, ENVIRONMENT], ids=lambda path: path.name)
def test_a_script_is_sound_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)


def test_kubectl_and_bash_read_the_environment_file_alike() -> None:
    lines = [line for line in ENVIRONMENT.read_text().splitlines() if line and not line.startswith("# ")]
    variables = dict(line.lstrip("#").split("=", 1) for line in lines)
    for name, value in variables.items():
        assert re.fullmatch(r"[A-Z_0-9]+", name)
        assert shlex.split(value) == ([value] if value else []), f"{name}: bash reads another value"
        assert "$" not in value
    set_ones = {name: value for name, value in variables.items() if f"#{name}={value}" not in lines}
    command = f"set -a; . {ENVIRONMENT}; env"
    done = subprocess.run(["bash", "-c", command], env={}, capture_output=True, text=True, check=True, timeout=20)
    assert set_ones.items() <= dict(line.split("=", 1) for line in done.stdout.splitlines()).items()


def test_a_job_with_two_versions_of_the_package_ends_before_ray_starts(slurm: Slurm) -> None:
    slurm.install("osvl", '#!/usr/bin/env bash\necho "osvl on $NODE"\n')
    job = slurm.start("osvl_tiny_rl")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "different versions:\nosvl on one\nosvl on two" in output


def test_a_job_ends_where_a_node_lacks_the_package(slurm: Slurm) -> None:
    slurm.install("osvl", "#!/usr/bin/env bash\n[[ $NODE == one ]]\n")
    job = slurm.start("osvl_tiny_rl")
    job.communicate(timeout=60)
    assert job.returncode != 0
    assert not slurm.processes()


def test_a_job_ends_when_the_head_of_ray_does(slurm: Slurm) -> None:
    slurm.install("ray", "#!/usr/bin/env bash\necho no token >&2\nexit 1\n")
    job = slurm.start("osvl_tiny_rl")
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 1
    assert "no token\n" in output
    assert "no head of Ray at" in output


def test_a_job_near_its_end_goes_back_to_the_queue_and_leaves_no_process(slurm: Slurm) -> None:
    slurm.install("ray", FAKE_RAY)
    slurm.install("python", FAKE_PYTHON)
    job = slurm.start("osvl_tiny_rl")
    deadline = time.monotonic() + 60
    while not (slurm.folder / "training").exists():
        assert time.monotonic() < deadline, "the job does not come to its launch"
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=60)
    assert (slurm.folder / "asked").read_text() == f"scontrol requeue {slurm.environment['SLURM_JOB_ID']}\n"
    psutil.wait_procs(slurm.processes(), timeout=20)
    assert not slurm.processes()


@pytest.mark.slow
def test_a_job_joins_its_nodes_to_one_ray_cluster_and_launches_the_recipe_on_it(slurm: Slurm) -> None:
    job = slurm.start("osvl_tiny_rl", "--cfg", "job")
    output, _ = job.communicate(timeout=400)
    assert job.returncode == 0, output[-3000:]
    assert "Ray has 2 nodes with 2 GPUs" in output
    assert re.search(r"^trainer:(?:\n .*)*\n  nnodes: 2\n(?: .*\n)*?  n_gpus_per_node: 1$", output, re.MULTILINE)
    psutil.wait_procs(slurm.processes(), timeout=40)
    assert not slurm.processes()


@pytest.mark.slow
def test_a_submitted_job_finds_recipe_and_plugin(slurm: Slurm) -> None:
    environment = slurm.environment | {"OSVL_CPU": "1", "RAY_AUTH_MODE": "token"}
    port = 20000 + int(environment["SLURM_JOB_ID"]) % 5000 * 2
    folder = f"/tmp/ray-{environment['SLURM_JOB_ID']}"
    # Two Rays on one machine cannot share the agent's usual port, and without its agent one takes no jobs.
    ports = f"--port={port} --dashboard-port={port + 1} --dashboard-agent-listen-port={port + 10000}"
    start = f"ray start --head {ports} --num-gpus=1 --temp-dir={folder} --disable-usage-stats"
    subprocess.run(start.split(), env=environment, check=True, timeout=120)
    submit = f"ray job submit --address=http://127.0.0.1:{port + 1} --"
    launch = "python -m verl.trainer.main_ppo --config-name osvl_tiny_rl --cfg job"
    for command, expected in (
        (launch, "adv_estimator: osvl_grpo"),
        # A worker is no child of this process, and finds the plugin by its entry point alone.
        (f"python -c {shlex.quote(WORKER)}", "registered osvl_grpo"),
    ):
        done = subprocess.run(
            [*submit.split(), *shlex.split(command)], env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert expected in done.stdout


WORKER = """
import ray
ray.init(log_to_driver=False)
@ray.remote
def registered():
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
    return "osvl_grpo" if "osvl_grpo" in ADV_ESTIMATOR_REGISTRY else "nothing"
print("registered", ray.get(registered.remote(), timeout=120))
"""


def test_the_rayjob_is_whole() -> None:
    job = yaml.safe_load(RAYJOB.read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec: dict[str, Any] = job["spec"]
    cluster = spec["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["minReplicas"] == workers["replicas"] == workers["maxReplicas"]
    (head,), (worker,) = (group["template"]["spec"]["containers"] for group in (cluster["headGroupSpec"], workers))
    assert head["image"] == worker["image"]
    assert head["envFrom"] == worker["envFrom"] == [{"secretRef": {"name": "osvl-env"}}]
    for group, container in ((cluster["headGroupSpec"], head), (workers, worker)):
        pod = group["template"]["spec"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        # What KubeRay refuses in SidecarMode.
        assert "restartPolicy" not in pod
    assert spec.keys().isdisjoint({"submitterPodTemplate", "submitterConfig", "clusterSelector"})
    recipe, overrides = launch(shlex.split(spec["entrypoint"]))
    config = composed(recipe, overrides)
    gpus = int(worker["resources"]["limits"]["nvidia.com/gpu"])
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (workers["replicas"], gpus)


def composed(recipe: str, overrides: list[str]) -> Any:
    with initialize_config_dir(CONFIGS, version_base=None):
        return compose(recipe, overrides)


def launch(words: list[str]) -> tuple[str, list[str]]:
    """Recipe and overrides of a command line."""
    at = next(at for at, word in enumerate(words) if word == "--config-name" or word.endswith(SBATCH.name))
    return words[at + 1], [word for word in words[at + 2 :] if "=" in word]


def launches() -> list[tuple[str, str, list[str]]]:
    """(page, recipe, overrides) of each launch in the pages and in the script's comment."""
    found = []
    for page in [*PAGES, SBATCH]:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^(?:    |#  ).*", text, re.MULTILINE)
        lines = [line for line in blocks if "--config-name" in line or "sbatch --nodes=8" in line]
        found += [(page.name, *launch(re.split(" #|'$", line)[0].split())) for line in lines]
    return found


@pytest.mark.parametrize(("page", "recipe", "overrides"), launches())
def test_a_launch_of_the_pages_composes(page: str, recipe: str, overrides: list[str]) -> None:
    assert composed(recipe, [override.replace("$OSVL_HOME", "/home") for override in overrides])
