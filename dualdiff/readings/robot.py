"""What the robot's two pages read from rows, samples and committed tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from dualdiff.robot import analysis
from dualdiff.robot.analysis import Components, Permutation
from dualdiff.robot.dataset import decode, features_of, from_world
from dualdiff.robot.kinds import KINDS, RADIUS, TYPES
from dualdiff.robot.settings import REFERENCE, SCALES, Scale
from dualdiff.robot.study import REFERENCES
from dualdiff.robot.tasks import can_reach, facing
from dualdiff.robot.world import distance, to_world

THESIS_ROWS = 1_918_048
"""Rows of the thesis's general set (its section 4.2.1)."""


def scale(profile: str, points: int) -> Scale:
    """Sizes of a profile, with so many specialised rows."""
    return replace(SCALES[profile], n_specialised=points)


def beside_references(table: pd.DataFrame) -> pd.DataFrame:
    """The oracle and the uniform draws, which have no setting, as rows of every setting."""
    own = table[table["recipe"] != REFERENCE.name]
    references = table[table["configuration"].isin(REFERENCES)]
    several = [references.assign(recipe=name) for name in own["recipe"].unique()]
    return pd.concat([own, *several], ignore_index=True)


# --- the world --------------------------------------------------------------------------------


def ring(
    frame: str, kind: str, place: tuple[float, float] = (10.0, 10.0), yaw: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Where a robot may stand to reach one object of the mean size of its type, nothing else about.

    Parameters
    ----------
    frame : str
        Of :data:`dualdiff.robot.dataset.FRAMES`.
    kind : str
        Of :data:`dualdiff.robot.kinds.TYPES`.
    place, yaw : (float, float), float
        Of the object's centre, in the workspace.

    Returns
    -------
    Tensor [400, 400, 2], Tensor [400, 400]
        Targets in the frame, on a grid about the object, and whether they succeed.
    """
    made = KINDS[kind]
    sides = torch.tensor([sum(side) / 2 for side in (made.width, made.height or made.width)])
    pose = torch.tensor([*place, *sides, yaw], dtype=torch.float64)
    thing = torch.cat([to_world(-pose[2:4] / 2, pose), pose[2:]])
    side = torch.linspace(-10, 10, 400, dtype=torch.float64)
    about = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).flatten(0, 1)
    places = decode("metric", thing, about)
    reached = can_reach(made, places, facing(places, thing), thing)
    target = from_world(frame, thing.expand(len(places), -1), places)
    good = reached & (distance(places, thing) > RADIUS)
    return target.view(400, 400, 2), good.view(400, 400)


def acceptance(rows: pd.DataFrame) -> pd.DataFrame:
    """How often the oracle's draws succeed, by type, averaged over moves and over draws.

    Columns ``rows``; ``moves``, the share of moves whose first draw succeeded, which is the mean
    over moves of the chance of a draw; ``draws``, successes over all draws, in which crowded
    scenes, which need many draws, count for more.
    """
    lines = {}
    for number, name in enumerate(TYPES):
        own = rows.loc[rows["type"] == number, "draws"]
        if len(own):
            lines[name] = (len(own), float((own == 1).mean()), 1 / float(own.mean()))
    return pd.DataFrame.from_dict(lines, orient="index", columns=["rows", "moves", "draws"])


def typical(shares: Mapping[Any, Tensor]) -> int:
    """The scene that shows best what is true of all: whose shares are nearest to their means.

    Parameters
    ----------
    shares : mapping of models to Tensor [n]
        Of the samples of a model that succeed in each of n scenes.
    """
    each = torch.stack([*shares.values()])
    return int((each - each.mean(1, keepdim=True)).abs().amax(0).argmin())


# --- is it one distribution? ------------------------------------------------------------------


def same_size(
    first: pd.DataFrame, second: pd.DataFrame, generator: torch.Generator, limit: int = 300
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of each of as many random tasks of both sets, at most ``limit``."""
    n = min(limit, first["task"].nunique(), second["task"].nunique())
    return (
        analysis.one_per_task(first, n, generator),
        analysis.one_per_task(second, n, generator),
    )


def components(first: pd.DataFrame, second: pd.DataFrame, *, standardised: bool) -> Components:
    """Principal components of the features of two sets of rows, z-scored or in their own units."""
    x, z = features_of(first), features_of(second)
    if standardised:
        return analysis.principal_components(x, z)
    both = torch.cat([x, z]).double()
    both = both - both.mean(0)
    _, values, vectors = torch.linalg.svd(both, full_matrices=False)
    projected = both @ vectors[:2].T
    return Components(projected[: len(x)], projected[len(x) :], values**2 / (values**2).sum())


def plane_overlap(found: Components) -> float:
    """Mass that two sets share in the plane of their first two components, on 10 x 10 cells."""
    return analysis.overlap_coefficient(found.first, found.second, bins=10)


def two_sample_test(x: Tensor, z: Tensor, generator: torch.Generator) -> Permutation:
    """Whether rows ``x [n, d]`` and ``z [m, d]`` have one distribution, by a permutation test.

    Columns are z-scored with the moments of both sets; constant ones are left out.
    """
    both = torch.cat([x, z]).double()
    varies = both.std(0) > 1e-9
    scores = ((both - both.mean(0)) / both.std(0))[:, varies]
    return analysis.permutation_test(scores[: len(x)], scores[len(x) :], generator)
