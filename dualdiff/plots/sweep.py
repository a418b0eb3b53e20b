"""Small multiples of any sweep: a panel per metric, along one parameter."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualdiff.pages.names import axis as axis_label
from dualdiff.readings.sweep import axis_of, names_of

PANELS, LINES = 12, 8
"""What a figure shows at most; its table has the rest."""


def small_multiples(pooled: pd.DataFrame) -> Figure:
    """A panel for each metric: mean and interval along a parameter, a line for each other setting.

    Parameters
    ----------
    pooled : DataFrame
        Rows of :func:`dualdiff.readings.sweep.means`.
    """
    axis = axis_of(pooled)
    others = [name for name in names_of(pooled) if name != axis]
    rows = pooled if "metric" in pooled else pooled.assign(metric="value")
    metrics = list(dict.fromkeys(rows["metric"]))[:PANELS]
    columns = min(3, len(metrics))
    count = math.ceil(len(metrics) / columns)
    figure, grid = plt.subplots(
        count, columns, figsize=(3.6 * columns + 0.6, 2.6 * count + 0.4), squeeze=False
    )
    for panel in grid.flat[len(metrics) :]:
        panel.remove()
    for panel, metric in zip(grid.flat, metrics, strict=False):
        part = rows[rows["metric"] == metric]
        groups = part.groupby(others, sort=False) if others else [("", part)]
        for key, line in list(groups)[:LINES]:
            label = ", ".join(map(str, key if isinstance(key, tuple) else (key,)))
            _line(panel, line, axis, label)
        panel.set_ylabel(axis_label(str(metric)), fontsize=9)
        panel.set_xlabel(axis or "")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if others:
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _line(panel: Axes, line: pd.DataFrame, axis: str | None, label: str) -> None:
    numeric = axis is not None and pd.api.types.is_numeric_dtype(line[axis])
    line = line.sort_values(axis) if axis and numeric else line
    x = line[axis] if axis else pd.Series([""] * len(line), index=line.index)
    value = line["value"].to_numpy(dtype=float)
    ends = np.stack([value - line["low"], line["high"] - value])
    error = np.nan_to_num(np.clip(ends, 0, None))  # no interval, no bar
    where = x.to_numpy() if numeric else x.astype(str).to_numpy()
    style = "o-" if numeric else "o"
    panel.errorbar(where, value, yerr=error, fmt=style, ms=4, lw=1.2, elinewidth=0.9, label=label)
