"""Figures of the chapter on adapting or composing: set sizes, epochs and forgetting, cost."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from dualdiff.adaptation import EPOCH_METHODS
from dualdiff.members import RECIPES
from dualdiff.plots import COLOURS, LABELS, MARKERS

METRIC_LABELS = {
    "accuracy": "accuracy",
    "total_variation": "total variation",
    "energy_distance": "energy distance\n(units of y)",
    "memorisation": "memorisation",
}
FILLS: dict[str, Any] = {"thesis": "none", "tuned": "full"}
OPEN = 0.02  # energy distances below it are drawn on a linear scale


def _dashes(configuration: str) -> str:
    """Joint sampling dashed, prior preservation dotted, one adapted network solid."""
    if configuration.endswith("joint"):
        return "--"
    return ":" if configuration in ("replay", "generated") else "-"


def _style(configuration: str) -> dict[str, Any]:
    return {
        "color": COLOURS[configuration],
        "marker": MARKERS[configuration],
        "ls": _dashes(configuration),
    }


def _legend(figure: Figure, names: list[str], columns: int, *more: Line2D) -> None:
    known = [name for name in LABELS if name in names]
    handles = [Line2D([], [], label=LABELS[n], ms=5, lw=1.3, **_style(n)) for n in known]
    where: Any = "outside lower center"
    figure.legend(handles=[*handles, *more], ncols=columns, loc=where, fontsize=8)


def _errors(part: pd.DataFrame) -> np.ndarray:
    """Lengths of the two halves of the intervals, ``[2, n]``; 0 where there is none."""
    value = part["value"].to_numpy()
    return np.nan_to_num(np.abs(np.stack([value - part["low"], part["high"] - value])))


def size_figure(rows: pd.DataFrame) -> Figure:
    """Four scores against the number of specialised pairs, a column per network.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`dualdiff.report_adaptation.by_size`: a line per method with its 95 % intervals.
        Dotted: the floor of total variation, memorisation of fresh draws, energy distance 0.
    """
    rows = rows[rows["target"] == "specialised"]
    networks = [name for name in RECIPES if name in set(rows["recipe"])]
    figure, grid = plt.subplots(
        len(METRIC_LABELS),
        len(networks),
        figsize=(3.3 * len(networks) + 0.6, 10),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    sizes = sorted(rows["n_specialised"].unique())
    for line, (metric, label) in zip(grid, METRIC_LABELS.items(), strict=True):
        for axes, network in zip(line, networks, strict=True):
            here = rows[rows["recipe"] == network]
            for name, part in here[here["metric"] == metric].groupby("configuration"):
                part = part.sort_values("n_specialised")
                style = {"lw": 1.3, "ms": 4.5, "elinewidth": 0.9, **_style(str(name))}
                axes.errorbar(part["n_specialised"], part["value"], yerr=_errors(part), **style)
            if metric == "total_variation":
                floor = here.loc[here["metric"] == "total_variation_floor", "value"]
                axes.axhline(float(floor.mean()), color="black", ls=":", lw=1)
            if metric == "memorisation":
                axes.axhline(0.5, color="black", ls=":", lw=1)
            if metric == "energy_distance":
                _open_scale(axes)
            else:
                axes.set_ylim(-0.03, 1.03)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_locator(FixedLocator(sizes))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.tick_params(axis="x", labelsize=8, rotation=45 if len(sizes) > 6 else 0)
        line[0].set_ylabel(label)
    for axes, network in zip(grid[0], networks, strict=True):
        axes.set_title(network)
    for axes in grid[-1]:
        axes.set_xlabel("specialised pairs n")
    _legend(figure, list(rows["configuration"].unique()), 4)
    return figure


def _open_scale(axes: Axes) -> None:
    """A logarithmic scale that holds zero: unbiased energy distances may be slightly negative."""
    axes.set_yscale("symlog", linthresh=OPEN)
    axes.axhline(0, color="black", ls=":", lw=1)
    axes.axhline(OPEN, color="#bbbbbb", lw=0.6)


def epoch_figure(rows: pd.DataFrame, bound: float, optimum: tuple[float, float]) -> Figure:
    """Forgetting against specialised quality: a path per method, marked with its epochs.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`dualdiff.report_adaptation.by_epoch`.
    bound : float
        :func:`dualdiff.adaptation.least_sum`: no model lies below the line it gives.
    optimum : two floats
        :func:`dualdiff.adaptation.mixture` at the weight of the runs, drawn as a star.
    """
    rows = rows[rows["metric"] == "total_variation"]
    networks = [name for name in RECIPES if name in set(rows["recipe"])]
    wide = 4.6 if len(networks) < 3 else 3.6
    figure, grid = plt.subplots(
        1,
        len(networks),
        figsize=(max(wide * len(networks), 6.2), wide + 1.2),
        sharey=True,
        squeeze=False,
    )
    for axes, network in zip(grid[0], networks, strict=True):
        here = rows[rows["recipe"] == network]
        wanted, lost = (here[here["target"] == law] for law in ("specialised", "general"))
        axes.fill_between([0, bound], [bound, 0], color="#eeeeee", lw=0)
        axes.text(0.06, 0.06, "no single model\ncan lie here", size=8, color="#444444")
        for name in ("general", "specialised", *EPOCH_METHODS):
            _path(axes, _of(lost, name), _of(wanted, name), name)
        # Joint sampling keeps the general network: what it forgets is that network's own error.
        kept, reached = _of(lost, "general"), _of(wanted, "joint")
        _path(axes, kept, reached, "joint")
        place = (kept["value"].iloc[0], reached["value"].iloc[0])
        axes.annotate("two networks", place, (8, 5), textcoords="offset points", size=7)
        axes.plot(*optimum[::-1], marker="*", color="black", ms=11, ls="")
        axes.set(xlim=(0, 1.0), ylim=(0, 1.03), title=network)
        axes.set_xlabel("forgetting: TV to the general law")
    grid[0, 0].set_ylabel("TV to the specialised law")
    star = Line2D([], [], ls="", marker="*", ms=10, color="black", label="optimum of the objective")
    names = ["general", "specialised", "joint", *EPOCH_METHODS]
    _legend(figure, names, 4 if len(networks) > 1 else 3, star)
    return figure


def _of(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of one configuration in the order of epochs."""
    return rows[rows["configuration"] == name].set_index("finetune_epochs").sort_index()


