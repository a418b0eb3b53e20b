"""Figures of the overlap chapter: where samples go, the sweep, the diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from dualdiff.overlap import (
    DIAGNOSTICS,
    GENERAL_RADIUS,
    RADIUS,
    overlap_fraction,
    rank_correlations,
    with_distance,
)
from dualdiff.plots import COLOURS, LABELS, MARKERS
from dualdiff.plots.synthetic import outline
from dualdiff.pooling import over_seeds
from dualdiff.scenarios import Scenario

LINES: dict[str, dict[str, Any]] = {
    "exact": {"ls": "-", "marker": ""},
    "thesis": {"ls": "--", "marker": "o", "fillstyle": "none"},
    "tuned": {"ls": ":", "marker": "o"},
}
METRIC_LABELS = {
    "accuracy": "accuracy (own disc)",
    "total_variation": "total variation to the own law",
    "energy_distance": "energy distance to the own law (units of y)",
    "intersection": "accuracy (intersection)",
}
DIAGNOSTIC_LABELS = {
    "energy_score_gain": "energy score gain (units of y)",
    "effective_share": "effective sample size (share of 50)",
    "log_weight": "mean Feynman-Kac log weight",
    "disagreement": "disagreement of predictions",
}
BENEFIT_LABELS = {
    "energy_distance_gain": "gain in energy\ndistance (units of y)",
    "accuracy_gain": "gain in accuracy",
}


def cloud_figure(
    clouds: Mapping[str, Mapping[str, Tensor]], worlds: Mapping[str, Scenario]
) -> Figure:
    """Samples from above, relative to the condition: a column per setting, a row per rule or model.

    Parameters
    ----------
    clouds : mapping of row titles to mappings of settings to Tensor [k, 3]
        Offsets ``y - c`` in original units.
    worlds : mapping of settings to Scenario
        The supports drawn: general dashed, specialised solid.
    """
    reach = [max(world.specialised.middle[0] + 1.6, 4.2) for world in worlds.values()]
    spans = [4.2 + far for far in reach]
    figure, grid = plt.subplots(
        len(clouds),
        len(worlds),
        figsize=(0.19 * sum(spans) + 0.6, 1.75 * len(clouds) + 0.3),
        sharex="col",
        sharey=True,
        squeeze=False,
        width_ratios=spans,
    )
    for row, (title, by_setting) in enumerate(clouds.items()):
        for column, (setting, world) in enumerate(worlds.items()):
            axes = grid[row, column]
            xy = by_setting[setting].numpy()
            axes.scatter(xy[:, 0], xy[:, 1], s=2, alpha=0.4, color=COLOURS["joint"], linewidths=0)
            for region, style in ((world.general, "--"), (world.specialised, "-")):
                outline(axes, region, (0.0, 0.0, 0.0), "plan", edgecolor="black", linestyle=style)
            axes.set(xlim=(-4.2, reach[column]), ylim=(-4.2, 4.2), aspect="equal")
            if row == 0:
                axes.set_title(setting, fontsize=8)
            if row == len(clouds) - 1:
                axes.set_xlabel("x (units of y)", fontsize=8)
        grid[row, 0].set_ylabel(f"{title}\ny", fontsize=8)
    return figure


def sweep_figure(table: pd.DataFrame) -> Figure:
    """Joint and specialised over the distance of the centres, exact members and networks.

    Parameters
    ----------
    table : DataFrame
        Rows of :func:`dualdiff.overlap.sweep_trials`; intervals over seeds, or over conditions
        where there is one seed.
    """
    means = over_seeds(with_distance(table))
    figure, grid = plt.subplots(2, 2, figsize=(9.5, 6.6), sharex=True)
    for axes, (metric, label) in zip(grid.flat, METRIC_LABELS.items(), strict=True):
        target = metric if metric == "intersection" else "specialised"
        name = "accuracy" if metric == "intersection" else metric
        rows = means[(means["metric"] == name) & (means["target"] == target)]
        for (configuration, recipe), part in rows.groupby(["configuration", "recipe"]):
            _curve(axes, part, str(configuration), str(recipe))
        for distance in (GENERAL_RADIUS - RADIUS, GENERAL_RADIUS + RADIUS):
            axes.axvline(distance, color="grey", lw=0.8)
        axes.set_ylabel(label)
        if metric == "energy_distance":
            axes.set_yscale("symlog", linthresh=0.1)
            axes.set_ylim(bottom=-0.03)
        else:
            axes.set_ylim(-0.03, 1.03)
    for axes in grid[1]:
        axes.set_xlabel("distance of the centres (units of y)")
        axes.set_xlim(-0.2, 7.4)
    for axes in grid[0]:
        _overlap_axis(axes)
    handles = [
        Line2D([], [], color=COLOURS[c], label=LABELS[c], lw=2) for c in ("joint", "specialised")
    ]
    handles += [
        Line2D([], [], color="grey", label="exact members" if r == "exact" else f"recipe {r}", **s)
        for r, s in LINES.items()
    ]
    figure.legend(handles=handles, ncols=5, loc="outside lower center", fontsize=8)
    return figure


def _curve(axes: Axes, part: pd.DataFrame, configuration: str, recipe: str) -> None:
    part = part.sort_values("distance")
    value = part["value"].to_numpy()
    error = np.abs(np.stack([value - part["low"], part["high"] - value]))
    axes.errorbar(
        part["distance"],
        value,
        yerr=error,
        color=COLOURS[configuration],
        lw=1.3,
        ms=4,
        elinewidth=0.9,
        **LINES[recipe],
    )


def _overlap_axis(axes: Axes) -> None:
    """A second axis on top: the fraction of overlap, where it changes."""
    fractions = (1.0, 0.75, 0.5, 0.25, 0.0)
    ticks = np.linspace(GENERAL_RADIUS - RADIUS, GENERAL_RADIUS + RADIUS, 400)
    values = np.array([overlap_fraction(d) for d in ticks])
    top = axes.secondary_xaxis("top")
    top.set_xticks([float(np.interp(-f, -values, ticks)) for f in fractions])
    top.set_xticklabels([f"{f:g}" for f in fractions], fontsize=7)
    top.set_xlabel("overlap fraction", fontsize=8)


def diagnostic_figure(gains: pd.DataFrame) -> Figure:
    """Every diagnostic against both true benefits of joint sampling, a point per setting.

    Parameters
    ----------
    gains : DataFrame
        Rows of :func:`dualdiff.overlap.benefits`.
    """
    table = rank_correlations(gains).query("recipe == 'all'")
    correlations = table.set_index(["benefit", "diagnostic"])["correlation"]
    figure, grid = plt.subplots(2, 4, figsize=(12.5, 5.8), sharey="row", sharex="col")
    for row, benefit in zip(grid, BENEFIT_LABELS, strict=True):
        for axes, name in zip(row, DIAGNOSTICS, strict=True):
            for recipe, part in gains.groupby("recipe"):
                axes.scatter(
                    part[name],
                    part[benefit],
                    c=part["overlap"],
                    cmap="cividis",
                    vmin=0,
                    vmax=1,
                    marker=MARKERS["joint"] if recipe == "tuned" else MARKERS["general"],
                    edgecolors="black",
                    linewidths=0.6,
                    s=30,
                )
            axes.set_title(f"rank correlation {correlations[benefit, name]:.2f}", fontsize=9)
            axes.axhline(0, color="grey", lw=0.8)
        row[0].axvline(0, color="grey", lw=0.8)
        row[0].set_ylabel(BENEFIT_LABELS[benefit])
    grid[0, 0].set_yscale("symlog", linthresh=0.1)
    for axes, name in zip(grid[1], DIAGNOSTICS, strict=True):
        axes.set_xlabel(DIAGNOSTIC_LABELS[name])
    grid[1, 0].set_xscale("symlog", linthresh=0.1)
    grid[1, 0].set_xticks([-10, -1, -0.1, 0, 0.1, 1, 10])
    grid[1, 0].tick_params(axis="x", labelsize=7)
    grid[1, 2].set_xscale("symlog", linthresh=10)
    grid[1, 3].set_xscale("log")
    grid[1, 3].invert_xaxis()
    handles = [
        Line2D([], [], ls="", marker=MARKERS[m], color="grey", label=f"recipe {r}")
        for r, m in (("thesis", "general"), ("tuned", "joint"))
    ]
    figure.legend(handles=handles, ncols=2, loc="outside lower center", fontsize=8)
    mappable = ScalarMappable(Normalize(0, 1), "cividis")
    figure.colorbar(mappable, ax=grid, label="overlap fraction", shrink=0.7)
    return figure
