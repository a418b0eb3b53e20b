"""Drawings of the scenes of composition: members and product, densities, samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from dualdiff.experiments.scenes import Boxes, Plane, Scene
from dualdiff.pages.names import label, style
from dualdiff.plots.facets import legend
from dualdiff.plots.regions import outline
from dualdiff.regions import Box

MEMBERS = {"general": "--", "specialised": "-"}
"""Their lines."""
PRODUCT = style("joint")["color"]
FRAME = (1.7, 1.3)  # half width and height of the panels of a plane scene
ORIGIN = (0.0, 0.0, 0.0)


def scene_figure(scenes: Mapping[str, Scene]) -> Figure:
    """Both members of every scene from above, and their product.

    Outlines are the edges of supports, or, in a scene of Gaussian mixtures, the density at half of
    its peak.
    """
    figure, grid = plt.subplots(1, len(scenes), figsize=(9.5, 3.4), squeeze=False)
    for axes, (name, scene) in zip(grid[0], scenes.items(), strict=True):
        if isinstance(scene, Boxes):
            _members(axes, scene)
            assert isinstance(scene.target, Box)
            fill: dict[str, Any] = {
                "facecolor": PRODUCT,
                "alpha": 0.35,
                "edgecolor": "none",
                "fill": True,
            }
            outline(axes, scene.target, ORIGIN, "plan", **fill)
            axes.set(xlim=(-1.4, 2.4), ylim=(-1.5, 1.5))
        elif isinstance(scene, Plane):
            line = scene.grid[:, 0, 0].numpy()
            target = scene.target.numpy().T
            axes.contourf(line, line, target, [target.max() / 2, np.inf], colors=PRODUCT, alpha=0.4)
            for member, dash in MEMBERS.items():
                density = scene.log_clean(getattr(scene, member)).exp().numpy().T
                look: dict[str, Any] = {"colors": style(member)["color"], "linestyles": dash}
                axes.contour(line, line, density, [density.max() / 2], **look)
            axes.set(xlim=(-1.9, 1.9), ylim=(-1.5, 1.5))
        axes.set(aspect="equal", title=label(name), xlabel="x of $y - c$ (units of y)")
        axes.set_xticks(range(-1, 3 if isinstance(scene, Boxes) else 2))
    grid[0, 0].set_ylabel("y of $y - c$ (units of y)")
    lines = [
        Line2D([], [], color=style(member)["color"], ls=dash, label=label(member))
        for member, dash in MEMBERS.items()
    ]
    legend(figure, *lines, Patch(color=PRODUCT, alpha=0.4, label="product"))
    return figure


def _members(axes: Axes, scene: Boxes) -> None:
    """Outlines of both supports from above."""
    for member, dash in MEMBERS.items():
        look: dict[str, Any] = {"edgecolor": style(member)["color"], "linestyle": dash}
        outline(axes, getattr(scene.world, member), ORIGIN, "plan", **look)


def density_figure(
    scene: Plane, clouds: Mapping[str, Tensor], aims: Mapping[str, Tensor | None], columns: int = 5
) -> Figure:
    """What each rule aims at above what it samples, on the same cells and the same scale.

    Parameters
    ----------
    scene : Plane
    clouds : mapping of names to Tensor [n, 2]
        Samples as offsets from the condition.
    aims : mapping of the same names to Tensor [side, side] or None
        The density aimed at on the scene's grid; None where there is none.
    columns : int
        Pairs of panels in a row.
    """
    bands = -(-len(clouds) // columns)
    size = (1.8 * columns + 0.4, 3.3 * bands)
    figure, grid = plt.subplots(
        2 * bands, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat:
        axes.set_visible(False)
    for i, (name, cloud) in enumerate(clouds.items()):
        band, column = divmod(i, columns)
        above, below = grid[2 * band, column], grid[2 * band + 1, column]
        wanted, share = aims[name], scene.histogram(cloud)[0]
        masses = None if wanted is None else scene.masses(wanted)
        peak = float((share if masses is None else masses).max())
        _cells(above, scene, masses, peak)
        _cells(below, scene, share, peak)
        above.set_title(label(name), fontsize=8)
        beyond = float((cloud.abs() > cloud.new_tensor(FRAME)).any(1).double().mean())
        if beyond > 0.01:
            below.text(0, -1.2, f"{beyond:.0%} outside the frame", ha="center", fontsize=7)
    for row, what in enumerate(("aims at", "samples") * bands):
        grid[row, 0].set_ylabel(f"{what}\ny (units of y)", fontsize=8)
    for axes in grid[-1]:
        axes.set_xlabel("x (units of y)", fontsize=8)
    return figure


def _cells(axes: Axes, scene: Plane, share: Tensor | None, peak: float) -> None:
    """Shares of the cells, white to black at ``peak``, and the region of the product's mass."""
    axes.set_visible(True)
    if share is None:
        axes.text(0, 0.85, "no density:\ninfinite mass", ha="center", fontsize=8)
    else:
        extent = (-scene.reach, scene.reach) * 2
        look: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": peak}
        axes.imshow(share.numpy().T, origin="lower", extent=extent, **look)
    line, target = scene.grid[:, 0, 0].numpy(), scene.target.numpy().T
    axes.contour(line, line, target, [scene.level()], colors=PRODUCT, linewidths=1.2)
    wide, high = FRAME
    axes.set(aspect="equal", xlim=(-wide, wide), ylim=(-high, high), xticks=[-1, 0, 1])
    axes.grid(False)


def box_figure(scene: Boxes, clouds: Mapping[str, Tensor]) -> Figure:
    """Samples of every rule from above, relative to the condition, with both supports.

    ``clouds`` are offsets ``[n, 3]`` by rule; the shares in a title are those in both supports and
    in neither.
    """
    columns = -(-len(clouds) // 3)
    size = (9.5 * max(1, columns / 3), 6.6)
    figure, grid = plt.subplots(3, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(clouds) :]:
        axes.set_visible(False)
    for axes, (name, u) in zip(grid.flat, clouds.items(), strict=False):
        axes.scatter(u[:, 0], u[:, 1], s=2, alpha=0.4, color="#666666", linewidths=0)
        _members(axes, scene)
        origin = u.new_zeros(1, u.shape[1])
        home, own = (getattr(scene.world, member).contains(u, origin) for member in MEMBERS)
        both, neither = (float(part.float().mean()) for part in (home & own, ~home & ~own))
        said = f"{label(name)}:\n{both:.0%} in both, {neither:.0%} in neither"
        axes.set_title(said, fontsize=8)
        axes.set(xlim=(-1.5, 3.2), ylim=(-1.6, 1.6), aspect="equal")
    for column in grid.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        lowest.set_xlabel("x of $y - c$ (units of y)", fontsize=8)
        lowest.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("y (units of y)", fontsize=8)
    return figure
