"""The kinds of figures that several chapters share: panels of a tidy table.

Tables have a row per point, columns ``configuration, metric, value, low, high`` and those that tell
the panels apart, as of :func:`dualdiff.experiments.pooling.over_seeds`. Colours, markers and labels
are those of :mod:`dualdiff.pages.names`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualdiff.pages.names import CONFIGURATIONS, axis, label, style
from dualdiff.pages.numbers import select

FILLS: tuple[Any, ...] = ("none", "full", "left", "top")
"""How the values of ``beside`` are told apart by their markers, in this order."""
DASHES = ("--", "-", ":", "-.")
"""... and by their lines."""
CROSS: dict[str, Any] = {"marker": "x", "color": "black", "ls": "", "ms": 8, "mew": 1.8}
"""What is not ours, such as the thesis's numbers."""


def panels(
    table: pd.DataFrame,
    row: str | None,
    column: str | None,
    size: tuple[float, float] = (3.4, 3.0),
    **more: Any,
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel for each value of two columns, each with its rows of the table.

    Parameters
    ----------
    table : DataFrame
    row, column : str or None
        Columns of the table.
    size : two floats
        Of one panel, inches.
    more
        Of :func:`matplotlib.pyplot.subplots`.
    """
    rows, columns = ([*dict.fromkeys(table[key])] if key else [None] for key in (row, column))
    whole = (size[0] * len(columns), size[1] * len(rows) + 0.5)
    figure, grid = plt.subplots(len(rows), len(columns), figsize=whole, squeeze=False, **more)
    found = []
    for line, r in zip(grid, rows, strict=True):
        for axes, c in zip(line, columns, strict=True):
            keys = {k: v for k, v in ((row, r), (column, c)) if k}
            named = [label(v) for k, v in keys.items() if k != "metric" and v != ""]
            axes.set_title(", ".join(named), fontsize=10)
            found.append((axes, select(table, **keys)))
    return figure, found


def legend(figure: Figure, *handles: Any, columns: int = 4) -> None:
    """A legend below all panels; without handles, of everything in them that has a label."""
    named = {str(h.get_label()): h for h in handles}
    if not handles:
        for axes in figure.axes:
            named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    place: Any = "outside lower center"
    figure.legend([*named.values()], [*named], loc=place, ncols=columns, fontsize=8)


def key(names: Sequence[str], **look: Any) -> list[Line2D]:
    """Handles of configurations for a :func:`legend`, in the order of the registry."""
    known = [name for name in CONFIGURATIONS if name in set(names)]
    known += [name for name in dict.fromkeys(names) if name not in CONFIGURATIONS]
    return [Line2D([], [], label=label(n), **{"ls": "", **style(n), **look}) for n in known]


def bars(part: pd.DataFrame) -> np.ndarray:
    """Lengths of both halves of the intervals, ``[2, n]``; 0 where an interval is not known."""
    value = part["value"].to_numpy(dtype=float)
    both = np.stack([value - part["low"], part["high"] - value])
    return np.nan_to_num(np.clip(both, 0, None))


def _beside(table: pd.DataFrame, beside: str | None) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """The rows of each configuration, by the values of ``beside``, which are numbered."""
    values = [None] if beside is None else [*dict.fromkeys(table[beside])]
    for place, value in enumerate(values):
        part = table if beside is None else table[table[beside] == value]
        for name, own in part.groupby("configuration", sort=False):
            yield place, str(name), own


def _beside_key(table: pd.DataFrame, beside: str | None, **look: Any) -> list[Line2D]:
    if beside is None:
        return []
    values = [*dict.fromkeys(table[beside])]
    return [
        Line2D([], [], color="grey", label=label(value), **look, **how)
        for value, fill, dash in zip(values, FILLS, DASHES, strict=False)
        for how in [{"ls": dash} if "marker" not in look else {"ls": "", "fillstyle": fill}]
    ]


def dots(
    table: pd.DataFrame,
    column: str | None = None,
    *,
    beside: str | None = None,
    crosses: Mapping[Any, Mapping[str, float]] | None = None,
    crossed: str = "thesis (printed)",
    levels: Mapping[str, float] | None = None,
    width: float = 3.4,
) -> Figure:
    """Points with intervals: a line per configuration, a panel per metric and value of ``column``.

    Parameters
    ----------
    table : DataFrame
    column : str, optional
        A column of panels for each of its values; else one for each metric.
    beside : str, optional
        A column whose values stand one above the other in the line of a configuration.
    crosses : mapping of panels to mappings of configurations to floats, optional
        Numbers of others; a panel is a value of ``column``, or a metric, or a pair of both.
    crossed : str
        What they are.
    levels : mapping of labels to floats, optional
        Lines through all panels.
    width : float
        Of a panel, inches.
    """
    names = [*dict.fromkeys(table["configuration"])]
    several = column is not None and table["metric"].nunique() > 1
    row = "metric" if several else None
    high = 0.7 + 0.24 * len(names) * (1 if beside is None else 1.4)
    figure, found = panels(table, row, column or "metric", (width, high), sharey=True)
    for axes, part in found:
        count = 1 if beside is None else table[beside].nunique()
        for place, name, own in _beside(part, beside):
            aside = 0.36 * (place - (count - 1) / 2) / max(count - 1, 1)
            fill = FILLS[place] if beside is not None else "full"
            look: dict[str, Any] = {**style(name), "fillstyle": fill, "ms": 6, "lw": 1.4}
            axes.errorbar(own["value"], names.index(name) + aside, xerr=bars(own), **look)
        metric = part["metric"].iloc[0]
        value = part[column].iloc[0] if column else metric
        keys = [k for k in ((value, metric), value, metric) if k in (crosses or {})]
        for name, number in (crosses or {}).get(keys[0] if keys else None, {}).items():
            axes.plot(number, names.index(name), **CROSS)
        for number in (levels or {}).values():
            axes.axvline(number, color="grey", lw=1, ls=":", zorder=0)
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        axes.set(ylim=(len(names) - 0.5, -0.5), xlabel=axis(metric))
        axes.grid(axis="y", visible=False)
    more = [Line2D([], [], label=crossed, **CROSS)] if crosses else []
    more += [Line2D([], [], color="grey", ls=":", label=name) for name in levels or {}]
    if handles := [*_beside_key(table, beside, marker="o"), *more]:
        legend(figure, *handles)
    return figure


def lines(
    table: pd.DataFrame,
    x: str,
    xlabel: str = "",
    column: str | None = None,
    *,
    row: str | None = "metric",
    beside: str | None = None,
    size: tuple[float, float] = (3.6, 2.7),
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """Lines with bands over a parameter: colour by configuration, a row of panels per metric.

    Parameters
    ----------
    table : DataFrame
    x : str
        The column of the parameter, numbers.
    xlabel : str
        Its label; by default the column's.
    column, row : str, optional
        Columns whose values have panels.
    beside : str, optional
        A column whose values differ by dashes.
    size : two floats
        Of a panel, inches.

    Returns
    -------
    Figure, list of (Axes, DataFrame)
        The panels are for what a chapter adds: scales, levels.
    """
    figure, found = panels(table, row, column, size, sharex=True)
    for axes, part in found:
        for place, name, own in _beside(part, beside):
            own = own.sort_values(x)
            look: dict[str, Any] = {**style(name), "ls": DASHES[place] if beside else "-"}
            axes.plot(own[x], own["value"], lw=1.4, ms=4.5, **look)
            low, high = own["value"] - bars(own)[0], own["value"] + bars(own)[1]
            axes.fill_between(own[x], low, high, color=look["color"], alpha=0.18, lw=0)
        if not part.empty:
            axes.set_ylabel(axis(part["metric"].iloc[0]))
    for axes in figure.axes[-(table[column].nunique() if column else 1) :]:
        axes.set_xlabel(xlabel or axis(x))
    legend(figure, *key([*table["configuration"]], ls="-"), *_beside_key(table, beside))
    return figure, found


def against(
    table: pd.DataFrame,
    x: str,
    y: str,
    column: str | None = None,
    *,
    row: str | None = None,
    beside: str | None = None,
    size: tuple[float, float] = (4.6, 3.8),
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """One metric against another with both intervals: a marker per configuration.

    Parameters
    ----------
    table : DataFrame
    x, y : str
        Metrics.
    column, row : str, optional
        Columns whose values have panels.
    beside : str, optional
        A column whose values differ by the fill of the marker.
    size : two floats
        Of a panel, inches.
    """
    figure, found = panels(select(table, metric=(x, y)), row, column, size)
    for axes, part in found:
        for place, name, own in _beside(part, beside):
            a, b = (select(own, metric=metric) for metric in (x, y))
            fill = FILLS[place] if beside is not None else "full"
            look: dict[str, Any] = {**style(name), "fillstyle": fill, "ms": 7, "lw": 1, "ls": ""}
            axes.errorbar(a["value"], b["value"], xerr=bars(a), yerr=bars(b), **look)
        axes.set(xlabel=axis(x), ylabel=axis(y))
    names = [*table["configuration"]]
    legend(figure, *key(names), *_beside_key(table, beside, marker="o"))
    return figure, found


def matrix(
    tables: Mapping[str, pd.DataFrame],
    xlabel: str,
    ylabel: str,
    scale: str = "",
    *,
    limits: tuple[float, float] = (0, 1),
    digits: str = ".2f",
    size: tuple[float, float] = (4.2, 3.7),
    across: int = 9,
) -> Figure:
    """Heat maps with the numbers in their cells, one beside the other, ``across`` in a row.

    Parameters
    ----------
    tables : mapping of titles to DataFrame
        Wide: index and columns name the cells; a NaN is left blank.
    xlabel, ylabel : str
        What columns and index are.
    scale : str
        What the numbers are; with it there is a bar of colours.
    limits : two floats
        Of the colours.
    digits : str
        Format of the numbers.
    size : two floats
        Of a panel, inches.
    """
    wide = min(across, len(tables))
    high = -(-len(tables) // wide)
    whole = (size[0] * wide + bool(scale), size[1] * high)
    figure, grid = plt.subplots(high, wide, figsize=whole, squeeze=False)
    for axes in grid.flat[len(tables) :]:
        axes.set_visible(False)
    for axes, (title, table) in zip(grid.flat, tables.items(), strict=False):
        values = table.to_numpy(dtype=float)
        image = axes.imshow(values, vmin=limits[0], vmax=limits[1], aspect="auto", origin="lower")
        for (i, j), value in np.ndenumerate(values):
            if not np.isnan(value):
                # cividis goes from dark to light
                bright = (value - limits[0]) / (limits[1] - limits[0]) > 0.55
                ink: dict[str, Any] = {"color": "black" if bright else "white", "size": 8}
                axes.text(j, i, format(value, digits), ha="center", va="center", **ink)
        axes.set_xticks(range(values.shape[1]), [label(name) for name in table.columns])
        axes.set_yticks(range(values.shape[0]), [label(name) for name in table.index])
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.grid(False)
    if scale:
        figure.colorbar(image, ax=grid, label=scale, shrink=0.8)
    return figure
