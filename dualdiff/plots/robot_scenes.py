"""A drawing of one of the robot's scenes, and the pieces it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Polygon, Rectangle
from torch import Tensor

from dualdiff.plots import COLOURS
from dualdiff.robot.kinds import RADIUS, REACH, SIDE, Kind
from dualdiff.robot.scenes import Scenes
from dualdiff.robot.tasks import execute, parts
from dualdiff.robot.world import centres, corners

INK = "#26323D"
OUTSIDE = "#F1F1EF"
"""Colour of what lies beyond the walls."""
LOOKS: dict[str, dict[str, Any]] = {
    "container": {"facecolor": "#F4E6CC", "edgecolor": "#B9975B", "linewidth": 1.2},
    "obstacle": {"facecolor": "#CFCFCF", "edgecolor": "#9A9A9A", "linewidth": 0.6},
    "goal": {"facecolor": "white", "edgecolor": INK, "linewidth": 1.5},
    "target": {"facecolor": "#FFD23F", "edgecolor": INK, "linewidth": 1.7},
}
FEASIBLE: dict[str, Any] = {"facecolor": "#CDE4F4", "edgecolor": "#6FA8CF"}
ROBOT: dict[str, Any] = {"facecolor": "#D8DEE6", "edgecolor": INK}
MARGIN = RADIUS + 0.4
"""Drawn beyond the walls: the robot's disc may stand over them."""

View = tuple[float, float, float, float]
WHOLE: View = (-MARGIN, SIDE + MARGIN, -MARGIN, SIDE + MARGIN)


def kind_of(scenes: Scenes, column: int) -> Kind:
    """The type of the object in a column that a move can go to.

    Raises
    ------
    ValueError
        If the column is no container or goal.
    """
    if not 0 <= column <= scenes.goals:
        raise ValueError(
            f"column must be 0 (the container) or a goal, 1 to {scenes.goals}, not {column}"
        )
    return scenes.environment.pickable if column else scenes.environment.container


def succeeded(scenes: Scenes, index: int, column: int, kind: Kind, places: Tensor) -> Tensor:
    """Whether moves to world positions ``[k, 2]`` succeed in one scene, ``[k]``."""
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"samples must have shape [k, 2], not {list(places.shape)}")
    one = scenes.rows(torch.tensor([index]))
    return execute(one, kind, column, places.unsqueeze(0)).success[0]


def scene(
    axes: Axes,
    scenes: Scenes,
    index: int,
    column: int,
    *,
    kind: Kind | None = None,
    samples: Tensor | None = None,
    colour: str | None = None,
    feasible: bool = True,
    resolution: int = 300,
    view: View = WHOLE,
) -> None:
    """One scene from above, with what is asked for and where a move to it succeeds.

    Parameters
    ----------
    axes : Axes
        Labelled by whoever needs labels: :func:`label`.
    scenes, index : Scenes, int
        The one of them that is drawn.
    column : int
        The object that the robot is to reach.
    kind : Kind, optional
        Its type; by default what the column says.
    samples : Tensor [k, 2], optional
        World positions: dots where the move succeeds, crosses where it fails, all where the robot
        would be stopped at the walls; what is not finite is left out.
    colour : str, optional
        Of the samples.
    feasible, resolution : bool, int
        Shade the places of the robot's centre that succeed, on a grid of so many points per side.
    view : (low x, high x, low y, high y)

    Raises
    ------
    ValueError
        If the column is no object to go to or the samples have another shape.
    """
    kind = kind or kind_of(scenes, column)
    scale = line_scale(axes)
    ground(axes, view)
    draw_objects(axes, scenes, index, column, scale)
    if feasible:
        _feasible(axes, scenes, index, column, kind, view, resolution)
    mark_target(axes, scenes, index, column, kind, scale)
    robot(axes, scenes.robot[index], scale)
    if samples is not None:
        _samples(axes, samples, succeeded(scenes, index, column, kind, samples), colour, scale)


