"""Samples over two discs, from above."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from dualdiff.experiments.scenarios import Scenario
from dualdiff.pages.names import style
from dualdiff.plots import facets
from dualdiff.plots.regions import outline

SUPPORTS = {"general": "--", "specialised": "-"}


def cloud_figure(
    clouds: Mapping[str, Mapping[str, Tensor]], worlds: Mapping[str, Scenario]
) -> Figure:
    """Samples from above, relative to the condition: a column per setting, a row per members.

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
        figsize=(max(0.19 * sum(spans) + 0.6, 4), 1.8 * len(clouds) + 0.5),
        sharex="col",
        sharey=True,
        squeeze=False,
        width_ratios=spans,
    )
    joint = style("joint")["color"]
    for row, (title, by_setting) in enumerate(clouds.items()):
        line = grid[row]
        for axes, far, (setting, world) in zip(line, reach, worlds.items(), strict=True):
            xy = by_setting[setting].numpy()
            axes.scatter(xy[:, 0], xy[:, 1], s=4, alpha=0.5, color=joint, linewidths=0)
            for name, dash in SUPPORTS.items():
                look = {"edgecolor": style(name)["color"], "linestyle": dash}
                outline(axes, getattr(world, name), (0.0, 0.0, 0.0), "plan", **look)
            axes.set(xlim=(-4.2, far), ylim=(-4.2, 4.2), aspect="equal")
            if row == 0:
                axes.set_title(f"{setting} apart", fontsize=9)
            if row == len(clouds) - 1:
                axes.set_xlabel("x (units of y)", fontsize=8)
        line[0].set_ylabel(f"{title}\ny (units of y)", fontsize=8)
    handles = [
        Line2D([], [], ls=dash, color=style(name)["color"], label=f"{name} support")
        for name, dash in SUPPORTS.items()
    ]
    dot = Line2D([], [], ls="", marker="o", ms=4, color=joint, label="joint samples")
    facets.legend(figure, *handles, dot)
    return figure
