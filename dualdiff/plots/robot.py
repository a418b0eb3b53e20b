"""Clouds of the robot's targets, a panel each."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dualdiff.pages.names import label, style

AXES = {
    "object": ("ox (widths of the object)", "oy (heights of the object)"),
    "world": ("x (workspace units)", "y (workspace units)"),
    "metric": ("along the width (workspace units)", "along the height (workspace units)"),
}
"""What the two coordinates of a target are, by frame."""


def cloud(axes: Axes, points: Tensor, colour: str) -> None:
    """Points ``[n, 2]``, the smaller and paler the more of them there are.

    Raises
    ------
    ValueError
        For another shape.
    """
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"points must have shape [n >= 1, 2], not {list(points.shape)}")
    n, (x, y) = len(points), points.detach().double().numpy().T
    size, alpha = (9 if n < 1000 else 4 if n < 3000 else 2.5), float(np.clip(1500 / n, 0.12, 0.7))
    axes.scatter(x, y, s=size, color=colour, linewidths=0, alpha=alpha, rasterized=True)


def clouds(
    targets: Mapping[str, Tensor], frame: str, *, colour: str = "", columns: int = 3
) -> Figure:
    """Targets ``[n, 2]`` in a frame, a panel each, on the axes that hold the first of them.

    A panel says how many of its points lie beyond the axes.

    Parameters
    ----------
    targets : mapping of names to Tensor [n, 2]
    frame : str
        Of :data:`AXES`.
    colour : str
        By default that of the configuration which a name stands for.
    columns : int
        Panels in a row.
    """
    rows = -(-len(targets) // columns)
    side = min(2.3, 8 / columns)
    size = (side * columns + 0.3, 0.92 * side * rows + 0.4)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    first = next(iter(targets.values())).double()
    low, high = first.amin(0), first.amax(0)
    low, high = low - 0.12 * (high - low), high + 0.12 * (high - low)
    for axes, (name, points) in zip(grid.flat, targets.items(), strict=False):
        cloud(axes, points, colour or style(name)["color"])
        axes.set_title(label(name), fontsize=10)
        if beyond := int(((points < low) | (points > high)).any(1).sum()):
            axes.set_title(f"{beyond:,} outside", loc="right", fontweight="normal", fontsize=8)
    x, y = zip(low.tolist(), high.tolist(), strict=True)
    axes.set(xlim=x, ylim=y)
    for axes in grid.flat[len(targets) :]:
        axes.set_visible(False)
    figure.supxlabel(AXES[frame][0], fontsize=10)
    figure.supylabel(AXES[frame][1], fontsize=10)
    return figure
