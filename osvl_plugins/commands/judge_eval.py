"""``osvl judge-eval``: how far a judge agrees with labelled answers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osvl_plugins.commands.options import Commands, add_command
from osvl_plugins.commands.tools import config_group, pair, put_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from osvl_plugins.backends.services import Services, ServiceSettings
    from osvl_plugins.judge_eval import Confusion, Example, Outcome, Rate
    from osvl_plugins.reward.judge import AccuracyJudge
    from osvl_plugins.reward.judges.openai import JudgeSettings

JUDGES = ("rules", "openai", "rules-openai")
JUDGE_GROUP = "osvl.reward.judge"


def add(commands: Commands) -> None:
    """Put the command into the parser."""
    command = add_command(
        commands, "judge-eval", _judge_eval, "how far a judge agrees with labels; the exit code is 1 if it failed"
    )  # fmt: skip
    command.add_argument(
        "file", type=Path, metavar="FILE",
        help="JSON lines with question, accepted (a list), answer, right (true or false) and perhaps category",
    )  # fmt: skip
    command.add_argument(
        "--judge", choices=JUDGES, default="rules",
        help="rules-openai asks the model where the rules cannot tell (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="a YAML file with the group osvl, such as a run's config"
    )
    command.add_argument(
        "--set", type=pair, action="append", default=[], metavar="KEY=VALUE",
        help="another setting of the groups osvl.reward.judge and osvl.services, such as reward.judge.url=http://...",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="as JSON")
    command.add_argument("--out", type=Path, metavar="FILE", help="JSON lines with each verdict and its reason")


def _judge_eval(args: argparse.Namespace) -> int:
    import asyncio

    from osvl_plugins.judge_eval import confusion, read_examples

    judge_settings, service_settings = _settings(args)
    examples = read_examples(args.file)
    name, version, outcomes = asyncio.run(_verdicts(args.judge, judge_settings, service_settings, examples))
    categories = sorted({outcome.example.category for outcome in outcomes} - {""})
    tables = {"all": confusion(outcomes)}
    by_category = {
        category: confusion(outcome for outcome in outcomes if outcome.example.category == category)
        for category in categories
    }
    if args.out is not None:
        _write(args.out, outcomes)
    if args.json:
        report = {
            "judge": name,
            "version": version,
            **{key: _as_json(value) for key, value in tables.items()},
            "categories": {key: _as_json(value) for key, value in by_category.items()},
        }
        print(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(name, version, {**by_category, **tables})
    return 1 if tables["all"].failed else 0


async def _verdicts(
    kind: str, judge_settings: JudgeSettings, service_settings: ServiceSettings, examples: Sequence[Example]
) -> tuple[str, str, list[Outcome]]:
    from osvl_plugins.backends.services import Services
    from osvl_plugins.backends.workers import ProcessWorkers, WorkerSettings
    from osvl_plugins.judge_eval import judge_examples

    workers = ProcessWorkers(WorkerSettings())
    services = Services(service_settings, workers)
    try:
        judge = _judge(kind, judge_settings, services)
        return judge.name, judge.version, await judge_examples(judge, examples)
    finally:
        await services.aclose()
        workers.close()


def _judge(kind: str, settings: JudgeSettings, services: Services) -> AccuracyJudge:
    from osvl_plugins.reward.judges.openai import accuracy_judge
    from osvl_plugins.reward.judges.rules import RuleJudge

    if kind == "rules":
        return RuleJudge()
    model = accuracy_judge(settings, services.http, services.recorder, JUDGE_GROUP)
    return model if kind == "openai" else RuleJudge(model)


def _settings(args: argparse.Namespace) -> tuple[JudgeSettings, ServiceSettings]:
    """The two groups that a judge needs, of all that a run's config holds. Raises ``SettingError``."""
    from osvl_plugins.backends.services import ServiceSettings
    from osvl_plugins.errors import SettingError
    from osvl_plugins.reward.judges.openai import JudgeSettings
    from osvl_plugins.settings import read

    values: dict[str, Any] = config_group(args.config) if args.config else {}
    for key, text in args.set:
        if not key.startswith(("reward.judge.", "services.")):
            raise SettingError(f"osvl.{key}", "has no effect here; only reward.judge.… and services.… have")
        put_setting(values, key, text)
    reward = values.get("reward") or {}
    if not isinstance(reward, dict):
        raise SettingError("osvl.reward", f"must be a group of settings, got {reward!r}")
    return (
        read(JudgeSettings, reward.get("judge"), JUDGE_GROUP),
        read(ServiceSettings, values.get("services"), "osvl.services"),
    )


def _write(file: Path, outcomes: Sequence[Outcome]) -> None:
    from osvl_plugins.errors import OsvlError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "w", encoding="utf-8") as out:
            for outcome in outcomes:
                line = {**outcome.example.model_dump(), "verdict": outcome.right, "reason": outcome.reason}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OsvlError(f"{file}: cannot be written: {error}") from error


def _rates(counts: Confusion) -> dict[str, Rate]:
    return {
        "agreement": counts.agreement,
        "kappa": counts.kappa,
        "false_accepts": counts.false_accepts,
        "false_rejects": counts.false_rejects,
    }


def _as_json(counts: Confusion) -> dict[str, Any]:
    from dataclasses import asdict
    from math import isnan

    rates = {
        name: {key: None if isnan(value) else value for key, value in rate._asdict().items()}
        for name, rate in _rates(counts).items()
    }
    return {"n": counts.judged + counts.failed, **asdict(counts), **rates}


def _print(judge: str, version: str, tables: dict[str, Confusion]) -> None:
    from math import isnan

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    def cell(rate: Rate) -> str:
        return "–" if isnan(rate.value) else f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f})"

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    table = Table(title=escape(f"{judge} ({version}), 95 % intervals"))
    table.add_column("")
    for column in ("n", "failed", "agreement", "Cohen's kappa", "false accepts", "false rejects"):
        table.add_column(column, justify="right")
    for name, counts in tables.items():
        cells = map(cell, _rates(counts).values())
        table.add_row(escape(name), f"{counts.judged + counts.failed:,}", f"{counts.failed:,}", *cells)
    console.print(table)
