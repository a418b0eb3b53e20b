"""Scenes drawn from the five environments.

The workspace is ``[0, 20]^2``; all lengths are in its units, angles in radians.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualdiff.robot.kinds import (
    FEATURES,
    OBSTACLES,
    RADIUS,
    REACH,
    SIDE,
    Environment,
    Kind,
    environment_of,
)
from dualdiff.robot.world import corners, distance, rectangles_meet, rotated

TRIES = 10_000
"""Poses tried for an object before a scene counts as full."""


@dataclass
class Scenes:
    """Several scenes of one environment.

    Parameters
    ----------
    environment : Environment
    objects : Tensor [n, M, 5]
        Rectangles: the container, then the goals, then the obstacles.
    present : Tensor [n, M]
        Which of them lie in the scene: not those that a scene has fewer of, nor what the robot
        holds or has put into the container, whose rectangle covers it.
    robot : Tensor [n, 3]
        Its x, y, yaw.
    """

    environment: Environment
    objects: Tensor
    present: Tensor
    robot: Tensor

    def __len__(self) -> int:
        return len(self.robot)

    @property
    def goals(self) -> int:
        """Columns that are kept for goals."""
        return self.environment.goals[1]

    def rows(self, index: Tensor) -> Scenes:
        """Some of the scenes, copied."""
        parts = (self.objects[index], self.present[index], self.robot[index])
        return Scenes(self.environment, *parts)


# --- drawing scenes ---------------------------------------------------------------------------


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    unit = torch.rand(*shape, generator=generator, dtype=torch.float64)
    return low + (high - low) * unit


def draw_sizes(kind: Kind, generator: torch.Generator, *shape: int) -> Tensor:
    """Sides of objects of a type, ``[*shape, 2]``."""
    width = _uniform(generator, *kind.width, *shape)
    height = width if kind.height is None else _uniform(generator, *kind.height, *shape)
    return torch.stack([width, height], dim=-1)


def draw_poses(generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform x, y, yaw, ``[*shape, 3]``."""
    place = _uniform(generator, 0, SIDE, *shape, 2)
    return torch.cat([place, _uniform(generator, -math.pi, math.pi, *shape, 1)], dim=-1)


