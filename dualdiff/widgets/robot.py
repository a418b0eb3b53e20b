"""A move of the robot as a stage of the composition widget."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from dualdiff.experiments.store import Store
from dualdiff.randomness import stream
from dualdiff.robot.dataset import SPECIAL, decode, from_world
from dualdiff.robot.judge import column_of, oracle_places
from dualdiff.robot.kinds import KINDS, RADIUS, SIDE
from dualdiff.robot.members import Networks
from dualdiff.robot.scenes import Scenes, fresh_scenes
from dualdiff.robot.settings import SCALES, SETTINGS
from dualdiff.robot.study import unseen
from dualdiff.robot.tasks import execute
from dualdiff.robot.world import corners
from dualdiff.widgets.base import Refused
from dualdiff.widgets.stages import Grid, Normal, Outline, Panel, Stage, contours, midpoints

Corner = tuple[float, float]
CELLS, FINE = 12, 96
"""Cells along a side of the robot's grids: of the law, and of the places that succeed."""
AWAY = 5.0
"""From the ball to the edges of the grids: more than disc and arm together."""
SCENES = 25
DRAWS = 20_000
"""Oracle draws from which the law of a condition is known."""


def robot_stage(networks: Networks) -> Stage:
    """A move to a ball: networks of the robot study in the frame *metric*, in one scene.

    Of the first :data:`SCENES` test rows whose ball lies far enough from the walls, each with a
    fresh scene, the one of median difficulty: the share of places that succeed.

    Raises
    ------
    Refused
        For networks of another frame or normalisation, or without such a row.
    """
    setting = networks.setting
    if setting.frame != "metric" or setting.normalisation != "z-score" or setting.told:
        raise Refused(
            f"setting must be in frame 'metric' with z-scores and not told the type, "
            f"not {setting.name!r}"
        )
    kind, features = KINDS[SPECIAL], unseen(networks).features
    away = ((features[:, :2] > AWAY) & (features[:, :2] < SIDE - AWAY)).all(1)
    if not bool(away.any()):
        raise Refused(f"the test rows have no ball {AWAY:g} units away from all walls")
    rows = features[away][:SCENES]
    source = stream(networks.seed, "widget", "robot")
    scenes = fresh_scenes(kind, rows, source)
    # Further than the box of offsets, from which the oracle draws: elsewhere it works as well.
    low, high = (-AWAY, -AWAY), (AWAY, AWAY)
    places = decode("metric", rows[:, None], midpoints(low, high, FINE).view(1, -1, 2))
    succeed = execute(scenes, kind, column_of(kind), places).success
    chosen = succeed.double().mean(1).argsort()[len(rows) // 2][None]
    row, scenes = rows[chosen], scenes.rows(chosen)
    inside = succeed[chosen].view(FINE, FINE)
    law = _law(row, low, high, source)
    general, specialised = networks.general.network, networks.specialised.network
    return Stage(
        title="robot, trained networks",
        note=(
            "The robot (disc) has to reach the ball (filled square) with its arm and touch "
            "nothing. Dots are places where the two networks would stand; the dashed outline holds "
            "the places from which it works in this very scene, whose obstacles neither network "
            "sees. The general network has never seen a ball, the specialised one "
            f"{networks.scale.n_specialised} moves to one."
        ),
        inside="share that reaches the ball in this scene",
        members={
            "general": general,
            "specialised": specialised,
            "unconditional": Normal(general.process),
        },
        target=Grid(low, high, law, inside),
        panels=[_robot_panel(scenes, row, low, high, inside)],
        condition=tuple(networks.conditions(row)[0].tolist()),
        framed=False,
        names={"truth": "places that reach the ball", "object": "objects, robot"},
    )


def _law(row: Tensor, low: Corner, high: Corner, source: torch.Generator) -> Tensor:
    """Masses of the law of targets at a condition, over all that the condition leaves open."""
    drawn = oracle_places(KINDS[SPECIAL], row, DRAWS, source)[0].float()
    metric = from_world("metric", row, drawn)
    unit = (metric - torch.tensor(low)) / (torch.tensor(high) - torch.tensor(low))
    index = (unit * CELLS).floor().long().clamp(0, CELLS - 1)
    counts = torch.bincount(index[:, 0] * CELLS + index[:, 1], minlength=CELLS**2)
    return counts.double().view(CELLS, CELLS) / len(drawn)


def _robot_panel(scenes: Scenes, row: Tensor, low: Corner, high: Corner, inside: Tensor) -> Panel:
    origin = decode("metric", row, torch.zeros(1, 2))[0]
    rows = torch.stack([decode("metric", row, e[None])[0] - origin for e in torch.eye(2)], 1)
    affine = torch.cat([rows, origin[:, None]], 1).double()
    lines = [
        (torch.tensor(line).double() @ affine[:, :2].T + affine[:, 2]).tolist()
        for line in contours(inside.double().numpy(), low, high, 0.5)
    ]
    objects = [c.tolist() for c in corners(scenes.objects[0][scenes.present[0]])]
    angle = torch.linspace(0, 2 * math.pi, 49)[:-1]
    robot = scenes.robot[0, :2] + RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    ball = corners(scenes.objects[0, column_of(KINDS[SPECIAL])][None])[0].tolist()
    return Panel(
        "the room from above",
        (0, 1),
        (0.0, SIDE),
        (0.0, SIDE),
        ("x", "y"),
        [
            Outline("object", [*objects, robot.tolist()], 0.12),
            Outline("object", [ball], 1.0),
            Outline("truth", lines, 0.05),
        ],
        map=affine.tolist(),
    )


def small_robot(profile: str, seed: int, store: Store, quiet: bool = True) -> Networks:
    """The robot study's networks of frame *metric*, half as wide: small enough to send."""
    setting = SETTINGS["metric"]
    narrow = replace(setting.recipe, architecture=replace(setting.recipe.architecture, width=128))
    return Networks(replace(setting, recipe=narrow), SCALES[profile], seed, store, quiet)
