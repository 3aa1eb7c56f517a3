"""The code agent: its data, reward, tool and configs, and the whole of it run with the tiny model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.tool_agent_loop import AgentData, ToolAgentLoop
from verl.tools.schemas import ToolResponse
from verl.tools.tool_registry import initialize_tools_from_config
from verl.trainer.ppo.reward import get_custom_reward_fn

from examples.code_agent import data, warmup
from examples.code_agent.reward import PARTIAL, compute_score
from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.images import ImageStore
from osvl_plugins.launch import run_logged
from osvl_plugins.tools.base import ToolContext
from osvl_plugins.trajectory import ToolCall
from osvl_plugins.verl.agent_loop import fatal_settings
from osvl_plugins.verl.fatal_loop import FatalAware
from osvl_plugins.verl.trainer import check

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "code_agent"


def recomputed(question: str) -> int:
    """The answer by another way than that of the example."""
    n = int(re.search(r"n=(\d+)", question)[1])
    if "odd numbers" in question:
        return sum(odd**2 for odd in range(1, 2 * n, 2))
    if "prime" in question:
        sieve = [True] * n
        for number in range(2, n):
            sieve[2 * number :: number] = [False] * len(sieve[2 * number :: number])
        return sum(sieve[2:])
    if "day of the month" in question:
        day = n
        months = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] * 2
        for length in months:
            if day < length:
                return day + 1
            day -= length
    if "remainder" in question:
        power = 1
        for _ in range(n):
            power = power * 7 % 1000
        return power
    count, number = 0, 1 << n
    while number:
        number, digit = divmod(number, 10)
        count += digit == 7
    return count


def compose(name: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-dir", str(EXAMPLE), "--config-name", name]
    done = subprocess.run(
        [*command, *arguments, "--cfg", "job"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return OmegaConf.create(done.stdout)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("data")
    data.write(folder)
    return {split: pq.read_table(folder / f"{split}.parquet").to_pylist() for split in ("train", "test")}


def test_every_answer_is_right(rows):
    for row in rows["train"] + rows["test"]:
        question = row["prompt"][-1]["content"]
        assert int(row["reward_model"]["ground_truth"]) == recomputed(question), question


def test_no_question_is_in_both_files_and_both_have_every_kind(rows):
    train, test = ({row["prompt"][-1]["content"] for row in rows[split]} for split in ("train", "test"))
    assert (len(train), len(test), len(train | test)) == (2000, 200, 2200)
    for split in ("train", "test"):
        assert {row["extra_info"]["kind"] for row in rows[split]} == set(data.KINDS)


def test_the_same_seed_draws_the_same_questions():
    assert data.questions(50, seed=1) == data.questions(50, seed=1) != data.questions(50, seed=2)


def said(*observations: str, answer: str) -> str:
    """A response as verl's reward manager decodes it."""
    calls = [f"<tool_call>\n{{}}\n</tool_call>user\n<tool_response>\n{text}\n</tool_response>" for text in observations]
    return "assistant\n".join([*calls, answer])


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (said("58", answer="So it is 58.\nAnswer: 58"), 1.0),
        (said(answer="Answer: 58"), 1.0),
        (said("58", answer="Answer: 85"), PARTIAL),
        (said("58", "Error (failed): no", answer=""), PARTIAL),
        (said("Answer: 58", answer=""), PARTIAL),
        (said("Answer: 58\n</tool_response>\nAnswer: 58", answer=""), PARTIAL),
        (said("58 59", answer="58"), 0.0),
        (said("580", answer="Answer: 580"), 0.0),
        (said("0", answer="Answer: 58 or 59"), 0.0),
        ("", 0.0),
    ],
)
def test_an_exact_answer_scores_1_and_a_number_that_only_a_call_printed_a_part(response, score):
    assert compute_score("code_agent", response, "58")["score"] == score


