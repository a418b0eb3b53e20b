"""The ten types of objects and the five environments: sizes, offsets, what the arm has to meet.

The workspace is ``[0, 20]^2``; all lengths are in its units, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SIDE = 20.0
"""Side of the square workspace."""
RADIUS = 2.0
"""Radius of the robot's disc."""
REACH = 4.0
"""From the centre of the disc to the tip of the arm stretched out."""
OBSTACLES = (18, 19)

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """A type of object.

    Parameters
    ----------
    name : str
    width, height : (float, float)
        Sizes are uniform in these ranges; ``height`` None: a square.
    box : ((float, float), (float, float))
        Range of the offsets (ox, oy) that a move to it may ask for, in units of its sides.
    part : {"all", "left edge", "ends"}
        Where the arm must meet it: anywhere, at a cup's handle, at a tray's two grips.
    """

    name: str
    width: Range
    height: Range | None
    box: tuple[Range, Range]
    part: Literal["all", "left edge", "ends"] = "all"


@dataclass(frozen=True)
class Environment:
    """What can be picked up, where it belongs, and how many things a task moves."""

    name: str
    pickable: Kind
    container: Kind
    goals: tuple[int, int]
    at_wall: bool = False

    def kind(self, name: str) -> Kind:
        """The one of its two types that has this name."""
        return self.pickable if name == self.pickable.name else self.container


WIDE: tuple[Range, Range] = ((-8.0, 9.0), (-8.0, 9.0))
FLAT: tuple[Range, Range] = ((-8.0, 9.0), (-4.0, 5.0))
ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment(
            "ball, bin",
            Kind("Ball", (0.25, 0.5), None, WIDE),
            Kind("Bin", (4, 6), None, WIDE),
            (8, 9),
        ),
        Environment(
            "book, shelf",
            Kind("Book", (0.5, 1), (1, 1.5), FLAT),
            Kind("Shelf", (5, 10), (2, 5), FLAT),
            (4, 5),
        ),
        Environment(
            "cup, cupboard",
            Kind("Cup", (0.5, 1), None, WIDE, part="left edge"),
            Kind("Cupboard", (5, 10), (2, 5), WIDE),
            (4, 5),
            at_wall=True,
        ),
        Environment(
            "box, tray",
            Kind("Box", (0.5, 1), (1, 1.5), FLAT),
            Kind("Tray", (11, 13), (3, 5), FLAT, part="ends"),
            (4, 5),
        ),
        Environment(
            "stick, basket",
            Kind("Stick", (0.5, 1), (5, 6), FLAT),
            Kind("Basket", (7, 10), (3, 5), FLAT),
            (2, 3),
        ),
    )
}
KINDS = {k.name: k for e in ENVIRONMENTS.values() for k in (e.pickable, e.container)}
TYPES = tuple(sorted(KINDS))
"""Names of all types, in the order of their index in the data."""
FEATURES = (
    "obj_x",
    "obj_y",
    "obj_w",
    "obj_h",
    "obj_yaw",
    "held",
    "robot_x",
    "robot_y",
    "robot_yaw",
    "gripper_free",
)
"""Columns of a condition."""


def environment_of(kind: str) -> Environment:
    """The environment in which a type occurs.

    Raises
    ------
    ValueError
        If there is no such type.
    """
    for environment in ENVIRONMENTS.values():
        if kind in (environment.pickable.name, environment.container.name):
            return environment
    raise ValueError(f"object type must be one of {', '.join(TYPES)}, not {kind!r}")
