"""Scenes of composition: a general and a specialised exact model whose product is known."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from dualdiff import metrics
from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser
from dualdiff.exact import Exact, ExactMixture, exact_denoiser
from dualdiff.experiments.rules import RULES
from dualdiff.experiments.scenarios import Scenario, cabinet
from dualdiff.metrics import Estimate
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.regions import Box, Region


class Scene(ABC):
    """A general and a specialised exact model, and their product.

    ``general``, ``specialised``, ``unconditional`` are exact denoisers of one process; the last
    knows mean and spread of the general law only.
    """

    name: str
    title: str
    general: Exact
    specialised: Exact
    unconditional: Exact

    @abstractmethod
    def conditions(self, n: int, seed: int) -> Tensor:
        """``n`` test conditions, ``[n, dc]``."""

    @abstractmethod
    def truth(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` draws of the product as offsets from the condition, ``[n, dy]``."""

    @abstractmethod
    def judge(self, samples: Tensor, c: Tensor, seed: int) -> dict[str, Estimate]:
        """Scores of ``samples [n, k, dy]`` at ``c [n, dc]`` against the product."""

    @property
    def members(self) -> dict[str, Denoiser]:
        """The three by name."""
        return {
            "general": self.general,
            "specialised": self.specialised,
            "unconditional": self.unconditional,
        }

    def rule(self, name: str) -> Weighted:
        """A rule of :data:`dualdiff.experiments.rules.RULES` on the members of this scene."""
        return RULES[name].make(self.members)


class Boxes(Scene):
    """Uniform laws on two boxes; the product is uniform on their intersection."""

    def __init__(
        self, name: str, title: str, world: Scenario, process: Process | None = None
    ) -> None:
        self.name, self.title, self.world = name, title, world
        general, specialised = world.general, world.specialised
        process = process or Process.linear(dy=general.dim, dc=general.dim)
        assert isinstance(general, Box) and isinstance(specialised, Box)
        low = tuple(map(max, general.low, specialised.low))
        high = tuple(map(min, general.high, specialised.high))
        self.target: Region = Box(low, high)
        self.general = exact_denoiser(general, process)
        self.specialised = exact_denoiser(specialised, process)
        sides = np.subtract(general.high, general.low)
        moments = [np.diag(sides**2 / 12)]
        self.unconditional = ExactMixture(process, [1.0], [general.middle], np.stack(moments))

    def with_process(self, process: Process) -> Boxes:
        """The same laws under another noise schedule."""
        return Boxes(self.name, self.title, self.world, process)

    def conditions(self, n: int, seed: int) -> Tensor:
        return self.world.conditions(n, stream(seed, "test conditions"))

    def truth(self, n: int, generator: torch.Generator) -> Tensor:
        return self.target.draw(torch.zeros(1, self.target.dim, dtype=torch.float32), generator, n)[
            0
        ]

    def judge(self, samples: Tensor, c: Tensor, seed: int) -> dict[str, Estimate]:
        source, target = stream(seed, "metrics"), self.target
        floor = metrics.total_variation_floor(samples[..., 0].numel(), target.n_cells)

        def distance(x: np.ndarray, z: np.ndarray) -> dict[str, float]:
            return {"energy_distance": metrics.energy_distance(x, z)}

        return {
            "accuracy": metrics.accuracy(samples, c, target),
            "total_variation": metrics.total_variation(samples, c, target, source),
            "total_variation_floor": Estimate(floor, floor, floor),
            **metrics.over_groups(distance, samples, c, target, source),
        }


