"""What targets are worth: executed in fresh scenes, and compared with oracle draws.

All scores are means over conditions with a 95 % interval. Moves of one task resemble each other,
so the task is the unit of every interval.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from dualdiff.metrics import Estimate
from dualdiff.robot.kinds import SIDE, Kind, environment_of
from dualdiff.robot.scenes import Scenes, fresh_scenes
from dualdiff.robot.tasks import draw_offsets, execute, oracle, position

NEIGHBOURS = 5
ATTEMPTS = 50
"""Scenes drawn for a condition until one has a target that succeeds."""


def mean_by_task(values: Tensor, tasks: Tensor) -> Estimate:
    r"""Mean of ``values [n]`` over conditions, with the error of a sample of whole tasks.

    With sums :math:`e_g` of the residuals of task g of G the standard error is
    :math:`\sqrt{\tfrac{G}{G-1} \sum_g e_g^2} / n` (Cochran 1977, Sampling Techniques, section
    9A). With one task the bounds are nan.

    Raises
    ------
    ValueError
        For shapes that differ or no values.
    """
    if values.ndim != 1 or values.shape != tasks.shape or len(values) == 0:
        raise ValueError(
            f"values and tasks must be two vectors of one length >= 1, "
            f"not of shapes {list(values.shape)} and {list(tasks.shape)}"
        )
    v = values.double().numpy()
    mean = float(v.mean())
    _, group = np.unique(tasks.numpy(), return_inverse=True)
    residuals = np.bincount(group, v - mean)
    g = len(residuals)
    if g < 2:
        return Estimate(mean, math.nan, math.nan)
    error = math.sqrt(g / (g - 1) * float((residuals**2).sum())) / len(v)
    margin = float(student.ppf(0.975, g - 1)) * error
    return Estimate(mean, mean - margin, mean + margin)


def column_of(kind: Kind) -> int:
    """Where :func:`~dualdiff.robot.scenes.fresh_scenes` puts the object of a condition."""
    return int(kind == environment_of(kind.name).pickable)


def alone(scenes: Scenes, column: int) -> Scenes:
    """The scenes with all objects but that of one column taken away."""
    present = torch.zeros_like(scenes.present)
    present[:, column] = scenes.present[:, column]
    return Scenes(scenes.environment, scenes.objects, present, scenes.robot)


RATES = ("success", "collision", "out_of_reach", "invalid", "geometry")


def success_rates(
    kind: Kind, features: Tensor, places: Tensor, tasks: Tensor, generator: torch.Generator
) -> dict[str, Estimate]:
    """Rates of what becomes of targets that are executed in one fresh scene per condition.

    Parameters
    ----------
    kind : Kind
    features : Tensor [n, 10]
    places : Tensor [n, k, 2]
        World positions; all k of a condition are tried in the same scene.
    tasks : Tensor [n]
    generator : torch.Generator
        Draws the scenes: the same for every configuration that is given the same generator.

    Returns
    -------
    dict
        :data:`RATES`: ``success``; ``collision`` and ``out_of_reach``, which may hold together;
        ``invalid``; and ``geometry``, the success with no other object about: what a model can
        learn that does not see the obstacles.
    """
    scenes = fresh_scenes(kind, features, generator)
    column = column_of(kind)
    rates = execute(scenes, kind, column, places)._asdict()
    rates["geometry"] = execute(alone(scenes, column), kind, column, places).success
    return {name: mean_by_task(flags.double().mean(1), tasks) for name, flags in rates.items()}


def oracle_places(kind: Kind, features: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """True targets of conditions whose obstacles are not known, world positions ``[n, draws, 2]``.

    Every draw is an oracle's, in a fresh scene of its own. Scenes in which nothing succeeds are
    drawn again: a task gives no row there.

    Raises
    ------
    RuntimeError
        If a condition has no target in 50 scenes.
    """
    every = features.repeat_interleave(draws, 0)
    out = every.new_empty(len(every), 2, dtype=torch.float64)
    left = torch.arange(len(every))
    for _ in range(ATTEMPTS):
        if len(left) == 0:
            return out.view(len(features), draws, 2)
        scenes = fresh_scenes(kind, every[left], generator)
        drawn = oracle(scenes, kind, column_of(kind), generator, limit=1_000)
        goal = scenes.objects[drawn.found, column_of(kind)]
        out[left[drawn.found]] = position(drawn.offsets[drawn.found], goal).clamp(0, SIDE)
        left = left[~drawn.found]
    raise RuntimeError(
        f"{len(left)} draws found no target in {ATTEMPTS} scenes each: are these conditions of a "
        f"{kind.name} that has room about it?"
    )


def uniform_places(kind: Kind, features: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Uniform draws from the offset box, world positions ``[n, draws, 2]``: the floor."""
    offsets = draw_offsets(kind, generator, len(features), draws)
    return position(offsets, features[:, None, :5].double()).clamp(0, SIDE)


class Distances(NamedTuple):
    """Distances within the samples, within the truth, and between, ``[n, k, k]``."""

    own: Tensor
    truth: Tensor
    across: Tensor


def _distances(places: Tensor, truth: Tensor) -> Distances:
    exact = "donot_use_mm_for_euclid_dist"  # the fast mode loses digits of short distances
    pairs = ((places, places), (truth, truth), (places, truth))
    return Distances(*(torch.cdist(a, b, compute_mode=exact) for a, b in pairs))


def law_scores(places: Tensor, truth: Tensor, tasks: Tensor) -> dict[str, Estimate]:
    r"""Energy distance and coverage of every condition's samples against its oracle draws.

    .. math:: 2 E\lVert X - Z \rVert - E\lVert X - X' \rVert - E\lVert Z - Z' \rVert

    in units of the workspace, unbiased, and the share of the true points' balls (to the fifth
    neighbour) that hold a sample (Naeem et al. 2020). As
    :func:`dualdiff.metrics.energy_distance` and ``neighbour_scores``, for all conditions at once.

    Parameters
    ----------
    places, truth : Tensor [n, k, 2], [n, m, 2]
        World positions; those of the samples are clipped to the workspace first, as a move is.
    tasks : Tensor [n]

    Raises
    ------
    ValueError
        If there are too few draws, or some samples are not finite.
    """
    k, m = places.shape[1], truth.shape[1]
    if k < 2 or m <= NEIGHBOURS:
        raise ValueError(
            f"places and truth must have at least 2 and {NEIGHBOURS + 1} draws per condition, "
            f"not {k} and {m}"
        )
    if not bool(torch.isfinite(places).all()):
        raise ValueError("places must be finite; some samples are NaN or infinite")
    energy, coverage = [], []
    clipped = places.double().clamp(0, SIDE)
    for x, z in zip(clipped.split(256), truth.double().split(256), strict=True):
        own, true, across = _distances(x, z)
        within = own.sum((1, 2)) / (k * (k - 1)) + true.sum((1, 2)) / (m * (m - 1))
        energy.append(2 * across.mean((1, 2)) - within)
        radius = true.kthvalue(NEIGHBOURS + 1, dim=2).values  # the nearest is the point itself
        coverage.append((across.amin(1) <= radius).double().mean(1))
    return {
        "energy_distance": mean_by_task(torch.cat(energy), tasks),
        "coverage": mean_by_task(torch.cat(coverage), tasks),
    }
