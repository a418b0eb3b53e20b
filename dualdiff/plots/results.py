"""Figures of the results chapter; all read tables of :func:`dualdiff.report_results.with_error`."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualdiff.overlap import SETTINGS
from dualdiff.plots import COLOURS, LABELS, MARKERS
from dualdiff.report import TITLES
from dualdiff.report_assumptions import sensitivity
from dualdiff.report_results import READINGS, items, overlap_rows
from dualdiff.study import CONFIGURATIONS
from dualdiff.thesis import overlap_table, thesis_table

SCENARIOS = ("cabinet", "round_table")
FILL: dict[str, Any] = {"thesis": "none", "tuned": "full"}
CROSS: dict[str, Any] = {"marker": "x", "color": "black", "ls": "", "ms": 8, "mew": 1.8}


def _not_run(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not run yet", ha="center", va="center", transform=axes.transAxes)
    axes.set(xticks=[], yticks=[])


def _point(axes: Axes, row: Any, place: float, **style: Any) -> None:
    """A score with its interval."""
    # An interval that is not known (one seed without an error) is left out, the point stays.
    bars = np.nan_to_num([[row["value"] - row["low"]], [row["high"] - row["value"]]])
    style = {"ls": "", "capsize": 2, "lw": 1.3, **style}
    axes.errorbar(place, row["value"], yerr=np.maximum(bars, 0), **style)


def intervals_figure(pooled: pd.DataFrame) -> Figure:
    """Both scores of the thesis (rows) in both scenarios (columns): printed and ours.

    Black crosses are the thesis's numbers; open markers recipe ``thesis``, filled ``tuned``.
    """
    figure, grid = plt.subplots(2, 2, figsize=(9.5, 6), squeeze=False)
    for row_of_axes, metric in zip(grid, ("accuracy", "miss_distance"), strict=True):
        for axes, scenario in zip(row_of_axes, SCENARIOS, strict=True):
            rows = pooled[(pooled["scenario"] == scenario) & (pooled["metric"] == metric)]
            axes.set_title(f"{scenario.replace('_', ' ')}: {TITLES[metric]}", fontsize=10)
            if rows.empty:
                _not_run(axes)
                continue
            for place, name in enumerate(CONFIGURATIONS):
                axes.plot(place, thesis_table(scenario)[metric][name], **CROSS)
                for _, row in items(rows[rows["configuration"] == name]):
                    look = {"color": COLOURS[name], "marker": MARKERS[name]}
                    aside = place + (0.2 if row["recipe"] == "tuned" else -0.2)
                    _point(axes, row, aside, fillstyle=FILL[row["recipe"]], **look)
            axes.set_xticks(range(len(CONFIGURATIONS)), [LABELS[n] for n in CONFIGURATIONS])
            axes.tick_params(axis="x", rotation=20, labelsize=8)
            axes.margins(y=0.12)
            axes.set_ylim(bottom=0)
    handles: list[Line2D] = [Line2D([], [], label="thesis (printed)", **CROSS)]
    for recipe, fill in FILL.items():
        style: dict[str, Any] = {"ls": "", "marker": "o", "color": "grey", "fillstyle": fill}
        handles.append(Line2D([], [], label=f"ours, recipe {recipe}", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def spread_figure(pooled: pd.DataFrame) -> Figure:
    """Standard deviation over seeds against the standard error over conditions of one seed.

    Parameters
    ----------
    pooled : DataFrame
        Of any scenarios and recipes; accuracy is drawn.
    """
    figure, axes = plt.subplots(figsize=(6.5, 4.5))
    rows = pooled[pooled["metric"] == "accuracy"] if len(pooled) else pooled
    rows = rows[(rows["spread"] > 0) & (rows["error"] > 0)] if len(rows) else rows
    if rows.empty:
        _not_run(axes)
        return figure
    for _, row in items(rows):
        axes.plot(
            row["error"],
            row["spread"],
            marker=MARKERS[row["configuration"]],
            color=COLOURS[row["configuration"]],
            fillstyle=FILL.get(row["recipe"], "full"),
            ls="",
            ms=7,
        )
    ends = np.array([rows["error"].min() / 2, rows["error"].max() * 2])
    for factor in (1, 10, 100):
        axes.plot(ends, factor * ends, color="grey", lw=0.8, ls="-" if factor == 1 else ":")
        axes.text(ends[1], factor * ends[1], f" × {factor}", size=8, va="center")
    axes.set(xscale="log", yscale="log", xlim=ends)
    axes.set(xlabel="standard error over test conditions, one seed")
    axes.set(ylabel="standard deviation over training seeds")
    names = [n for n in CONFIGURATIONS if n in set(rows["configuration"])]
    handles = [
        Line2D([], [], ls="", marker=MARKERS[n], color=COLOURS[n], label=LABELS[n]) for n in names
    ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.08, 0.5))
    return figure


def overlap_figure(pooled: pd.DataFrame) -> Figure:
    """Table 4.5: accuracy by setting, one panel per configuration, for both targets."""
    names = ("general", "specialised", "joint")
    figure, grid = plt.subplots(1, 3, figsize=(10, 4), squeeze=False, sharey=True)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(LABELS[name], fontsize=10)
        if pooled.empty:
            _not_run(axes)
            continue
        for aside, target in zip((-0.15, 0.15), READINGS, strict=True):
            rows = overlap_rows(pooled, "accuracy", target)
            for place, setting in enumerate(SETTINGS):
                look = {"color": COLOURS[name], "marker": MARKERS[name]}
                fill = "full" if target == "specialised" else "none"
                _point(axes, rows.loc[(setting, name)], place + aside, fillstyle=fill, **look)
        printed = overlap_table()["accuracy"]
        axes.plot(range(len(SETTINGS)), [printed[setting, name] for setting in SETTINGS], **CROSS)
        axes.set_xticks(range(len(SETTINGS)), list(SETTINGS))
        plt.setp(axes.get_xticklabels(), rotation=40, ha="right", size=8)
    grid[0][0].set(ylabel="accuracy", ylim=(0, None))
    handles = [Line2D([], [], label="thesis (printed)", **CROSS)]
    for reading, fill in zip(READINGS.values(), ("full", "none"), strict=True):
        style: dict[str, Any] = {"ls": "", "marker": "o", "color": "grey", "fillstyle": fill}
        handles.append(Line2D([], [], label=f"ours, {reading}", **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def sensitivity_figure(pooled: pd.DataFrame, metric: str = "accuracy") -> Figure:
    """Every changed assumption against the unchanged recipe, by scenario and configuration.

    Points are means over seeds, filled where they differ clearly from the unchanged recipe; the
    band is the unchanged recipe and one standard deviation over seeds, the black cross the thesis.
    """
    figure, grid = plt.subplots(2, 5, figsize=(11, 6), squeeze=False, sharey=True)
    for line, scenario in zip(grid, SCENARIOS, strict=True):
        here = pooled[pooled["scenario"] == scenario] if len(pooled) else pooled
        for axes, name in zip(line, CONFIGURATIONS, strict=True):
            if here.empty:
                _not_run(axes)
                continue
            moved = sensitivity(here, scenario, metric).xs(name, level="configuration")
            rows = here[(here["metric"] == metric) & (here["configuration"] == name)]
            base, spread = moved["value"]["thesis"], moved["spread"]["thesis"]
            axes.axvspan(base - spread, base + spread, color="grey", alpha=0.25, lw=0)
            for place, (_, row) in enumerate(items(rows)):
                fill: Any = "full" if moved["moves"][row["recipe"]] else "none"
                style = {"color": COLOURS[name], "marker": MARKERS[name], "fillstyle": fill}
                axes.plot(row["value"], place, ls="", ms=7, **style)
            axes.plot(moved["thesis"].iloc[0], 0, **CROSS)
            labels = ["unchanged" if r == "thesis" else r for r in rows["recipe"]]
            axes.set_yticks(range(len(labels)), labels)
            axes.margins(x=0.15)
            axes.locator_params(axis="x", nbins=4)
            axes.tick_params(labelsize=8)
            axes.set_title(f"{scenario.replace('_', ' ')}, {LABELS[name]}", fontsize=8)

    grid[0][0].invert_yaxis()  # which all panels share: the unchanged recipe comes first
    figure.supxlabel(TITLES[metric], fontsize=9)
    return figure
