"""Figures of the synthetic chapters: data, losses, samples with their supports, trade-offs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from mpl_toolkits.mplot3d.art3d import (  # type: ignore[import-untyped]
    Line3DCollection,
    Poly3DCollection,
)
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS, MARKERS
from dualdiff.regions import Box, Disc, Region
from dualdiff.scenarios import Scenario

PLANES = {"plan": (0, 1), "side": (0, 2)}
AXES = ("x", "y", "z")
RECIPE_FILL = {"thesis": "none", "tuned": "full", "exact": "full"}


def _rings(region: Disc, c: np.ndarray) -> np.ndarray:
    """The rim of a disc as a closed curve in space, ``[181, 3]``."""
    angle = np.linspace(0, 2 * np.pi, 181)
    flat = np.zeros_like(angle)
    rim = np.stack([region.radius * np.cos(angle), region.radius * np.sin(angle), flat], 1)
    return rim + c + np.array([*region.centre, region.height])


def _faces(region: Box, c: np.ndarray) -> list[np.ndarray]:
    """The six faces of a box in space."""
    low, high = c + np.array(region.low), c + np.array(region.high)
    faces = []
    for axis in range(3):
        a, b = (i for i in range(3) if i != axis)
        for value in (low[axis], high[axis]):
            face = np.empty((4, 3))
            face[:, axis] = value
            face[:, a] = [low[a], high[a], high[a], low[a]]
            face[:, b] = [low[b], low[b], high[b], high[b]]
            faces.append(face)
    return faces


def _solid(axes: Any, region: Region, c: np.ndarray, colour: str) -> None:
    """Draw a region in a 3-D axes: faces or a disc, half transparent."""
    if isinstance(region, Box):
        faces = _faces(region, c)
    elif isinstance(region, Disc):
        faces = [_rings(region, c)]
    else:
        raise ValueError(f"cannot draw a region of type {type(region).__name__}")
    axes.add_collection3d(Poly3DCollection(faces, facecolor=colour, alpha=0.12))
    axes.add_collection3d(Line3DCollection(faces, colors=colour, linewidths=1.2))


def outline(axes: Axes, region: Region, c: Sequence[float], plane: str, **style: Any) -> None:
    """Draw a region's outline around condition ``c``: ``plan`` is (x, y), ``side`` (x, z)."""
    i, j = PLANES[plane]
    style = {"fill": False, "linewidth": 1.4, **style}
    if isinstance(region, Box):
        low = np.array(region.low) + np.array(c)
        size = np.array(region.high) - np.array(region.low)
        axes.add_patch(Rectangle((low[i], low[j]), size[i], size[j], **style))
    elif isinstance(region, Disc) and plane == "plan":
        centre = (c[0] + region.centre[0], c[1] + region.centre[1])
        axes.add_patch(Circle(centre, region.radius, **style))
    elif isinstance(region, Disc):
        x, z = c[0] + region.centre[0], c[2] + region.height
        axes.plot([x - region.radius, x + region.radius], [z, z], color=style["edgecolor"], lw=2.5)
    else:
        raise ValueError(f"cannot draw a region of type {type(region).__name__}")


def data_figure(
    scenario: Scenario, rows: Mapping[str, tuple[Tensor, Tensor]], c: Sequence[float]
) -> Figure:
    """The training targets of both sets moved to one condition, in space (Figures 4.1 and 4.2).

    Parameters
    ----------
    scenario : Scenario
    rows : mapping of set names to pairs ``(y, c)``
        Training rows, original units; at most 400 of each are drawn.
    c : three numbers
        The condition at which the supports are drawn.
    """
    figure = plt.figure(figsize=(9.5, 4.2))
    centre = np.array(c, dtype=float)
    for place, which in enumerate(("general", "specialised"), start=1):
        axes: Any = figure.add_subplot(1, 2, place, projection="3d")
        y, condition = rows[which]
        points = (y - condition).numpy()[:400] + centre
        for name in ("general", "specialised"):
            _solid(axes, scenario.region(name), centre, COLOURS[name])
        axes.scatter(*points.T, s=5, color=COLOURS[which], alpha=0.6, depthshade=False)
        axes.scatter(*centre, s=55, color="black", marker="*", depthshade=False)
        axes.set(xlabel="x", ylabel="y", zlabel="z", title=f"{which}: {len(y):,} rows")
        axes.set_box_aspect(None, zoom=0.86)
        axes.locator_params(nbins=4)
        axes.view_init(elev=20, azim=-58)
    return figure


