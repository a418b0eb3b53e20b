"""Regions in figures: training data in space, samples with their supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from mpl_toolkits.mplot3d.art3d import (  # type: ignore[import-untyped]
    Line3DCollection,
    Poly3DCollection,
)
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS
from dualdiff.regions import Box, Disc, Region
from dualdiff.scenarios import Scenario

PLANES = {"plan": (0, 1), "side": (0, 2)}
AXES = ("x", "y", "z")


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
