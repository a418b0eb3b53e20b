"""Panels of the robot's scenes: a task step by step, samples in the scenes they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dualdiff.plots import COLOURS, LABELS
from dualdiff.plots.robot_scenes import (
    WHOLE,
    draw_objects,
    ground,
    kind_of,
    label,
    legend,
    line_scale,
    mark_target,
    outline,
    robot,
    scene,
    succeeded,
)
from dualdiff.robot.kinds import REACH, Kind
from dualdiff.robot.scenes import Scenes
from dualdiff.robot.tasks import perform
from dualdiff.robot.world import centres

PATH = "#C2185B"
"""Colour of the way that the robot went."""


def task_steps(
    scenes: Scenes, generator: torch.Generator, *, steps: int = 6, columns: int = 3
) -> Figure:
    """The first moves of one task, a panel each: the robot before (pale) and after its move.

    Parameters
    ----------
    scenes : Scenes
        One scene at the start of a task; left as it is.
    generator : torch.Generator
        Of the oracle that chooses where to go.
    steps, columns : int
        Most moves that are drawn, and panels in a row.

    Raises
    ------
    ValueError
        If there is not exactly one scene, or the oracle finds no first move.
    """
    if len(scenes) != 1:
        raise ValueError(f"a task is drawn of 1 scene, not of {len(scenes)}")
    now = scenes.rows(torch.tensor([0]))
    states = [now.rows(torch.tensor([0]))]
    kinds = []
    for move in perform(now, generator):
        kinds.append(move.kind)
        states.append(now.rows(torch.tensor([0])))
        if len(kinds) == steps:
            break
    if not kinds:
        raise ValueError("the oracle found no target for the first move of this scene")
    rows, columns = -(-len(kinds) // columns), min(columns, len(kinds))
    size = (2.55 * columns + 0.4, 2.7 * rows + 0.85)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True)
    panels = np.atleast_1d(grid).ravel()
    for number, kind in enumerate(kinds):
        _step(panels[number], states[number], states[number + 1], kind, number)
        label(panels[number], x=number + columns >= len(kinds), y=number % columns == 0)
        panels[number].tick_params(labelbottom=number + columns >= len(kinds))
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    legend(figure, samples=False, feasible=False, ncols=2 * columns)
    return figure


def _step(axes: Axes, before: Scenes, after: Scenes, kind: Kind, number: int) -> None:
    """One move: number 0 goes to the first goal, 1 to the container, and so on."""
    goal = number // 2 + 1
    carries = number % 2 == 1
    column = 0 if carries else goal
    scale = line_scale(axes)
    ground(axes, WHOLE)
    draw_objects(axes, before, 0, column, scale)
    mark_target(axes, before, 0, column, kind, scale)
    robot(axes, before.robot[0], scale, ghost=True)
    robot(axes, after.robot[0], scale)
    start, end = before.robot[0, :2].tolist(), after.robot[0, :2].tolist()
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "color": PATH, "lw": 1.6, "mutation_scale": 11}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    path = axes.annotate("", tuple(end), tuple(start), arrowprops=arrow)
    path.set_zorder(5.5)
    if carries:
        for state, alpha in ((before, 0.5), (after, 1.0)):
            outline(axes, held(state, goal), "target", scale, zorder=5, alpha=alpha)
    pickable = before.environment.pickable.name.lower()
    what = f"{pickable} {goal}"
    action = f"{what} into the {kind.name.lower()}" if carries else f"go to {what}, pick it up"
    axes.set_title(f"{number + 1}  {action}", fontsize=9)


def held(scenes: Scenes, column: int) -> Tensor:
    """An object as it would lie at the tip of the arm of the first scene's robot: ``[5]``."""
    thing, pose = scenes.objects[0, column].clone(), scenes.robot[0]
    thing[4] = pose[2]
    tip = pose[:2] + REACH * torch.stack([pose[2].cos(), pose[2].sin()])
    thing[:2] += tip - centres(thing)
    return thing


def samples_in_scenes(
    scenes: Scenes,
    column: int,
    samples: Mapping[str, Tensor],
    *,
    kind: Kind | None = None,
    half: float = 6.0,
    resolution: int = 240,
) -> Figure:
    """A row per scene, a column per configuration: its samples around the object.

    Panels say which share of the samples succeeds in the very scene that is drawn.

    Parameters
    ----------
    scenes, column : Scenes, int
        A few, all of which are drawn, and the object to reach.
    samples : mapping of configurations to Tensor [n, k, 2]
        World positions for every scene.
    kind, resolution
        See :func:`~dualdiff.plots.robot_scenes.scene`.
    half : float
        Half the side of a panel around the middle of the object, in workspace units.

    Raises
    ------
    ValueError
        If there are no samples, or not as many rows of them as scenes.
    """
    for name, points in samples.items():
        if len(points) != len(scenes):
            raise ValueError(f"{name} has samples of {len(points)} scenes, not of {len(scenes)}")
    if not samples:
        raise ValueError("there are no samples to draw")
    kind = kind or kind_of(scenes, column)
    width = min(8.0, 0.5 + 2.2 * len(samples))
    panel = (width - 0.4) / len(samples)
    size = (width, (panel + 0.2) * len(scenes) + 1.0)
    figure, grid = plt.subplots(len(scenes), len(samples), figsize=size, squeeze=False)
    for index, line in enumerate(grid):
        own = {name: points[index] for name, points in samples.items()}
        _row(line, scenes, index, column, kind, own, half, resolution)
        label(line[0], x=False)
    for axes, name in zip(grid[0], samples, strict=True):
        axes.set_title(f"{LABELS[name]}\n{axes.get_title(loc='left')}", fontsize=9, loc="left")
    for axes in grid[-1]:
        label(axes, y=False)
    legend(figure)
    return figure


def _row(
    line: Sequence[Axes],
    scenes: Scenes,
    index: int,
    column: int,
    kind: Kind,
    samples: Mapping[str, Tensor],
    half: float,
    resolution: int,
) -> None:
    """One scene with the samples ``[k, 2]`` of every configuration."""
    x, y = centres(scenes.objects[index, column]).tolist()
    view = (x - half, x + half, y - half, y + half)
    for axes, (name, points) in zip(line, samples.items(), strict=True):
        look: dict[str, Any] = {"colour": COLOURS[name], "resolution": resolution, "view": view}
        scene(axes, scenes, index, column, kind=kind, samples=points, **look)
        share = float(succeeded(scenes, index, column, kind, points).double().mean())
        axes.set_title(f"{100 * share:.0f} % succeed", fontsize=9, loc="left")
        axes.tick_params(labelleft=axes is line[0])