class Plane(Scene):
    """Gaussian mixtures in the plane; products are known on a grid.

    Parameters
    ----------
    name, title : str
    general, specialised : (weights, means, covariances)
        Of the mixtures, around the condition.
    reach : float
        The grid covers [-reach, reach] in both directions, in :data:`CELLS` cells each.
    """

    CELLS, FINE = 24, 8
    HOLDS = 0.95

    def __init__(
        self,
        name: str,
        title: str,
        general: tuple[Any, Any, Any],
        specialised: tuple[Any, Any, Any],
        reach: float,
        process: Process | None = None,
    ) -> None:
        self.name, self.title, self.reach = name, title, reach
        self.process = Process.linear(dy=2, dc=2) if process is None else process
        self.general = ExactMixture(self.process, *general)
        self.specialised = ExactMixture(self.process, *specialised)
        weights, means, covariances = (np.asarray(x, dtype=float) for x in general)
        share = weights / weights.sum()
        centre = share @ means
        spread = np.einsum("k,kij->ij", share, covariances) + (means - centre).T @ np.diag(
            share
        ) @ (means - centre)
        self.unconditional = ExactMixture(self.process, [1.0], centre[None], spread[None])

    def conditions(self, n: int, seed: int) -> Tensor:
        return torch.zeros(n, 2, dtype=torch.float32)

    @cached_property
    def grid(self) -> Tensor:
        """Midpoints of the fine grid, ``[side, side, 2]``, first index along x."""
        side = self.CELLS * self.FINE
        line = (torch.arange(side, dtype=torch.float64) + 0.5) * (2 * self.reach / side)
        return torch.stack(torch.meshgrid(line - self.reach, line - self.reach, indexing="ij"), -1)

    def log_clean(self, member: Exact) -> Tensor:
        """Log density of a member without noise on the grid, ``[side, side]``."""
        x = self.grid.reshape(-1, 2)
        one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
        return member._log_density(x, one, zero).view(self.grid.shape[:2])

    def density(self, rule: Weighted) -> Tensor:
        r"""The normalised product :math:`\prod_i p_i^{w_i}` on the grid, ``[side, side]``."""
        total = torch.zeros(self.grid.shape[:2], dtype=torch.float64)
        for name, member in rule.members.items():
            assert isinstance(member, Exact)
            total += float(rule.table[0, list(rule.members).index(name)]) * self.log_clean(member)
        mass = (total - total.max()).exp()
        return mass / mass.sum() / (2 * self.reach / len(mass)) ** 2

    def masses(self, density: Tensor) -> Tensor:
        """Mass of every cell, ``[CELLS, CELLS]``, of a density on the grid."""
        cells = density.unflatten(0, (self.CELLS, -1)).unflatten(2, (self.CELLS, -1))
        return cells.sum((1, 3)) * (2 * self.reach / len(density)) ** 2

    @cached_property
    def target(self) -> Tensor:
        """The product of both members on the grid."""
        return self.density(self.rule("sum"))

    def truth(self, n: int, generator: torch.Generator) -> Tensor:
        side = len(self.grid)
        pick = torch.multinomial(self.target.flatten(), n, replacement=True, generator=generator)
        within = torch.rand(n, 2, generator=generator, dtype=torch.float32) - 0.5
        return self.grid.reshape(-1, 2)[pick].float() + within * (2 * self.reach / side)

    def histogram(self, y: Tensor) -> tuple[Tensor, float]:
        """Share of samples in every cell, and outside the grid."""
        place = ((y + self.reach) / (2 * self.reach) * self.CELLS).floor().long()
        inside = ((place >= 0) & (place < self.CELLS)).all(1)
        index = place[inside, 0] * self.CELLS + place[inside, 1]
        counts = torch.bincount(index, minlength=self.CELLS**2).double().view(self.CELLS, -1)
        return counts / len(y), 1 - float(inside.double().mean())

    def variation(self, y: Tensor, density: Tensor) -> float:
        """Total variation of samples ``y [n, 2]`` to a density, on the cells of the grid."""
        share, outside = self.histogram(y)
        return 0.5 * (float((share - self.masses(density)).abs().sum()) + outside)

    def floor(self, n: int, generator: torch.Generator) -> float:
        """The mean total variation of n draws of the product itself, from 50 sets of draws."""
        masses = self.masses(self.target).flatten()
        draws = torch.stack(
            [
                torch.bincount(
                    torch.multinomial(masses, n, replacement=True, generator=generator),
                    minlength=len(masses),
                )
                for _ in range(50)
            ]
        )
        return float(0.5 * (draws / n - masses).abs().sum(1).mean())

    def level(self) -> float:
        """The density that bounds the region of highest density with 95 % of the mass."""
        sorted_mass = self.target.flatten().sort(descending=True).values
        share = sorted_mass.cumsum(0) / sorted_mass.sum()
        return float(sorted_mass[int((share < self.HOLDS).sum())])

    def judge(self, samples: Tensor, c: Tensor, seed: int) -> dict[str, Estimate]:
        source = stream(seed, "metrics")
        offsets = samples - c[:, None]
        n = offsets.shape[0] * offsets.shape[1]
        floor = self.floor(n, source)
        level, side = self.level(), len(self.grid)
        scores: dict[str, list[float]] = {"accuracy": [], "total_variation": []}
        batches = offsets.chunk(10) if len(offsets) >= 10 else offsets.split(1)
        for part in batches:
            y = part.reshape(-1, 2)
            place = ((y + self.reach) / (2 * self.reach) * side).floor().long()
            inside = ((place >= 0) & (place < side)).all(1)
            place = place.clamp(0, side - 1)
            high = (self.target[place[:, 0], place[:, 1]] >= level) & inside
            scores["accuracy"].append(float(high.double().mean()))
            scores["total_variation"].append(self.variation(y, self.target))
        found = {"accuracy": _interval(scores["accuracy"])}
        # Batches say how much TV varies; its value is that of all samples, whose floor is lower.
        whole = self.variation(offsets.reshape(-1, 2), self.target)
        around = _interval(scores["total_variation"])
        half = (around.high - around.low) / 2
        found["total_variation"] = Estimate(whole, whole - half, whole + half)
        found["total_variation_floor"] = Estimate(floor, floor, floor)
        found["energy_distance"] = _interval(
            [
                metrics.energy_distance(
                    part.reshape(-1, 2)[:1000].numpy(), self.truth(1000, source).numpy()
                )
                for part in batches
            ]
        )
        return found


def _interval(values: list[float]) -> Estimate:
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, math.nan, math.nan)
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return Estimate(mean, mean - half, mean + half)


def ring_and_bar() -> Plane:
    """Eight Gaussians on a ring, and a slanted bar across: the product is mostly two of the eight.

    The bar lies near two opposite modes and is nearer to one of them, so the product weighs them
    unequally.
    """
    angle = np.arange(8) * (np.pi / 4)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    bar = turn @ np.diag([0.8**2, 0.18**2]) @ turn.T
    return Plane(
        "ring_and_bar",
        "ring and bar",
        general=(np.ones(8), ring, np.stack([np.eye(2) * 0.15**2] * 8)),
        specialised=([1.0], [[0.1, 0.05]], bar[None]),
        reach=2.0,
    )


def partly_overlapping() -> Scenario:
    """Two boxes that share half of each: neither model is the answer."""
    return Scenario(
        "partly_overlapping",
        general=Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
        specialised=Box((0.0, -1.0, 0.0), (2.0, 1.0, 1.0)),
    )


SCENES: dict[str, Callable[[], Scene]] = {
    "cabinet": lambda: Boxes("cabinet", "cabinet (nested)", cabinet()),
    "boxes": lambda: Boxes("boxes", "boxes (half shared)", partly_overlapping()),
    "ring_and_bar": ring_and_bar,
}
