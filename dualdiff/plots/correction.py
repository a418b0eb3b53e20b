"""Figures of the chapter on correctors: profiles, cost, groups, chain lengths, learned members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dualdiff.methods import METHODS
from dualdiff.plots import COLOURS
from dualdiff.regions import Box
from dualdiff.scenes import SCENES

FAMILIES = {
    "sum": ("plain sum", COLOURS["joint"], "D"),
    "narrow": ("plain sum", COLOURS["joint"], "d"),
    "smc": ("reweighting", COLOURS["general"], "o"),
    "rne": ("reweighting", COLOURS["general"], "s"),
    "ula": ("Markov moves", COLOURS["specialised"], "v"),
    "mala": ("Markov moves", COLOURS["specialised"], "^"),
    "hmc": ("Markov moves", COLOURS["specialised"], "<"),
    "smc_mala": ("both", COLOURS["finetuned_joint"], "P"),
    "amdm": ("states", COLOURS["generated"], "X"),
    "superdiff_and": ("states", COLOURS["generated"], "h"),
    "superdiff_or": ("states", COLOURS["generated"], "*"),
}
"""Family, colour and marker of every method: the same on every page."""
OTHER_MARKS = ("p", "8", ">", "H", "X", "D", "o")


def look(method: str) -> tuple[str, str, str]:
    """Family, colour and marker of a method; one that is not in :data:`FAMILIES` is an "other"."""
    others = [name for name in METHODS if name not in FAMILIES]
    if method in others:
        mark = OTHER_MARKS[others.index(method) % len(OTHER_MARKS)]
        return ("other", COLOURS["truth"], mark)
    return FAMILIES[method]


def values(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of one metric."""
    return table[table["metric"] == metric]


def errorbar(axes: Axes, x: float, row: pd.Series, **style: Any) -> None:
    """A point with its interval, if it has one."""
    low, high = row["value"] - row["low"], row["high"] - row["value"]
    bars = None if np.isnan(low) else np.array([[max(low, 0)], [max(high, 0)]])
    axes.errorbar([x], [row["value"]], yerr=bars, ls="none", **style)


def log_axis(axes: Axes, ticks: Iterable[float]) -> None:
    """A logarithmic axis across with plain numbers at the ticks."""
    places = sorted({float(tick) for tick in ticks})
    axes.set_xscale("log")
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()


def profile_figure(
    clouds: Mapping[str, Mapping[str, Tensor]], targets: Mapping[str, Box]
) -> Figure:
    """Density along x of samples of several methods, against the flat truth.

    ``clouds`` by scene and method: offsets ``[n, dy]``.
    """
    figure, grid = plt.subplots(1, len(clouds), figsize=(9.5, 3.4), squeeze=False)
    for axes, (scene, by_method) in zip(grid[0], clouds.items(), strict=True):
        low, high = targets[scene].low[0], targets[scene].high[0]
        edges = np.linspace(low, high, 26)
        level = 1 / (high - low)
        axes.plot([low, low, high, high], [0, level, level, 0], color=COLOURS["truth"], lw=2)
        for method, y in by_method.items():
            density, _ = np.histogram(y[:, 0].numpy(), edges, density=True)
            axes.stairs(density, edges, color=look(method)[1], label=METHODS[method].title)
        axes.set(title=SCENES[scene]().title, xlabel="x of $y - c$ (units of y)", ylim=(0, None))
    grid[0, 0].set_ylabel("density (1 / units of y)")
    grid[0, 0].plot([], [], color=COLOURS["truth"], lw=2, label="true product")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside lower center")
    return figure


def cost_figure(table: pd.DataFrame) -> Figure:
    """Total variation against network calls per sample, a panel per scene, a marker per method."""
    scenes = list(dict.fromkeys(table["scene"]))
    figure, grid = plt.subplots(1, len(scenes), figsize=(10.5, 3.9), squeeze=False, sharey=True)
    for axes, scene in zip(grid[0], scenes, strict=True):
        part = table[table["scene"] == scene]
        calls = values(part, "calls").set_index("name")["value"]
        rows = values(part, "total_variation").set_index("name")
        floor = values(part, "total_variation_floor")["value"].min()
        axes.axhline(floor, color=COLOURS["truth"], ls=":", lw=1, label="perfect sampler")
        known = [name for name in FAMILIES if name in rows.index]
        for name in dict.fromkeys([*known, *rows.index]):
            _, colour, marker = look(name)
            style = {"color": colour, "marker": marker, "label": METHODS[name].title}
            errorbar(axes, float(calls[name]), rows[rows.index == name].iloc[0], **style)
        log_axis(axes, (100, 200, 500, 1000, 2000))
        axes.set(xlabel="network calls per sample", title=SCENES[scene]().title)
        axes.set_ylim(0, None)
    grid[0, 0].set_ylabel("total variation")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside lower center")
    return figure


