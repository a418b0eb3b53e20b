"""Moving to an object, the targets that succeed, and whole tasks of pick and place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dualdiff.robot.kinds import RADIUS, REACH, SIDE, Kind
from dualdiff.robot.scenes import Scenes
from dualdiff.robot.world import distance, nearest, segment_meets, to_world

FAR = 10 * SIDE
"""A target further than this outside the workspace is refused, not clipped onto a wall."""
LIMIT = 5_000
"""Draws after which the oracle gives a target up and the task ends."""
BATCH = 1 << 15  # draws looked at together: they and what is computed of them fit a core's cache


def position(offsets: Tensor, rectangles: Tensor) -> Tensor:
    r"""Where a move goes: :math:`(x, y) + R(\mathrm{yaw}) (w\, o_x, h\, o_y)`, not yet clipped.

    ``offsets [..., 2]`` in units of the object's sides, ``rectangles [..., 5]``.
    """
    return to_world(offsets * rectangles[..., 2:4], rectangles)


def facing(positions: Tensor, rectangles: Tensor) -> Tensor:
    """The yaw at which the robot stops: towards the nearest point of the object, ``[...]``."""
    towards = nearest(positions, rectangles) - positions
    return torch.atan2(towards[..., 1], towards[..., 0])


def parts(kind: Kind, rectangles: Tensor) -> list[Tensor]:
    """What of an object the arm has to meet, as rectangles; any of them will do.

    A cup's handle is its edge from (0, 0) to (0, h), a tray's grips are the squares of side h at
    its two ends.
    """
    x, y, w, h, yaw = rectangles.unbind(-1)
    if kind.part == "left edge":
        return [torch.stack([x, y, torch.zeros_like(w), h, yaw], dim=-1)]
    if kind.part == "ends":
        other = to_world(torch.stack([w - h, torch.zeros_like(h)], dim=-1), rectangles)
        grip = torch.minimum(w, h)
        return [
            torch.stack([x, y, grip, h, yaw], dim=-1),
            torch.cat([other, torch.stack([grip, h, yaw], dim=-1)], dim=-1),
        ]
    return [rectangles]


def can_reach(kind: Kind, positions: Tensor, yaw: Tensor, rectangles: Tensor) -> Tensor:
    """Whether the arm, a segment of length 4 along ``yaw``, meets what it has to."""
    tip = positions + REACH * torch.stack([yaw.cos(), yaw.sin()], dim=-1)
    found = [segment_meets(positions, tip, part) for part in parts(kind, rectangles)]
    return torch.stack(found).any(0)


class Outcome(NamedTuple):
    """What became of moves, bool tensors of one shape.

    ``invalid``: not finite or far outside the workspace, so nothing moved; ``collision``: the
    robot's disc touches an object; ``out_of_reach``: the arm does not meet the object (both may
    hold); ``success``: none of them.
    """

    success: Tensor
    collision: Tensor
    out_of_reach: Tensor
    invalid: Tensor


def execute(scenes: Scenes, kind: Kind, column: int, targets: Tensor) -> Outcome:
    """Send the robot to ``targets [n, k, 2]``, world positions, each in its own copy of the scene.

    Targets outside the workspace are clipped onto its edge, as the robot would be stopped there.

    Parameters
    ----------
    scenes : Scenes
        n of them.
    kind : Kind
        Type of the object to reach.
    column : int
        Its column in the scenes.
    targets : Tensor [n, k, 2]
        Any numbers.

    Returns
    -------
    Outcome, each [n, k]

    Raises
    ------
    ValueError
        For another shape.
    """
    if targets.ndim != 3 or targets.shape[2] != 2 or len(targets) != len(scenes):
        raise ValueError(
            f"targets must have shape [{len(scenes)}, k, 2], not {list(targets.shape)}"
        )
    targets = targets.double()
    beyond = (targets - targets.clamp(0, SIDE)).abs().amax(-1)
    invalid = ~(beyond <= FAR)  # of NaN too
    place = torch.where(invalid[..., None], 0.0, targets.clamp(0, SIDE))
    goal = scenes.objects[:, None, column]
    reached = can_reach(kind, place, facing(place, goal), goal)
    index = torch.arange(len(scenes)).repeat_interleave(targets.shape[1])
    touched = touches(scenes, index, place.flatten(0, 1)).view(invalid.shape)
    success = reached & ~touched & ~invalid
    return Outcome(success, touched & ~invalid, ~reached & ~invalid, invalid)


def touches(scenes: Scenes, index: Tensor, places: Tensor) -> Tensor:
    """Whether the robot at ``places [q, 2]`` touches an object of its scene, ``index [q]``: [q]."""
    found = []
    for some, place in zip(index.split(BATCH), places.split(BATCH), strict=True):
        near = distance(place[:, None], scenes.objects[some]) <= RADIUS
        found.append((near & scenes.present[some]).any(1))
    return torch.cat(found)


# --- the oracle -------------------------------------------------------------------------------


class Targets(NamedTuple):
    """Targets that succeed: offsets ``[n, 2]``, whether one was found, draws that it took."""

    offsets: Tensor
    found: Tensor
    draws: Tensor


def draw_offsets(kind: Kind, generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform offsets of the type's box, ``[*shape, 2]``."""
    low, high = torch.tensor(kind.box, dtype=torch.float64).unbind(1)
    return low + (high - low) * torch.rand(*shape, 2, generator=generator, dtype=torch.float64)


