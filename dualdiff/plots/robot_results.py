"""Figures of the robot chapter: scores, what becomes of samples, overlap, a permutation test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS, MARKERS

OUTCOMES = {
    "success": ("success", "#2D6A8E", "white"),
    "out_of_reach": ("out of reach only", "#FDC77A", "black"),
    "collision": ("collision only", "#B35806", "white"),
    "both": ("collision and out of reach", "#5C2A06", "white"),
    "invalid": ("invalid", "#C9C9C9", "black"),
}
"""Label, colour and colour of the numbers on it, in the order in which bars are stacked."""
NUMBERED = 0.055
"""Shares from here on are written into their bar."""

Level = float | tuple[float, float]
"""A floor or ceiling: a number, or the two ends of its interval."""


def overlap_matrix(
    values: np.ndarray | Tensor,
    types: Sequence[str],
    frames: Sequence[str],
    *,
    label: str = "overlap with Ball's targets",
) -> Figure:
    """How much each general type's targets overlap Ball's, in every frame, with the numbers.

    Parameters
    ----------
    values : [types, frames]
        From 0 to 1.
    types, frames : sequences of str
    label : str
        What the numbers are.

    Raises
    ------
    ValueError
        If the values have another shape.
    """
    table = np.asarray(values, dtype=float)
    if table.shape != (len(types), len(frames)):
        raise ValueError(
            f"values must have shape {[len(types), len(frames)]}, not {list(table.shape)}"
        )
    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.5 * len(frames)))
    image = axes.imshow(table.T, vmin=0, vmax=1, aspect="auto")
    for (column, row), value in np.ndenumerate(table):
        # cividis goes from dark to light
        ink = "black" if value > 0.55 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, size=9)
    axes.set_xticks(range(len(types)), list(types))
    axes.set_yticks(range(len(frames)), list(frames))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("general type")
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=12)
    bar.set_label(label.replace(" with ", "\nwith "), fontsize=9)
    bar.outline.set_visible(False)
    return figure


def success_bars(
    table: pd.DataFrame,
    *,
    floor: Level | Mapping[str, Level] | None = None,
    ceiling: Level | Mapping[str, Level] | None = None,
    label: str = "success rate",
) -> Figure:
    """A score of every configuration with its interval, between a floor and a ceiling.

    Parameters
    ----------
    table : DataFrame
        Columns configuration, value, low, high; with a column ``frame`` a panel for each.
    floor, ceiling : number, (low, high), or a mapping of frames to them; optional
        Of uniform draws and of oracle draws.
    label : str
        What the values are.

    Raises
    ------
    ValueError
        If columns are missing or there are no rows.
    """
    missing = {"configuration", "value", "low", "high"} - set(table.columns)
    if missing or table.empty:
        raise ValueError(f"the table lacks {', '.join(sorted(missing)) or 'rows'}")
    frames = list(dict.fromkeys(table["frame"])) if "frame" in table else [""]
    names = list(dict.fromkeys(table["configuration"]))
    size = (8.0 if len(frames) > 1 else 6.8, 0.9 + 0.34 * (len(names) + 1))
    style: dict[str, Any] = {"sharex": True, "sharey": True, "squeeze": False}
    figure, grid = plt.subplots(1, len(frames), figsize=size, **style)
    for axes, frame in zip(grid[0], frames, strict=True):
        rows = table[table["frame"] == frame] if frame else table
        for name, level in (("uniform", floor), ("oracle", ceiling)):
            own = level.get(frame) if isinstance(level, Mapping) else level
            if own is not None:
                _level(axes, name, own)
        _intervals(axes, rows.set_index("configuration"), names)
        axes.set(xlabel=label, ylim=(len(names) + 0.25, -0.6))
        axes.set_yticks(range(len(names)), [LABELS[name] for name in names])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        if frame:
            axes.set_title(str(frame), fontsize=10)
    return figure


def _intervals(axes: Axes, rows: pd.DataFrame, names: list[str]) -> None:
    """Dots on whiskers, and their numbers at the right margin."""
    for place, name in enumerate(names):
        if name not in rows.index:
            continue
        value, low, high = rows.loc[[name], ["value", "low", "high"]].to_numpy()[0].tolist()
        axes.plot([low, high], [place, place], color=COLOURS[name], lw=2, solid_capstyle="round")
        look: dict[str, Any] = {"marker": MARKERS[name], "ms": 7, "color": COLOURS[name]}
        axes.plot(value, place, ls="", mew=1.5, **look)
        side: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "size": 8, "va": "center"}
        axes.text(1.015, place, f"{value:.3f}", color="#444444", **side)


def _level(axes: Axes, name: str, level: Level) -> None:
    """A line, or a band and its middle, with its name at the foot."""
    low, high = level if isinstance(level, tuple) else (level, level)
    middle, colour = (low + high) / 2, "#777777" if name == "uniform" else COLOURS["oracle"]
    if high > low:
        axes.axvspan(low, high, color=colour, alpha=0.18, lw=0, zorder=0)
    axes.axvline(middle, color=colour, lw=1, ls="--" if name == "uniform" else "-", zorder=0.5)
    side, text = ("left", f" {LABELS[name]}") if name == "uniform" else ("right", "oracle draw ")
    foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "va": "bottom", "size": 8}
    axes.text(middle, 0.01, text, ha=side, color=colour, **foot)


def outcomes(table: pd.DataFrame) -> Figure:
    """What became of the samples of every configuration, as shares of a bar.

    Parameters
    ----------
    table : DataFrame
        Columns configuration, success, collision, out_of_reach, both, invalid: shares that sum to
        1 (collision and out of reach without the other).

    Raises
    ------
    ValueError
        If columns are missing or shares do not sum to 1.
    """
    missing = {"configuration", *OUTCOMES} - set(table.columns)
    if missing:
        raise ValueError(f"the table lacks {', '.join(sorted(missing))}")
    if not np.allclose(table[list(OUTCOMES)].sum(axis=1), 1, atol=1e-3):
        raise ValueError("the shares of a configuration must sum to 1")
    figure, axes = plt.subplots(figsize=(7.6, 1.2 + 0.36 * len(table)))
    left = np.zeros(len(table))
    for name, (label, colour, ink) in OUTCOMES.items():
        widths = table[name].to_numpy(dtype=float)
        look: dict[str, Any] = {"color": colour, "edgecolor": "white", "linewidth": 0.8}
        axes.barh(range(len(table)), widths, left=left, height=0.74, label=label, **look)
        for place in np.flatnonzero(widths >= NUMBERED).tolist():
            text = f"{100 * widths[place]:.0f}"
            middle = left[place] + widths[place] / 2
            axes.text(middle, place, text, ha="center", va="center", color=ink, size=8)
        left += widths
    axes.set_yticks(range(len(table)), [LABELS[name] for name in table["configuration"]])
    axes.set_xticks(np.linspace(0, 1, 6), [f"{k} %" for k in range(0, 101, 20)])
    axes.set(xlim=(0, 1), xlabel="share of samples")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, handlelength=1, columnspacing=1)
    return figure


def permutation(
    null: Tensor,
    observed: float,
    *,
    p: float | None = None,
    label: str = "statistic under permutation",
    bins: int = 40,
) -> Figure:
    """The distribution of a statistic under permutation and the observed one, with its p-value.

    Parameters
    ----------
    null : Tensor [n]
    observed : float
    p : float, optional
        By default (1 + number of permutations that are at least as large) / (1 + n).
    label : str
        What the statistic is.
    bins : int

    Raises
    ------
    ValueError
        If the null has another shape.
    """
    values = null.detach().double().numpy()
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"null must have shape [n >= 1], not {list(null.shape)}")
    if p is None:
        p = float((1 + (values >= observed).sum()) / (1 + len(values)))
    figure, axes = plt.subplots(figsize=(6.8, 3.4))
    style: dict[str, Any] = {"color": "#A9B4C0", "edgecolor": "white", "linewidth": 0.5}
    axes.hist(values, bins=bins, label=f"{len(values):,} permutations", **style)
    shown = f"p = {p:.2g}" if p >= 1e-4 else f"p = {p:.1e}"
    axes.axvline(observed, color=COLOURS["truth"], lw=2, label=f"observed, {shown}")
    axes.set(xlabel=label, ylabel="permutations")
    axes.margins(x=0.06)
    figure.legend(loc="outside lower center", ncols=2)
    return figure