def groups_figure(table: pd.DataFrame) -> Figure:
    """Total variation, share of different samples and effective size against the group size."""
    figure, grid = plt.subplots(1, 3, figsize=(10.5, 3.2))
    names = {
        "total_variation": "total variation",
        "unique": "share of different samples",
        "effective": "effective share before each step",
    }
    for axes, (metric, label) in zip(grid, names.items(), strict=True):
        rows = values(table, metric).sort_values("group")
        style = {"color": FAMILIES["smc"][1], "marker": "o"}
        axes.plot(rows["group"], rows["value"], color=FAMILIES["smc"][1], lw=1)
        for _, row in rows.iterrows():
            errorbar(axes, row["group"], row, **style)
        log_axis(axes, rows["group"])
        axes.set(xlabel="particles per group, K", ylabel=label, ylim=(0, None))
    floor = values(table, "total_variation_floor")["value"].min()
    grid[0].axhline(floor, color=COLOURS["truth"], ls=":", lw=1)
    for axes in grid[1:]:
        axes.set_ylim(0, 1)
    return figure


def steps_figure(table: pd.DataFrame) -> Figure:
    """Total variation against network calls as chains get longer."""
    figure, axes = plt.subplots(figsize=(5.6, 3.6))
    colours = {"plain sum": "sum", "SMC": "smc", "HMC": "hmc"}
    for method, name in colours.items():
        part = table[table["method"] == method]
        calls = values(part, "calls").sort_values("steps")["value"].to_numpy()
        rows = values(part, "total_variation").sort_values("steps")
        _, colour, marker = look(name)
        axes.plot(calls, rows["value"], color=colour, lw=1)
        for x, (_, row) in zip(calls, rows.iterrows(), strict=True):
            errorbar(axes, float(x), row, color=colour, marker=marker)
        axes.plot([], [], color=colour, marker=marker, label=method)
    floor = values(table, "total_variation_floor")["value"].min()
    axes.axhline(floor, color=COLOURS["truth"], ls=":", lw=1, label="perfect sampler")
    log_axis(axes, (100, 200, 400, 800, 1400))
    axes.set(xlabel="network calls per sample", ylabel="total variation")
    axes.set_ylim(0, None)
    axes.legend()
    return figure


def learned_figure(pooled: pd.DataFrame) -> Figure:
    """Accuracy against total variation of the methods, a panel per scenario and recipe.

    ``pooled`` over seeds: columns ``scenario, recipe, configuration, metric, value, low, high``.
    """
    scenarios, recipes = (list(dict.fromkeys(pooled[k])) for k in ("scenario", "recipe"))
    methods = list(dict.fromkeys(pooled["configuration"]))
    figure, grid = plt.subplots(
        len(scenarios),
        len(recipes),
        figsize=(3.4 * len(recipes), 3.1 * len(scenarios)),
        squeeze=False,
    )
    for row, scenario in zip(grid, scenarios, strict=True):
        for axes, recipe in zip(row, recipes, strict=True):
            chosen = (pooled["scenario"] == scenario) & (pooled["recipe"] == recipe)
            part = pooled[chosen & (pooled["target"] == "specialised")]
            wide = part.set_index(["configuration", "metric"])["value"]
            for name in methods:
                _, colour, marker = look(name)
                x, y = (wide.get((name, m), np.nan) for m in ("total_variation", "accuracy"))
                axes.plot([x], [y], color=colour, marker=marker, ls="none")
            axes.set(title=f"{scenario.replace('_', ' ')}, {recipe}")
            axes.set(xlabel="total variation", ylabel="accuracy")
    for name in methods:
        _, colour, marker = look(name)
        grid[0, 0].plot([], [], color=colour, marker=marker, ls="none", label=METHODS[name].title)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, loc="outside lower center")
    return figure
