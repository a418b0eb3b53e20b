"""Figures of the chapter on composition rules: scenes, densities, places, cost, guidance."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from dualdiff.compose import RULES
from dualdiff.plots import COLOURS, LABELS
from dualdiff.plots.synthetic import outline
from dualdiff.regions import Box
from dualdiff.scenes import Boxes, Plane, Scene

BESIDE = {"truth": "perfect sampler", "own": "a rule of your own"}
PRODUCT = COLOURS["joint"]
MARKS = ("o", "^", "s", "D", "v", "P", "X")
FRAME = (1.7, 1.3)  # half width and height of the panels of a plane scene
ORIGIN = (0.0, 0.0, 0.0)


def title(name: str) -> str:
    """How a rule, or what stands beside the rules, is called in figures and tables."""
    return BESIDE[name] if name in BESIDE else RULES[name].title


def scene_figure(scenes: Mapping[str, Scene]) -> Figure:
    """Both members of every scene from above, and their product.

    Outlines are the edges of supports, or, in a scene of Gaussian mixtures, the density at half of
    its peak.
    """
    figure, grid = plt.subplots(1, len(scenes), figsize=(9.5, 3.4), squeeze=False)
    for axes, scene in zip(grid[0], scenes.values(), strict=True):
        if isinstance(scene, Boxes):
            assert isinstance(scene.target, Box)
            for region, name, style in (
                (scene.world.general, "general", "--"),
                (scene.world.specialised, "specialised", "-"),
            ):
                outline(axes, region, ORIGIN, "plan", edgecolor=COLOURS[name], linestyle=style)
            fill = {"facecolor": PRODUCT, "alpha": 0.35, "edgecolor": "none", "fill": True}
            outline(axes, scene.target, ORIGIN, "plan", **fill)
            axes.set(xlim=(-1.4, 2.4), ylim=(-1.5, 1.5))
        elif isinstance(scene, Plane):
            line = scene.grid[:, 0, 0].numpy()
            target = scene.target.numpy().T
            axes.contourf(line, line, target, [target.max() / 2, np.inf], colors=PRODUCT, alpha=0.4)
            for member, name, style in (
                (scene.general, "general", "--"),
                (scene.specialised, "specialised", "-"),
            ):
                density = scene.log_clean(member).exp().numpy().T
                half = [density.max() / 2]
                axes.contour(line, line, density, half, colors=COLOURS[name], linestyles=style)
            axes.set(xlim=(-1.9, 1.9), ylim=(-1.5, 1.5))
        axes.set(aspect="equal", title=scene.title, xlabel="x of $y - c$ (units of y)")
        axes.set_xticks(range(-1, 3 if isinstance(scene, Boxes) else 2))
    grid[0, 0].set_ylabel("y of $y - c$ (units of y)")
    handles: list[Any] = [
        Line2D([], [], color=COLOURS[name], ls=style, label=LABELS[name])
        for name, style in (("general", "--"), ("specialised", "-"))
    ]
    handles.append(Patch(color=PRODUCT, alpha=0.4, label="product"))
    figure.legend(handles=handles, ncols=3, loc="outside lower center")
    return figure


def density_figure(
    scene: Plane, clouds: Mapping[str, Tensor], aims: Mapping[str, Tensor | None], columns: int = 5
) -> Figure:
    """What each rule aims at above what it samples, on the same cells and the same scale.

    Parameters
    ----------
    scene : Plane
    clouds : mapping of names to Tensor [n, 2]
        Samples as offsets from the condition; a name is a rule, ``truth`` or ``own``.
    aims : mapping of the same names to Tensor [side, side] or None
        The density aimed at on the scene's grid; None where there is none.
    columns : int
        Pairs of panels in a row.
    """
    bands = -(-len(clouds) // columns)
    figure, grid = plt.subplots(
        2 * bands,
        columns,
        figsize=(1.8 * columns + 0.4, 3.7 * bands),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for i, (name, cloud) in enumerate(clouds.items()):
        band, column = divmod(i, columns)
        above, below = grid[2 * band, column], grid[2 * band + 1, column]
        aim = aims[name]
        share = scene.histogram(cloud)[0]
        peak = float(share.max() if aim is None else scene.masses(aim).max())
        _cells(below, scene, share, peak)
        above.set_title(title(name), fontsize=8)
        note = f"TV to the product {scene.variation(cloud, scene.target):.2f}"
        if aim is None:
            above.text(0, 0.85, "no density:\ninfinite mass", ha="center", fontsize=8)
            _product(above, scene)
        else:
            _cells(above, scene, scene.masses(aim), peak)
            note = f"TV to the aim {scene.variation(cloud, aim):.2f}\n{note}"
        beyond = float((cloud.abs() > cloud.new_tensor(FRAME)).any(1).double().mean())
        if beyond > 0.01:
            below.text(0, -1.2, f"{beyond:.0%} outside the frame", ha="center", fontsize=7)
        below.set_title(note, fontsize=7, fontweight="normal")
    for left in range(len(clouds), bands * columns):
        for row in (0, 1):
            grid[2 * (left // columns) + row, left % columns].set_visible(False)
    for row, what in enumerate(("aims at", "samples") * bands):
        grid[row, 0].set_ylabel(f"{what}\ny (units of y)", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("x (units of y)", fontsize=8)
    return figure


def _cells(axes: Axes, scene: Plane, share: Tensor, peak: float) -> None:
    """Shares of the cells of a scene, white to black at ``peak``."""
    reach = (-scene.reach, scene.reach)
    axes.imshow(
        share.numpy().T, origin="lower", extent=(*reach, *reach), cmap="Greys", vmin=0, vmax=peak
    )
    _product(axes, scene)


def _product(axes: Axes, scene: Plane) -> None:
    """The region of highest density of the product, as an outline."""
    line = scene.grid[:, 0, 0].numpy()
    levels = [scene.level()]
    axes.contour(line, line, scene.target.numpy().T, levels, colors=PRODUCT, linewidths=1.2)
    wide, high = FRAME
    axes.set(aspect="equal", xlim=(-wide, wide), ylim=(-high, high), xticks=[-1, 0, 1])
    axes.grid(False)


def box_figure(scene: Boxes, clouds: Mapping[str, Tensor]) -> Figure:
    """Samples of every rule from above, relative to the condition, with both supports.

    ``clouds`` are offsets ``[n, 3]`` by rule; the share in the title is that in the product.
    """
    columns = -(-len(clouds) // 3)
    size = (9.5 * max(1, columns / 3), 6.6)
    figure, grid = plt.subplots(3, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    for axes, (name, u) in zip(grid.flat, clouds.items(), strict=False):
        axes.scatter(u[:, 0], u[:, 1], s=2, alpha=0.4, color="#666666", linewidths=0)
        for region, member, style in (
            (scene.world.general, "general", "--"),
            (scene.world.specialised, "specialised", "-"),
        ):
            outline(axes, region, ORIGIN, "plan", edgecolor=COLOURS[member], linestyle=style)
        inside = scene.target.contains(u, u.new_zeros(1, u.shape[1])).float().mean()
        axes.set_title(f"{title(name)}: {float(inside):.0%} in both", fontsize=8)
        axes.set(xlim=(-1.5, 3.2), ylim=(-1.6, 1.6), aspect="equal")
    for column in grid.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        lowest.set_xlabel("x of $y - c$ (units of y)", fontsize=8)
        lowest.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("y (units of y)", fontsize=8)
    return figure


def cost_figure(table: pd.DataFrame) -> Figure:
    """Total variation of every rule by what it costs, a panel per scene.

    Parameters
    ----------
    table : DataFrame
        Rows of :func:`dualdiff.composition.rules_table`. Rules are rows of the figure, cheap ones
        on top and good ones first (mean over scenes); colour is accuracy.
    """
    wide = table.pivot_table(index=["scene", "name"], columns="metric", values="value", sort=False)
    means = wide.groupby("name")[["calls", "total_variation"]].mean()
    names = list(means.sort_values(["calls", "total_variation"]).index)
    marks = dict(zip(sorted(means["calls"].unique()), cycle(MARKS), strict=False))
    scenes = list(dict.fromkeys(table["scene"]))
    figure, grid = plt.subplots(
        1,
        len(scenes),
        figsize=(9.2, max(3.8, 0.8 + len(names) / 3)),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    spread = table[table["metric"] == "total_variation"].set_index(["scene", "name"])
    for axes, scene in zip(grid[0], scenes, strict=True):
        for place, name in enumerate(names):
            row, limits = wide.loc[(scene, name)], spread.loc[(scene, name)]
            axes.plot([limits["low"], limits["high"]], [place, place], color="black", lw=1.2)
            axes.scatter(
                row["total_variation"],
                place,
                c=[row["accuracy"]],
                marker=marks[row["calls"]],
                cmap="cividis",
                vmin=0,
                vmax=1,
                edgecolors="black",
                linewidths=0.6,
                s=42,
                zorder=3,
            )
        floor = float(wide.loc[scene, "total_variation_floor"].iloc[0])
        axes.axvline(floor, color="black", ls=":", lw=1)
        axes.set(title=scene.replace("_", " "), xlabel="TV to the product")
        axes.set_xlim(0, 1)
    first = grid[0, 0]
    first.set_yticks(range(len(names)), [title(name) for name in names], fontsize=8)
    first.set_ylabel("rule")
    first.invert_yaxis()
    handles = [
        Line2D([], [], ls="", marker=mark, color="grey", label=f"{calls:g} network calls")
        for calls, mark in marks.items()
    ]
    handles.append(Line2D([], [], ls=":", color="black", lw=1, label="floor of a perfect sampler"))
    figure.legend(handles=handles, ncols=3, loc="outside lower center", fontsize=8)
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), "cividis"), ax=grid, label="accuracy", shrink=0.8
    )
    return figure


def guidance_figure(clouds: Mapping[float, Tensor], c: Tensor, region: Box) -> Figure:
    """Samples at a few conditions for growing guidance weight, with the true support of each.

    Parameters
    ----------
    clouds : mapping of weights to Tensor [n_conditions, k, 2]
        Original units.
    c : Tensor [n_conditions, 2]
    region : Box
    """
    colours = [COLOURS[name] for name in ("specialised", "general", "finetuned_joint")]
    figure, grid = plt.subplots(
        1, len(clouds), figsize=(9.2, 3.0), sharex=True, sharey=True, squeeze=False
    )
    for axes, (weight, y) in zip(grid[0], clouds.items(), strict=True):
        for points, where, colour in zip(y, c, colours, strict=False):
            axes.scatter(points[:, 0], points[:, 1], s=3, alpha=0.35, color=colour, linewidths=0)
            style = {"edgecolor": "black", "linestyle": "-", "zorder": 3}
            outline(axes, region, where.tolist(), "plan", **style)
        axes.set(title=f"w = {weight:g}", xlabel="x (units of y)", aspect="equal")
    reach = float(max(y.abs().max() for y in clouds.values())) * 1.05
    grid[0, 0].set(ylabel="y (units of y)", xlim=(-reach, reach), ylim=(-reach, reach))
    return figure