def loss_figure(losses: Mapping[str, Tensor]) -> Figure:
    """Mean training loss per epoch of every network (Figure 4.3), logarithmic epochs."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    for name, curve in losses.items():
        epochs = np.arange(1, len(curve) + 1)
        label = f"{LABELS[name]} ({len(curve)} epochs)"
        axes.plot(epochs, curve, color=COLOURS[name], label=label, lw=1.1)
    axes.set(
        xscale="log", yscale="log", xlabel="epoch", ylabel="training loss (mean squared error)"
    )
    axes.legend()
    return figure


def scatter_figure(
    samples: Mapping[str, Tensor], scenario: Scenario, c: Sequence[float], *, margin: float = 0.6
) -> Figure:
    """Samples at one condition, one column per configuration, from above and from the side.

    Parameters
    ----------
    samples : mapping of configurations to Tensor [k, 3]
        Original units.
    scenario, c
        The supports drawn are those at condition ``c``.
    margin : float
        Room around the general support as a share of its size; the number of samples beyond the
        frame is written into it.
    """
    figure, grid = plt.subplots(
        2,
        len(samples),
        figsize=(2.3 * len(samples), 4.6),
        sharex="row",
        sharey="row",
        squeeze=False,
    )
    low, high = _extent(scenario.general, np.array(c, dtype=float), margin)
    for column, (name, points) in enumerate(samples.items()):
        for row, (plane, (i, j)) in enumerate(PLANES.items()):
            axes = grid[row, column]
            xy = points.numpy()
            axes.scatter(xy[:, i], xy[:, j], s=3, alpha=0.35, color=COLOURS[name], linewidths=0)
            outline(axes, scenario.general, c, plane, edgecolor="black", linestyle="--")
            outline(axes, scenario.specialised, c, plane, edgecolor="black")
            axes.set_xlim(low[i], high[i])
            axes.set_ylim(low[j], high[j])
            out = (xy[:, [i, j]] < low[[i, j]]) | (xy[:, [i, j]] > high[[i, j]])
            if beyond := int(out.any(1).sum()):
                axes.text(
                    0.97, 0.03, f"{beyond} beyond", transform=axes.transAxes, ha="right", size=7
                )
            axes.set_xlabel(AXES[i])
            if column == 0:
                axes.set_ylabel(
                    f"{AXES[j]}  ({'from above' if plane == 'plan' else 'from the side'})"
                )
        grid[0, column].set_title(LABELS[name])
        grid[0, column].set_aspect("equal", adjustable="box")
    return figure


def _extent(region: Region, c: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the frame around a region at condition ``c``."""
    if isinstance(region, Box):
        low, high = np.array(region.low), np.array(region.high)
    elif isinstance(region, Disc):
        centre = np.array([*region.centre, region.height])
        reach = np.array([region.radius, region.radius, 1.0])
        low, high = centre - reach, centre + reach
    else:
        raise ValueError(f"cannot frame a region of type {type(region).__name__}")
    room = margin * (high - low) / 2
    return c + low - room, c + high + room


def miss_figure(
    samples: Mapping[str, Tensor], conditions: Tensor, scenario: Scenario
) -> tuple[Figure, pd.DataFrame]:
    """Where the misses go: shares by place, and how far from the specialised support they land.

    Parameters
    ----------
    samples : mapping of configurations to Tensor [n, k, 3]
    conditions : Tensor [n, 3]
    scenario : Scenario

    Returns
    -------
    Figure
    DataFrame
        Shares of all samples by configuration: ``specialised``, ``general only``, ``outside both``.
    """
    c = conditions[:, None]
    shares, distances = {}, {}
    for name, y in samples.items():
        hit, home = scenario.specialised.contains(y, c), scenario.general.contains(y, c)
        shares[name] = {
            "specialised": float(hit.float().mean()),
            "general only": float((home & ~hit).float().mean()),
            "outside both": float((~home & ~hit).float().mean()),
        }
        distances[name] = scenario.specialised.distance(y, c)[~hit].numpy()
    table = pd.DataFrame.from_dict(shares, orient="index")
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4))
    start = np.zeros(len(table))
    labels = [LABELS[name] for name in shares]
    for place, colour in zip(table.columns, ("#333333", "#999999", "#dddddd"), strict=True):
        left.barh(labels, table[place], left=start, color=colour, label=place)
        start = start + table[place].to_numpy()
    left.invert_yaxis()
    left.set(xlabel="share of samples", xlim=(0, 1))
    left.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    for name, distance in distances.items():
        if len(distance):
            share = 1 - np.arange(len(distance)) / len(distance)
            right.plot(np.sort(distance), share, color=COLOURS[name], label=LABELS[name])
    right.set(
        xscale="log",
        xlabel="distance to the specialised support (units of y)",
        ylabel="share of misses farther away",
        xlim=(1e-3, None),
    )
    right.legend(fontsize=8)
    return figure, table


