"""The plots: metrics over steps, and accuracies by mode. Readable in grey: lines differ in dash and mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

from examples.ablation.cells import Cell
from examples.ablation.results import Groups, Result, Sft, by_seed, interval
from examples.ablation.train import EVALUATIONS
from osvl_plugins.fatal import MODES

STYLES = {
    "vanilla": ("0.55", ":", "o"),
    "hard_mask": ("#b35806", "--", "s"),
    "fatal_mask": ("#5e3c99", "-.", "^"),
    "fatal_mask_clamp": ("0.0", "-", "D"),
}
"""Colour, dash and mark of each mode."""
CURVES = {
    "accuracy": "accuracy in training (share)",
    "reward": "reward (0 to 1)",
    "turns": "turns of an episode",
    "fatal_rate": "fatal episodes (share)",
}
WINDOW = 5
"""Steps that a point of a curve is the mean of."""
ENOUGH = 3
"""Seeds of which an interval is drawn; that of two is wider than any axis."""


def draw_curves(groups: Groups, out: Path) -> Path:
    """``curves.svg``: mean over seeds, with its 95 % interval as a band."""
    scenes = _scenes(groups)
    figure, axes = plt.subplots(
        len(scenes), len(CURVES), figsize=(4 * len(CURVES), 3.2 * len(scenes)), squeeze=False, layout="constrained"
    )
    for row, (scene, modes) in zip(axes, scenes.items(), strict=True):
        for ax, (name, label) in zip(row, CURVES.items(), strict=True):
            for mode, results in modes.items():
                _curve(ax, mode, name, results)
            ax.set_xlabel("step")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylabel(label)
        row[0].set_title(scene, loc="left", fontsize=9)
        row[0].legend(fontsize=8)
    return _saved(figure, out / "curves.svg")


def _curve(ax: Axes, mode: str, name: str, results: Sequence[Result]) -> None:
    colour, dash, mark = STYLES[mode]
    length = min(len(result.steps) for result in results)
    ends = range(min(WINDOW, length), length + 1)
    points = [interval([_mean(result.steps, name, end) for result in results]) for end in ends]
    means = [point.mean for point in points]
    ax.plot(
        ends, means, color=colour, linestyle=dash, marker=mark, markevery=max(1, length // 8), markersize=4, label=mode
    )
    if len(results) >= ENOUGH:
        low, high = ([point.mean + sign * point.half for point in points] for sign in (-1, 1))
        ax.fill_between(ends, low, high, color=colour, alpha=0.12, linewidth=0)


def _mean(steps: Sequence[Mapping[str, float]], name: str, end: int) -> float:
    """Of the ``WINDOW`` steps before ``end``."""
    return fmean(step[name] for step in steps[max(0, end - WINDOW) : end])


def draw_means(groups: Groups, sft: Sft, out: Path) -> Path:
    """``accuracy.svg``: held-out accuracy of each mode, with every seed and the SFT checkpoint's as a line."""
    scenes = _scenes(groups)
    size = (4 * len(EVALUATIONS), 3 * len(scenes))
    figure, axes = plt.subplots(
        len(scenes), len(EVALUATIONS), figsize=size, squeeze=False, layout="constrained", sharey=True
    )
    for row, (scene, modes) in zip(axes, scenes.items(), strict=True):
        for ax, world in zip(row, EVALUATIONS, strict=True):
            values = {mode: list(by_seed(results, world).values()) for mode, results in modes.items()}
            if not any(values.values()):
                ax.set_visible(False)
                continue
            for mode, seeds in values.items():
                _mean_and_seeds(ax, mode, seeds)
            start = sft.get(next(iter(modes.values()))[0].cell.faults, {}).get(world)
            if start is not None:
                ax.axhline(start.accuracy, color="0.5", linewidth=1, linestyle=(0, (1, 3)), label="SFT")
                ax.legend(fontsize=8)
            ax.set_xticks(range(len(MODES)), [mode.replace("_", "\n") for mode in MODES], fontsize=8)
            ax.set_xlim(-0.5, len(MODES) - 0.5)
            ax.set_title(world, fontsize=9)
        row[0].set_ylabel(f"held-out accuracy (share)\n{scene}", fontsize=8)
    return _saved(figure, out / "accuracy.svg")


def _mean_and_seeds(ax: Axes, mode: str, seeds: Sequence[float]) -> None:
    if not seeds:
        return
    colour, _, mark = STYLES[mode]
    place, mean = MODES.index(mode), interval(seeds)
    half = mean.half if len(seeds) >= ENOUGH else None
    ax.errorbar(place, mean.mean, yerr=half, color=colour, marker=mark, capsize=4)
    ax.plot([place + 0.15] * len(seeds), seeds, ".", color="0.4", markersize=4)


def _scenes(groups: Groups) -> dict[str, dict[str, Sequence[Result]]]:
    """Settings that differ in the mode alone, together, by what is not the default in them."""
    scenes: dict[str, dict[str, Sequence[Result]]] = {}
    usual = Cell().setting[3:]
    for (estimator, mode, faults, *rest), results in groups.items():
        unusual = [value for value, default in zip(rest, usual, strict=True) if value != default]
        scenes.setdefault(", ".join((estimator, f"faults {faults}", *unusual)), {})[mode] = results
    return {scene: {mode: modes[mode] for mode in MODES if mode in modes} for scene, modes in scenes.items()}


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    plt.close(figure)
    return path
