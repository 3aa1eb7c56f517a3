"""The tools, services and judges that ``osvl`` names: is everything there that each needs, and do they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from osvl_plugins.agent import AgentSettings, build_tools
from osvl_plugins.backends.recorder import RecordingSettings
from osvl_plugins.errors import CorpusError, OsvlError, SettingError
from osvl_plugins.live import probe_all
from osvl_plugins.preflight.finding import Finding, Level, refused
from osvl_plugins.preflight.plan import Plan
from osvl_plugins.reward.build import build_scorer
from osvl_plugins.settings import read

REQUESTS = 1
"""Asked of each live service."""


def check_services(plan: Plan, live: bool) -> list[Finding]:
    """Findings on each tool, and on the reward's judges. ``live``: ask the live services too.

    Keys are looked for in this process's environment, corpora and folders on this machine.
    """
    group: Any = plan.get("osvl")
    if group is None:
        return []
    try:
        settings = read(AgentSettings, group, "osvl")
    except SettingError:
        return []  # the trainer's own check has said so
    found = _grouped([_tool(settings, tool) for tool in settings.tools])
    if plan.get("reward.reward_manager.name") == "osvl_composite" and settings.reward.accuracy != "router":
        found.append(_tried("reward", partial(_judge, settings)))
    if live and not any(finding.level == "error" for finding in found):
        found += _answers(settings)
    return found


def _tool(settings: AgentSettings, tool: str) -> Finding:
    found = _tried(tool, partial(_build, settings, tool))
    if found.level != "ok" or settings.services.recording.mode != "cache":
        return found
    live = settings.services.model_copy(update={"recording": RecordingSettings()})
    asked = _tried(tool, partial(_build, settings.model_copy(update={"services": live}), tool))
    if asked.level == "ok":
        return asked
    return replace(asked, level="warning", detail=f"{asked.detail}; only what is recorded can be answered")


def _tried(name: str, make: Callable[[], str]) -> Finding:
    try:
        return Finding("ok", name, make())
    except SettingError as error:
        return refused(error, f"set it, or do without {name}")
    except CorpusError as error:
        return Finding("error", name, str(error), "osvl atlas build --out FOLDER, then osvl.corpus=FOLDER")
    except OsvlError as error:
        return Finding("error", name, str(error), "set what it needs, or leave it out of osvl.tools")


def _grouped(findings: list[Finding]) -> list[Finding]:
    """One finding for tools of which the same is said: what one lacks, others lack too."""
    names: dict[tuple[Level, str], list[str]] = {}
    for finding in findings:
        names.setdefault((finding.level, finding.detail), []).append(finding.name)
    first = {(finding.level, finding.detail): finding for finding in reversed(findings)}
    return [replace(first[key], name=", ".join(dict.fromkeys(named))) for key, named in names.items()]


def _build(settings: AgentSettings, tool: str) -> str:
    tools = build_tools(settings.model_copy(update={"tools": (tool,)}))
    asyncio.run(tools.aclose())
    return tools.tools[tool].backend


def _judge(settings: AgentSettings) -> str:
    scorer = build_scorer(settings.reward, settings.services)
    asyncio.run(scorer.aclose())
    return f"accuracy: {settings.reward.accuracy}, query: {settings.reward.query}"


def _answers(settings: AgentSettings) -> list[Finding]:
    return [
        Finding("ok", probe.service, f"answered in {1000 * probe.median_s:.0f} ms: {probe.said}")
        if probe.worked == probe.asked > 0
        else Finding("error", probe.service, probe.said, "`osvl doctor --live` asks it again, more often")
        for probe in probe_all(settings, REQUESTS)
    ]
