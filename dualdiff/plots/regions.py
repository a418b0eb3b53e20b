"""Regions in figures: training data in space, samples with their supports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from mpl_toolkits.mplot3d.art3d import (  # type: ignore[import-untyped]
    Line3DCollection,
    Poly3DCollection,
)
from torch import Tensor

from dualdiff.experiments.scenarios import Scenario
from dualdiff.plots import COLOURS, LABELS
from dualdiff.regions import Box, Region

PLANES = {"plan": (0, 1), "side": (0, 2)}
AXES = ("x", "y", "z")
SEEN = {"plan": "from above", "side": "from the side"}


def _place(region: Region, c: Any) -> np.ndarray:
    """Where the offsets of a region at condition ``c`` count from."""
    return region.anchor(torch.as_tensor(c, dtype=torch.float64)).numpy()


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


def _sections(region: Region, c: np.ndarray) -> list[np.ndarray]:
    """The outlines of a region seen along each axis, drawn through its middle."""
    low, high = map(np.array, region.frame())
    found = []
    for axes in ((0, 1), (0, 2), (1, 2)):
        if all(high[k] > low[k] for k in axes):
            for line in region.outlines(axes):
                section = np.tile(c + np.array(region.middle), (len(line) + 1, 1))
                section[:, axes] = c[list(axes)] + np.concatenate([line, line[:1]])
                found.append(section)
    return found


def _solid(axes: Any, region: Region, c: np.ndarray, colour: str) -> None:
    """Draw a region in a 3-D axes: faces, or outlines through its middle, half transparent."""
    faces = _faces(region, c) if isinstance(region, Box) else _sections(region, c)
    axes.add_collection3d(Poly3DCollection(faces, facecolor=colour, alpha=0.12))
    axes.add_collection3d(Line3DCollection(faces, colors=colour, linewidths=1.2))


def outline(axes: Axes, region: Region, c: Sequence[float], plane: str, **style: Any) -> None:
    """Draw a region's outline around condition ``c``: ``plan`` is (x, y), ``side`` (x, z)."""
    seen = PLANES[plane]
    style = {"fill": False, "linewidth": 1.4, **style}
    lines = [line.numpy() + _place(region, c)[list(seen)] for line in region.outlines(seen)]
    rings = [Path(np.concatenate([x, x[:1]]), closed=True) for x in lines if len(x) > 2]
    if rings:
        axes.add_patch(PathPatch(Path.make_compound_path(*rings), **style))
    for line in lines:
        if len(line) == 2:  # the law is flat
            axes.plot(*line.T, color=style["edgecolor"], lw=2.5)


def _panels(scenario: Scenario) -> dict[str, tuple[int, int]]:
    """The views of a scenario: one of a plane, two of space."""
    return {plane: axes for plane, axes in PLANES.items() if max(axes) < scenario.general.dim}


def data_figure(
    scenario: Scenario, rows: Mapping[str, tuple[Tensor, Tensor]], c: Sequence[float]
) -> Figure:
    """The training targets of both sets moved to one condition (Figures 4.1 and 4.2).

    Parameters
    ----------
    scenario : Scenario
    rows : mapping of set names to pairs ``(y, c)``
        Training rows, original units; at most 400 of each are drawn.
    c : sequence of float
        The condition at which the supports are drawn.
    """
    space = "side" in _panels(scenario)
    figure = plt.figure(figsize=(9.5, 4.2) if space else (8, 4))
    centre = _place(scenario.general, c)
    for place, which in enumerate(("general", "specialised"), start=1):
        y, condition = rows[which]
        points = scenario.general.offsets(y, condition).numpy()[:400] + centre
        axes: Any = figure.add_subplot(1, 2, place, projection="3d" if space else None)
        for name in ("general", "specialised"):
            region, colour = scenario.region(name), COLOURS[name]
            if space:
                _solid(axes, region, centre, colour)
            else:
                outline(
                    axes, region, c, "plan", edgecolor=colour, facecolor=(colour, 0.1), fill=True
                )
        flat: dict[str, Any] = {"depthshade": False} if space else {}
        axes.scatter(*points.T, s=5, color=COLOURS[which], alpha=0.6, **flat)
        axes.scatter(*centre, s=55, color="black", marker="*", **flat)
        axes.set(xlabel="x", ylabel="y", title=f"{which}: {len(y):,} rows")
        axes.locator_params(nbins=4)
        if space:
            axes.set(zlabel="z")
            axes.set_box_aspect(None, zoom=0.86)
            axes.view_init(elev=20, azim=-58)
        else:
            axes.set_aspect("equal")
    return figure


def scatter_figure(
    samples: Mapping[str, Tensor], scenario: Scenario, c: Sequence[float], *, margin: float = 0.6
) -> Figure:
    """Samples at one condition, one column per configuration: a plane, or space from two sides.

    Parameters
    ----------
    samples : mapping of configurations to Tensor [k, dy]
        Original units.
    scenario, c
        The supports drawn are those at condition ``c``.
    margin : float
        Room around the general support as a share of its size; the number of samples beyond the
        frame is written into it.
    """
    panels = _panels(scenario)
    figure, grid = plt.subplots(
        len(panels),
        len(samples),
        figsize=(2.3 * len(samples), 4.6 if len(panels) > 1 else 2.7),
        sharex="row",
        sharey="row",
        squeeze=False,
    )
    low, high = _extent(scenario.general, c, margin)
    for column, (name, points) in enumerate(samples.items()):
        for row, (plane, (i, j)) in enumerate(panels.items()):
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
                axes.set_ylabel(AXES[j] + (f"  ({SEEN[plane]})" if len(panels) > 1 else ""))
        grid[0, column].set_title(LABELS[name])
        grid[0, column].set_aspect("equal", adjustable="box")
    return figure


def _extent(region: Region, c: Sequence[float], margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the frame around a region at condition ``c``; where it is flat one unit more."""
    low, high = map(np.array, region.frame())
    flat = (high == low).astype(float)
    low, high = low - flat, high + flat
    room, centre = margin * (high - low) / 2, _place(region, c)
    return centre + low - room, centre + high + room