async def test_verl_reads_the_tool_and_it_runs_code_with_failures_as_kinds():
    (tool,) = initialize_tools_from_config(str(EXAMPLE / "tools.yaml"))
    episode = AgentData([], [], [], None, None, {}, "r", {})
    (good, _, ran), (bad, _, failed) = [
        await tool.execute("", {"code": code}, agent_data=episode) for code in ("print(6 * 7)", "prnt(6 * 7)")
    ]
    assert (tool.name, good.text, ran["error_kind"], failed["error_kind"]) == (
        "python_interpreter",
        "42",
        None,
        "failed",
    )
    assert bad.text.endswith("NameError: name 'prnt' is not defined")


async def test_the_warm_ups_programs_are_right_and_its_slips_fail():
    tools = build_tools(AgentSettings(tools=("python_interpreter",)))
    context = ToolContext(ImageStore(AgentSettings().episode.images))
    try:
        for kind, program in warmup.PROGRAMS.items():
            code = program.format(n=123)
            call = ToolCall("python_interpreter", {"code": code})
            assert (await tools.run(call, context)).text == f"Answer: {data.Question(kind, 123).answer}"
            for slip in warmup.SLIPS:
                call = ToolCall("python_interpreter", {"code": code.replace(*slip, 1)})
                assert (await tools.run(call, context)).error is not None
    finally:
        await tools.aclose()


@pytest.mark.parametrize("name", ["code_agent", "code_agent_tiny"])
def test_the_launch_is_fatal_aware_and_passes_the_trainers_check(name, monkeypatch):
    config = compose(name)
    check(config)
    assert config.actor_rollout_ref.rollout.agent.default_agent_loop == "osvl_tool_agent"
    assert (fatal_settings(config).k, fatal_settings(config).mode) == (3, "fatal_mask_clamp")
    monkeypatch.chdir(ROOT)
    assert get_custom_reward_fn(config)("code_agent", "Answer: 58", "58")["score"] == 1
    assert [tool.name for tool in initialize_tools_from_config(config.data.tool_config_path)] == ["python_interpreter"]


def test_the_readme_shows_what_makes_a_launch_fatal_aware_in_under_ten_lines():
    lines = (EXAMPLE / "fatal.yaml").read_text().splitlines()
    assert sum(not line.startswith("#") for line in lines) < 10
    (changed,) = (block for block in blocks("yaml") if "osvl_tool_agent" in block)
    assert OmegaConf.create(changed) == OmegaConf.load(EXAMPLE / "fatal.yaml")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)


def test_the_class_in_the_readme_calls_a_traceback_a_failure():
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    cls = names["MyAgent"]
    assert issubclass(cls, FatalAware)
    assert issubclass(cls, ToolAgentLoop)
    texts = ("Traceback (most recent call last): …", "42")
    assert [cls.error_kind(None, None, ToolResponse(text=text), {}) for text in texts] == ["failed", None]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_smoke_run_trains_masks_and_clamps(tmp_path):
    steps: list[dict[str, float]] = []

    def keep(step: int, metrics: dict[str, float]) -> None:
        if "osvl/fatal_rate/mean" in metrics:
            steps.append(metrics)

    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = ["bash", "-c", f"cd {ROOT} && exec bash examples/code_agent/smoke.sh {tmp_path}"]
    run_logged(command, tmp_path / "log.txt", 1700, environment, keep)
    assert len(steps) == 2
    for metrics in steps:
        assert metrics["osvl/fatal_rate/mean"] > 0
        assert metrics["osvl/masked_tokens"] > 0
        assert metrics["osvl/error_steps/kind/failed/mean"] > 0
        assert metrics["osvl/reward/exact/mean"] > 0
        assert metrics["actor/grad_norm"] > 0
        assert metrics["training/rollout_probs_diff_max"] < 1e-3
    assert sum(metrics["osvl/clamped_rows"] for metrics in steps) > 0
    assert "Failed to initialize tools" not in (tmp_path / "log.txt").read_text(errors="replace")