def tolerance_figure(
    samples: Mapping[str, Tensor], conditions: Tensor, scenario: Scenario, tolerance: float
) -> Figure:
    """Accuracy against the tolerance of the check, by configuration.

    For a flat disc the tolerance is that in height: the vertical line marks the ``tolerance`` of
    the tables, dotted lines the planar check alone. For a box it is the distance to it, and dotted
    lines are the strict check of the tables.
    """
    region = scenario.specialised
    disc = region if isinstance(region, Disc) else None
    tolerances = np.geomspace(0.01, 3, 60)
    figure, axes = plt.subplots(figsize=(7, 3.6))
    for name, y in samples.items():
        if disc is not None:
            u = disc.offsets(y, conditions[:, None])
            inside = (u[..., :2] - u.new_tensor(disc.centre)).norm(dim=-1) <= disc.radius
            error = (u[..., 2] - disc.height).abs()
        else:
            error = region.distance(y, conditions[:, None])
            inside = error >= 0
        share = [float((inside & (error <= tol)).float().mean()) for tol in tolerances]
        limit = inside if disc is not None else error == 0
        axes.plot(tolerances, share, color=COLOURS[name], label=LABELS[name])
        axes.axhline(float(limit.float().mean()), color=COLOURS[name], ls=":", lw=1)
    if disc is not None:
        axes.axvline(tolerance, color="black", lw=1)
    what = "height tolerance" if disc is not None else "tolerated distance to the support"
    axes.set(xscale="log", xlabel=f"{what} (units of y)", ylabel="accuracy", ylim=(0, 1.02))
    axes.legend(fontsize=8)
    return figure


def frontier_figure(table: pd.DataFrame) -> Figure:
    """Accuracy against total variation of every configuration and recipe, with 95 % intervals.

    Open markers: recipe ``thesis``; filled: ``tuned``; black: exact members.

    Parameters
    ----------
    table : DataFrame
        Rows of :func:`dualdiff.study.summary`.
    """
    figure, axes = plt.subplots(figsize=(7.5, 5))
    wide = table.pivot(index=["recipe", "configuration"], columns="metric")
    for key, row in wide.iterrows():
        recipe, name = cast(tuple[str, str], key)
        x, y = row["value"]["accuracy"], row["value"]["total_variation"]
        colour = COLOURS["truth"] if recipe == "exact" else COLOURS[name]
        axes.errorbar(
            x,
            y,
            xerr=[[x - row["low"]["accuracy"]], [row["high"]["accuracy"] - x]],
            yerr=[[y - row["low"]["total_variation"]], [row["high"]["total_variation"] - y]],
            color=colour,
            marker=MARKERS[name],
            fillstyle=RECIPE_FILL[recipe],
            ms=8,
            lw=1,
        )
    floor = float(wide["value"]["total_variation_floor"].iloc[0])
    axes.axhline(floor, color="grey", ls=":", lw=1)
    axes.plot([0, 1], [1, 0], color="grey", lw=0.8)
    axes.text(0.02, floor + 0.01, "floor: a perfect sampler at this sample size", size=7)
    axes.text(0.30, 0.66, "1 - accuracy: hits spread as they should", size=7, rotation=-33)
    axes.set(xlabel="accuracy (share inside the specialised support)", xlim=(0, 1.03))
    axes.set(ylabel="total variation to the specialised law", ylim=(0, 1.03))
    names = [n for n in MARKERS if n in wide.index.get_level_values("configuration")]
    handles = [
        Line2D([], [], ls="", marker=MARKERS[n], color=COLOURS[n], label=LABELS[n]) for n in names
    ]
    for recipe in dict.fromkeys(wide.index.get_level_values("recipe")):
        colour = COLOURS["truth"] if recipe == "exact" else "grey"
        fill: Any = RECIPE_FILL[recipe]
        style = {"ls": "", "marker": "o", "color": colour, "fillstyle": fill}
        handles.append(Line2D([], [], label=f"recipe {recipe}", **style))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
