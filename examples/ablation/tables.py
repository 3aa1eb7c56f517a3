"""``results.md``: what the cells that are done give, what that gains, and the plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from examples.ablation.plots import draw_curves, draw_means
from examples.ablation.results import Groups, Sft, answered, by_seed, by_setting, gain, interval, read_results
from examples.ablation.train import EVALUATIONS

SETTING = ("estimator", "mode", "faults", "other")


def figures(groups: Groups, sft: Sft) -> str:
    """Accuracies, and the last steps of the training, as a table in Markdown."""
    worlds = list(EVALUATIONS)
    rows = [[*SETTING, "seeds", *worlds, "reward", "turns", "fatal", "fatal, calm"]]
    for faults, known in sft.items():
        held_out = [f"{known[world].accuracy:.3f}" if world in known else "" for world in worlds]
        own = f"{known['calm'].fatal:.3f}" if "calm" in known else ""
        rows.append(["", "SFT alone", faults, "", "", *held_out, "", "", "", own])
    for setting, group in groups.items():
        seeds = [list(by_seed(group, world).values()) for world in worlds]
        accuracy = [str(interval(values)) if values else "" for values in seeds]
        late = [str(interval([one.late(name) for one in group])) for name in ("reward", "turns", "fatal_rate")]
        own = str(interval([one.held_out["calm"].fatal for one in group]))
        rows.append([*_words(setting), str(len(group)), *accuracy, *late, own])
    return _markdown(rows)


def gains(groups: Groups, sft: Sft) -> str:
    """Differences of accuracies from those of the SFT checkpoint, and of ``vanilla``, as a table in Markdown."""
    worlds = list(EVALUATIONS)
    rows = [[*SETTING, *(f"{world} over SFT" for world in worlds), *(f"{world} over vanilla" for world in worlds)]]
    for setting, group in groups.items():
        estimator, mode, faults, *other = setting
        vanilla = groups.get((estimator, "vanilla", faults, *other), []) if mode != "vanilla" else []
        over_sft, over_vanilla = [], []
        for world in worlds:
            accuracies, start = by_seed(group, world), sft.get(faults, {}).get(world)
            over_sft.append(str(gain(accuracies, dict.fromkeys(accuracies, start.accuracy)) or "") if start else "")
            over_vanilla.append(str(gain(accuracies, by_seed(vanilla, world)) or ""))
        rows.append([*_words(setting), *over_sft, *over_vanilla])
    return _markdown(rows)


def _words(setting: tuple[str, ...]) -> list[str]:
    estimator, mode, faults, *other = setting
    return [estimator, mode, faults, " ".join(other)]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def write_results(out: Path) -> Path:
    """``results.md`` with its plots beside it, of what is done in ``out``; gives its path."""
    groups = by_setting(read_results(out))
    sft = {folder.name: answered(folder) for folder in sorted((out / "sft").glob("*")) if folder.is_dir()}
    sft = {faults: {**sft.get("none", {}), **known} for faults, known in sft.items()}
    pictures = [draw_curves(groups, out), draw_means(groups, sft, out)] if groups else []
    text = [
        "Accuracy on held-out questions at temperature 1 (calm: tools work; faulty: as in training), calm-greedy at 0.",
        "Reward, turns, fatal: mean over the last fifth of the steps; fatal, calm: of the held-out episodes where no",
        "tool was made to fail. ±: 95 % interval over seeds.",
        "",
        figures(groups, sft),
        "",
        "Differences, seed by seed. Those from SFT leave out how far the one evaluation of SFT is from its mean.",
        "",
        gains(groups, sft),
        "",
        *(f"![{picture.stem}]({picture.name})" for picture in pictures),
    ]
    page = out / "results.md"
    page.write_text("\n".join(text) + "\n", encoding="utf-8")
    return page