def _at_wall(sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Poses of rectangles whose lower side lies on one of the four walls, ``[n, 3]``."""
    quarter = torch.randint(4, (len(sizes),), generator=generator).double() * (math.pi / 2)
    along = _uniform(generator, 0, 1, len(sizes)) * (SIDE - sizes[:, 0])
    corner = torch.stack([along, torch.zeros_like(along)], dim=1)
    # A quarter turn of the workspace about its middle takes one wall to the next.
    corner = rotated(corner - SIDE / 2, quarter) + SIDE / 2
    yaw = torch.remainder(quarter + math.pi, 2 * math.pi) - math.pi
    return torch.cat([corner, yaw.unsqueeze(1)], dim=1)


Pose = Callable[[Tensor], Tensor]
"""Sizes ``[n, 2]`` to proposed poses ``[n, 3]``."""


class _Drawing:
    """Scenes that are being drawn, one column of objects at a time."""

    def __init__(self, environment: Environment, n: int, generator: torch.Generator) -> None:
        columns = 1 + environment.goals[1] + OBSTACLES[1]
        objects = torch.zeros(n, columns, 5, dtype=torch.float64)
        present = torch.zeros(n, columns, dtype=torch.bool)
        robot = torch.full((n, 3), math.nan, dtype=torch.float64)
        self.scenes = Scenes(environment, objects, present, robot)
        self.generator = generator

    def poses(self, sizes: Tensor) -> Tensor:
        """Uniform proposals."""
        return draw_poses(self.generator, len(sizes))

    def place(
        self,
        column: int,
        sizes: Tensor,
        wanted: Tensor,
        poses: Pose,
        allowed: Callable[[Tensor, Tensor], Tensor],
        accepted: Callable[[Tensor, Tensor], None] = lambda index, proposals: None,
    ) -> None:
        """Put an object into every scene that is ``wanted [n]``: propose until it is allowed.

        ``allowed(index, rectangles)`` judges proposals for the scenes of an index;
        ``accepted(index, proposals)`` hears which proposals, by their place in the last call of
        ``allowed``, were taken for which scenes.
        """
        left = wanted.nonzero().squeeze(1)
        for _ in range(TRIES):
            if len(left) == 0:
                return
            # The fewer scenes are left, the more proposals for each; the first good one counts.
            each = min(max(1, len(self.scenes) // len(left)), 256)
            index = left.repeat_interleave(each)
            pose = poses(sizes[index])
            proposed = torch.cat([pose[:, :2], sizes[index], pose[:, 2:]], dim=1)
            good = allowed(index, proposed).view(-1, each)
            found = good.any(1)
            taken = torch.arange(0, len(index), each) + good.to(torch.uint8).argmax(1)
            self.scenes.objects[left[found], column] = proposed[taken[found]]
            self.scenes.present[left[found], column] = True
            accepted(left[found], taken[found])
            left = left[~found]
        raise RuntimeError(
            f"{len(left)} scenes of {self.scenes.environment.name} have no room for object "
            f"{column} after {TRIES} tries"
        )

    def free(self, *, of_container: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """Whether proposals meet no object that is there, nor the robot."""
        first = 0 if of_container else 1

        def allowed(index: Tensor, proposed: Tensor) -> Tensor:
            others = self.scenes.objects[index, first:]
            meets = rectangles_meet(proposed[:, None], others)
            meets &= self.scenes.present[index, first:]
            robot = self.scenes.robot[index, :2]
            return ~meets.any(1) & ~(distance(robot, proposed) <= RADIUS)

        return allowed

    def container(
        self,
        extra: Callable[[Tensor, Tensor], Tensor] = lambda index, proposed: index >= 0,
        accepted: Callable[[Tensor, Tensor], None] = lambda index, proposals: None,
    ) -> None:
        """The container, inside the workspace or at a wall, where ``extra`` allows it too."""
        sizes = draw_sizes(self.scenes.environment.container, self.generator, len(self.scenes))
        everywhere = torch.ones(len(self.scenes), dtype=torch.bool)
        at_wall = self.scenes.environment.at_wall
        free = self.free(of_container=False)

        def allowed(index: Tensor, proposed: Tensor) -> Tensor:
            edge = corners(proposed)
            inside = ((edge >= -1e-9) & (edge <= SIDE + 1e-9)).all(2).all(1)
            return inside & free(index, proposed) & extra(index, proposed)

        def poses(sizes: Tensor) -> Tensor:
            return _at_wall(sizes, self.generator) if at_wall else self.poses(sizes)

        self.place(0, sizes, everywhere, poses, allowed, accepted)

    def put_robot(self) -> None:
        """A uniform pose whose disc does not touch the container."""
        left = torch.arange(len(self.scenes))
        while len(left):
            pose = self.poses(self.scenes.objects[left, 0, 2:4])
            clear = distance(pose[:, :2], self.scenes.objects[left, 0]) > RADIUS
            self.scenes.robot[left[clear]] = pose[clear]
            left = left[~clear]

    def goals(self, first: int, wanted: Tensor) -> None:
        """Goals from column ``first`` on, in the scenes of ``wanted [n, goals]``."""
        kind = self.scenes.environment.pickable
        for column in range(first, 1 + self.scenes.goals):
            sizes = draw_sizes(kind, self.generator, len(self.scenes))
            free = self.free(of_container=True)
            self.place(column, sizes, wanted[:, column - 1], self.poses, free)

    def obstacles(self) -> None:
        """18 or 19 objects of the pickable type; they may lie on the container."""
        n, kind = len(self.scenes), self.scenes.environment.pickable
        more = torch.randint(2, (n,), generator=self.generator) == 1
        for k in range(OBSTACLES[1]):
            wanted = more if k == OBSTACLES[0] else torch.ones(n, dtype=torch.bool)
            sizes = draw_sizes(kind, self.generator, n)
            column = 1 + self.scenes.goals + k
            self.place(column, sizes, wanted, self.poses, self.free(of_container=False))


def _number_of_goals(environment: Environment, n: int, generator: torch.Generator) -> Tensor:
    low, high = environment.goals
    return torch.randint(low, high + 1, (n,), generator=generator)


def draw_scenes(environment: Environment, n: int, generator: torch.Generator) -> Scenes:
    """Fresh scenes at the start of a task.

    In this order: the container (a uniform pose inside the workspace, a cupboard against a wall),
    the robot (a uniform pose whose disc does not touch it), the goals (uniform poses that meet
    nothing, edges of the workspace apart), 18 or 19 obstacles (the same, but they may lie on the
    container).

    Raises
    ------
    ValueError
        For fewer than one scene.
    RuntimeError
        If a scene has no room for an object.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1 scene, not {n}")
    drawing = _Drawing(environment, n, generator)
    drawing.container()
    drawing.put_robot()
    number = _number_of_goals(environment, n, generator)
    drawing.goals(1, torch.arange(environment.goals[1]) < number[:, None])
    drawing.obstacles()
    return drawing.scenes


def _placed(number: Tensor, generator: torch.Generator) -> Tensor:
    """How many of ``number [n]`` goals lie in the container, uniform on 0 .. number - 1."""
    share = torch.rand(len(number), generator=generator, dtype=torch.float32)
    return (share * number).long()


def _ring(rectangles: Tensor) -> Tensor:
    """Area within reach of rectangles but not touching the robot there, ``[n]``."""
    sides = 2 * rectangles[:, 2:4].sum(1)
    return sides * (REACH - RADIUS) + math.pi * (REACH**2 - RADIUS**2)


def fresh_scenes(kind: Kind, features: Tensor, generator: torch.Generator) -> Scenes:
    r"""One scene for every condition: its object and its robot, all else drawn anew.

    The object stands in column 1 if it is picked up and in column 0 if it is a container. How many
    goals lie in the container by now is uniform a priori. Before the first of them the robot stands
    anywhere, with density :math:`1 / 20^2`, later within reach of the container, with density one
    over the area of that ring: the container and the number are drawn given the robot's place by
    Bayes' rule. What the robot's yaw says about the container is not used.

    Parameters
    ----------
    kind : Kind
        Type of the object in all rows.
    features : Tensor [n, 10]
        Columns :data:`FEATURES`.
    generator : torch.Generator

    Raises
    ------
    ValueError
        If the features have another shape or are not finite.
    RuntimeError
        If a scene has no room for an object.
    """
    if features.ndim != 2 or features.shape[1] != len(FEATURES) or len(features) == 0:
        raise ValueError(
            f"features must have shape [n >= 1, {len(FEATURES)}], not {list(features.shape)}"
        )
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features must be finite; some are NaN or infinite")
    environment, n = environment_of(kind.name), len(features)
    drawing = _Drawing(environment, n, generator)
    scenes = drawing.scenes
    scenes.robot[:] = features[:, 6:9]
    target = features[:, :5].double()
    number = _number_of_goals(environment, n, generator)
    column = 0 if kind == environment.container else 1
    scenes.objects[:, column], scenes.present[:, column] = target, True
    placed = _placed(number, generator)
    if column:
        tried = placed

        def plausible(index: Tensor, proposed: Tensor) -> Tensor:
            nonlocal tried
            tried = _placed(number[index], generator)
            near = distance(scenes.robot[index, :2], proposed) <= REACH
            share = torch.rand(len(index), generator=generator, dtype=torch.float32)
            first = share * SIDE**2 < _ring(proposed)
            return torch.where(tried == 0, first, near)

        def keep(index: Tensor, proposals: Tensor) -> None:
            placed[index] = tried[proposals]

        drawing.container(plausible, keep)
    # The object itself is one of the goals, or in the robot's hand.
    others = torch.arange(environment.goals[1]) < (number - placed)[:, None]
    drawing.goals(2, others)
    drawing.obstacles()
    return scenes