def _path(axes: Axes, lost: pd.DataFrame, wanted: pd.DataFrame, name: str) -> None:
    """The scores of one method joined in the order of epochs, first and last epoch written."""
    x, y = lost["value"].to_numpy(), wanted["value"].to_numpy()
    axes.errorbar(
        x, y, xerr=_errors(lost), yerr=_errors(wanted), ms=6, elinewidth=0.8, **_style(name)
    )
    if len(x) > 1:
        for i in (0, -1):
            text = f"{wanted.index[i]:,}"
            axes.annotate(text, (x[i], y[i]), (5, 5), textcoords="offset points", size=7)


def cost_figure(rows: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Seconds to adapt and numbers kept for the home against total variation.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`dualdiff.report_adaptation.by_size`, at one number of specialised pairs.
    costs : DataFrame
        Of :func:`dualdiff.adaptation.cost`.
    """
    rows = rows[(rows["target"] == "specialised") & (rows["metric"] == "total_variation")]
    table = rows.merge(costs, on=["recipe", "configuration"])
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.8), sharey=True)
    for _, row in table.iterrows():
        style = {**_style(row["configuration"]), "ls": "", "fillstyle": FILLS[row["recipe"]]}
        error = _errors(pd.DataFrame([row]))
        for panel, column in zip(axes, ("seconds", "stored"), strict=True):
            panel.errorbar(row[column], row["value"], yerr=error, ms=8, elinewidth=0.9, **style)
    axes[0].set_xlabel("seconds to adapt (training after the general model)")
    axes[1].set_xlabel("numbers stored beside the general model")
    for panel in axes:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
        panel.set_ylim(0, 1.03)
    axes[0].set_ylabel("TV to the specialised law")
    fills = [
        Line2D([], [], ls="", marker="o", color="grey", fillstyle=fill, label=name)
        for name, fill in FILLS.items()
        if name in set(table["recipe"])
    ]
    _legend(figure, list(table["configuration"].unique()), 4, *fills)
    return figure