def oracle(
    scenes: Scenes, kind: Kind, column: int, generator: torch.Generator, *, limit: int = LIMIT
) -> Targets:
    """A target that succeeds for every scene: the first success of uniform draws from the box.

    So it is uniform on the feasible offsets, exactly. A scene without success in ``limit`` draws is
    given up (``found`` is False and the offsets are NaN).
    """
    n = len(scenes)
    offsets = torch.full((n, 2), torch.nan, dtype=torch.float64)
    found, draws = torch.zeros(n, dtype=torch.bool), torch.zeros(n, dtype=torch.long)
    left = torch.arange(n)
    so_far, at_once = 0, 16
    while len(left) and so_far < limit:
        at_once = min(at_once, limit - so_far)
        for rows in left.split(max(1, BATCH // at_once)):
            tried = draw_offsets(kind, generator, len(rows), at_once)
            good = _succeeds(scenes, kind, column, rows, tried)
            hit, first = good.any(1), good.to(torch.uint8).argmax(1)
            offsets[rows[hit]] = tried[hit, first[hit]]
            found[rows] |= hit
            draws[rows] += torch.where(hit, first + 1, at_once)
        left = left[~found[left]]
        so_far, at_once = so_far + at_once, min(2 * at_once, 512)
    return Targets(offsets, found, draws)


def _succeeds(scenes: Scenes, kind: Kind, column: int, rows: Tensor, offsets: Tensor) -> Tensor:
    """Success of ``offsets [r, k, 2]`` in the scenes ``rows [r]``, what is cheap first: [r, k]."""
    goal = scenes.objects[rows, None, column]
    place = position(offsets, goal).clamp(0, SIDE)
    gap = distance(place, goal)
    which = ((gap > RADIUS) & (gap <= REACH)).nonzero()
    at, own = place[which[:, 0], which[:, 1]], goal[which[:, 0], 0]
    good = torch.zeros(gap.shape, dtype=torch.bool)
    if kind.part != "all":
        reached = can_reach(kind, at, facing(at, own), own)
        which, at = which[reached], at[reached]
    clear = ~touches(scenes, rows[which[:, 0]], at)
    good[which[clear, 0], which[clear, 1]] = True
    return good


# --- tasks ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Move:
    """One navigate_to in several tasks, as it was about to happen.

    Parameters
    ----------
    kind : Kind
    index : Tensor [m]
        The tasks, by their number in the call.
    features : Tensor [m, 10]
    offsets : Tensor [m, 2]
        The oracle's target.
    draws : Tensor [m]
        Draws that the oracle needed.
    """

    kind: Kind
    index: Tensor
    features: Tensor
    offsets: Tensor
    draws: Tensor


def observe(scenes: Scenes, kind: Kind, column: int) -> Tensor:
    """The condition of a move to an object, columns :data:`FEATURES`: ``[n, 10]``."""
    free = float(kind == scenes.environment.pickable)  # a container is gone to with a full gripper
    held, gripper = torch.zeros(len(scenes), 1), torch.full((len(scenes), 1), free)
    return torch.cat([scenes.objects[:, column], held, scenes.robot, gripper], dim=1)


def perform(scenes: Scenes, generator: torch.Generator) -> Iterator[Move]:
    """Run the tasks of all scenes: go to a goal, pick it up, go to the container, put it in.

    Every move starts where the last one ended. What is picked up, or lies in the container, is in
    nobody's way. A task ends when its goals are used up, or where the oracle finds no target.
    ``scenes`` is changed as the tasks go on; yields every move after it was made.
    """
    alive = torch.arange(len(scenes))
    for goal in range(1, 1 + scenes.goals):
        alive = alive[scenes.present[alive, goal]]
        for kind, column in (
            (scenes.environment.pickable, goal),
            (scenes.environment.container, 0),
        ):
            if len(alive) == 0:
                return
            now = scenes.rows(alive)
            drawn = oracle(now, kind, column, generator)
            features = observe(now, kind, column)[drawn.found]
            alive, offsets = alive[drawn.found], drawn.offsets[drawn.found]
            target = scenes.objects[alive, column]
            place = position(offsets, target).clamp(0, SIDE)
            yaw = facing(place, target)
            scenes.robot[alive] = torch.cat([place, yaw[:, None]], dim=1)
            if column:
                scenes.present[alive, column] = False
            yield Move(kind, alive, features, offsets, drawn.draws[drawn.found])