def _samples(
    axes: Axes, samples: Tensor, success: Tensor, colour: str | None, scale: float
) -> None:
    """Dots for successes and crosses for failures."""
    good, at = success.numpy(), samples.double().clamp(0, SIDE).numpy()
    finite = np.isfinite(at).all(1)
    style: dict[str, Any] = {"color": colour or COLOURS["truth"], "zorder": 6}
    fails, hits = at[finite & ~good], at[finite & good]
    size = 4 + 20 * scale
    cross: dict[str, Any] = {"marker": "x", "s": 0.7 * size, "alpha": 0.75}
    cross["linewidths"] = 0.5 + 0.6 * scale
    axes.scatter(fails[:, 0], fails[:, 1], label="fails", **cross, **style)
    dots: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.3 + 0.2 * scale}
    axes.scatter(hits[:, 0], hits[:, 1], s=size, label="succeeds", **dots, **style)


def label(axes: Axes, *, x: bool = True, y: bool = True) -> None:
    """Write what the axes of a scene are."""
    if x:
        axes.set_xlabel("x [workspace units]", fontsize=9)
    if y:
        axes.set_ylabel("y [workspace units]", fontsize=9)


def line_scale(axes: Axes) -> float:
    """Thickness of lines for the size of a panel: 1 from about 4.5 inches on."""
    figure = axes.get_figure()
    width = axes.bbox.width / (figure.dpi if figure is not None else 100)
    return float(np.clip(width / 4.5, 0.4, 1))


def ground(axes: Axes, view: View) -> None:
    """Floor, walls and axes."""
    axes.set_facecolor(OUTSIDE)
    axes.add_patch(Rectangle((0, 0), SIDE, SIDE, facecolor="white", zorder=0, linewidth=0))
    wall: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 1.6, "zorder": 2.5}
    axes.add_patch(Rectangle((0, 0), SIDE, SIDE, **wall))
    axes.set(xlim=view[:2], ylim=view[2:], aspect="equal")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    whole = view == WHOLE
    ticks = np.arange(0, SIDE + 1, 5) if whole else np.arange(-4, SIDE + 5, 4)
    for which, low, high in (("x", *view[:2]), ("y", *view[2:])):
        kept = ticks[(ticks >= low) & (ticks <= high)]
        axes.set(**{f"{which}ticks": kept})
    axes.tick_params(length=0, labelsize=8, colors="#555555", pad=2)


def outline(axes: Axes, rectangle: Tensor, role: str, scale: float, **style: Any) -> None:
    """A rectangle ``[5]`` in the look of its role."""
    look = {**LOOKS[role], "joinstyle": "round", **style}
    look["linewidth"] *= max(scale, 0.5)
    axes.add_patch(Polygon(corners(rectangle).tolist(), closed=True, **look))


def draw_objects(axes: Axes, scenes: Scenes, index: int, column: int, scale: float) -> None:
    """All that lies in the scene but the target: container, goals, obstacles."""
    there = scenes.present[index].nonzero().squeeze(1).tolist()
    for each in there:
        if each == column:
            continue
        role = "container" if each == 0 else "goal" if each <= scenes.goals else "obstacle"
        order = {"container": 1.0, "obstacle": 3.0, "goal": 3.1}[role]
        outline(axes, scenes.objects[index, each], role, scale, zorder=order)


def mark_target(
    axes: Axes, scenes: Scenes, index: int, column: int, kind: Kind, scale: float
) -> None:
    """The object that the robot goes to, and the parts of it that the arm has to meet."""
    rectangle = scenes.objects[index, column]
    # A container lies below what is on it.
    style: dict[str, Any] = {"zorder": 3.2 if column else 1.5}
    if column == 0:
        style["facecolor"] = "#FFE9A6"
    outline(axes, rectangle, "target", scale, **style)
    if column and float(rectangle[2:4].amax()) < RADIUS:
        halo(axes, rectangle)
    if kind.part == "all":
        return
    for part in parts(kind, rectangle):
        edge = corners(part).tolist()
        if kind.part == "left edge":
            axes.plot(*zip(edge[0], edge[3], strict=True), color=INK, lw=4.5 * scale, zorder=3.3)
        else:
            hatch: dict[str, Any] = {"facecolor": "none", "edgecolor": INK, "hatch": "///"}
            axes.add_patch(Polygon(edge, linewidth=0.8 * scale, zorder=1.6, alpha=0.45, **hatch))


def halo(axes: Axes, rectangle: Tensor) -> None:
    """A disc of light around something small."""
    radius = 0.45 + float(rectangle[2:4].norm()) / 2
    light: dict[str, Any] = {
        "facecolor": LOOKS["target"]["facecolor"],
        "alpha": 0.4,
        "linewidth": 0,
    }
    x, y = centres(rectangle).tolist()
    axes.add_patch(Circle((x, y), radius, zorder=2.9, **light))


