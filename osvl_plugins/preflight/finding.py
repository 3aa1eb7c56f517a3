"""What a check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from osvl_plugins.errors import SettingError

Level = Literal["ok", "warning", "error"]
COLOURS = {"ok": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class Finding:
    """An error keeps the run from starting or ends it; a warning may. ``remedy`` says what to do."""

    level: Level
    name: str
    detail: str
    remedy: str = ""


def refused(error: SettingError, remedy: str = "") -> Finding:
    """A setting that cannot work, under its name."""
    return Finding("error", error.name, str(error).removeprefix(f"{error.name}: "), remedy)


def counted(number: int, what: str) -> str:
    """``1 GPU``, ``2 GPUs``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Section:
    """Findings under a title."""

    title: str
    findings: list[Finding]


def fails(sections: Sequence[Section]) -> bool:
    """Whether there is an error."""
    return any(finding.level == "error" for section in sections for finding in section.findings)


def show(sections: Sequence[Section], console: Console) -> None:
    """Print every finding, what to do about it, and a last line that says how it went."""
    for section in sections:
        table = Table(title=escape(section.title), title_justify="left", show_header=False, box=None, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(ratio=2, overflow="fold")
        table.add_column(ratio=5, overflow="fold")
        for finding in section.findings:
            mark = f"[{COLOURS[finding.level]}]{finding.level}[/]"
            remedy = f"\n[yellow]→ {escape(finding.remedy)}[/]" if finding.remedy else ""
            table.add_row(mark, escape(finding.name), escape(finding.detail) + remedy)
        console.print(table)
        console.print()
    levels = [finding.level for section in sections for finding in section.findings]
    errors, warnings = levels.count("error"), levels.count("warning")
    colour = COLOURS["error" if errors else "ok"]
    console.print(f"[{colour}]{counted(errors, 'error')}[/], {counted(warnings, 'warning')}", highlight=False)