def _feasible(
    axes: Axes, scenes: Scenes, index: int, column: int, kind: Kind, view: View, resolution: int
) -> None:
    """Shade where a move succeeds, by trying a grid."""
    x = torch.linspace(max(view[0], 0), min(view[1], SIDE), resolution, dtype=torch.float64)
    y = torch.linspace(max(view[2], 0), min(view[3], SIDE), resolution, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    good = succeeded(scenes, index, column, kind, grid).view(resolution, resolution).mT
    if not bool(good.any()):
        return
    # Means of neighbours take the steps of the grid off the region's rim, and one point more on
    # every side closes it at the walls.
    smooth = torch.nn.functional.avg_pool2d(
        good.double()[None, None], 3, stride=1, padding=1, count_include_pad=False
    )[0, 0]
    padded = torch.nn.functional.pad(smooth, (1, 1, 1, 1)).numpy()
    xs, ys = (np.concatenate([k[:1], k.numpy(), k[-1:]]) for k in (x, y))
    axes.contourf(xs, ys, padded, [0.5, 1.5], colors=FEASIBLE["facecolor"], zorder=2)
    axes.contour(xs, ys, padded, [0.5], colors=FEASIBLE["edgecolor"], linewidths=0.7, zorder=2.1)


def robot(
    axes: Axes, pose: Tensor, scale: float, *, ghost: bool = False, reach: bool = True
) -> None:
    """The robot's disc, its heading, its arm stretched out, and how far the arm reaches."""
    x, y, yaw = pose.tolist()
    ahead = np.array([np.cos(yaw), np.sin(yaw)])
    here = np.array([x, y])
    alpha, order = (0.35, 4.0) if ghost else (1.0, 4.5)
    if reach and not ghost:
        ring: dict[str, Any] = {
            "fill": False,
            "edgecolor": INK,
            "linestyle": (0, (4, 4)),
            "alpha": 0.6,
        }
        axes.add_patch(Circle((x, y), REACH, linewidth=0.8, zorder=2.3, **ring))
    disc: dict[str, Any] = {"alpha": 0.3 if ghost else 0.65, "linewidth": 1.4 * max(scale, 0.5)}
    axes.add_patch(Circle((x, y), RADIUS, zorder=order, **ROBOT, **disc))
    tip = here + REACH * ahead
    arm: dict[str, Any] = {"color": INK, "alpha": alpha, "zorder": order + 0.1}
    axes.plot(*zip(here, tip, strict=True), lw=3.0 * scale, solid_capstyle="round", **arm)
    axes.plot(*tip, marker="o", ms=6 * scale, mfc="white", mew=1.5 * scale, **arm)
    side = np.array([-ahead[1], ahead[0]])
    nose = [here + 0.62 * RADIUS * ahead + k * 0.4 * side for k in (-1, 1)]
    wedge = [here + 0.98 * RADIUS * ahead, *nose]
    axes.add_patch(Polygon(wedge, facecolor=INK, lw=0, alpha=alpha, zorder=order + 0.2))
    axes.plot(*here, marker="o", ms=4 * scale, **arm)


def legend(
    figure: Figure, *, samples: bool = True, feasible: bool = True, ncols: int | None = None
) -> None:
    """Say below a figure what the colours of its scenes mean."""
    handles: list[Patch | Line2D] = [Patch(label=role, **look) for role, look in LOOKS.items()]
    handles.append(
        Line2D([], [], ls="", marker="o", ms=9, mfc=ROBOT["facecolor"], mec=INK, label="robot")
    )
    handles.append(Line2D([], [], ls=(0, (4, 4)), color=INK, lw=0.8, label="reach"))
    if feasible:
        handles.append(Patch(label="succeeds from here", **FEASIBLE))
    if samples:
        point: dict[str, Any] = {"ls": "", "color": "#555555"}
        handles.append(Line2D([], [], marker="o", ms=5, label="sample, success", **point))
        handles.append(Line2D([], [], marker="x", ms=5, label="sample, failure", **point))
    ncols = ncols or (len(handles) + 1) // 2
    figure.legend(
        handles=handles, loc="outside lower center", ncols=ncols, fontsize=9, handlelength=1.6
    )
