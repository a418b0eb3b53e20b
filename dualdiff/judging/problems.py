"""Problems v1: members whose product is known. What stands here never changes; there may be a v2.

All laws are in the frame of the condition, in units of y.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from dualdiff.exact import Exact, ExactBox, ExactMixture, exact_denoiser
from dualdiff.experiments.densities import Union
from dualdiff.experiments.scenarios import cabinet, round_table
from dualdiff.experiments.scenes import partly_overlapping, ring_and_bar
from dualdiff.metrics import Estimate
from dualdiff.process import Process
from dualdiff.regions import Box, Region

VERSION = "v1"
CELLS, FINE = 12, 16
"""Cells of the plane per axis, and points of the numerical truth per cell and axis."""
REPLICATES = 200


class Law(NamedTuple):
    """A member: its exact denoiser under a process, and its log density without noise."""

    make: Callable[[Process], Exact]
    log_p: Callable[[Tensor], Tensor]


def gaussians(weights: Any, means: Any, covariances: Any) -> Law:
    """A mixture of Gaussians."""

    def make(process: Process) -> Exact:
        return ExactMixture(process, weights, means, np.asarray(covariances))

    d = len(means[0])
    one, clean = torch.ones(1, 1, dtype=torch.float64), make(Process.linear(dy=d, dc=d))
    return Law(make, lambda u: clean._log_density(u, one, 0 * one))


def boxes(*pieces: tuple[float, tuple[float, ...], tuple[float, ...]]) -> Law:
    """Uniform on boxes: ``(weight, low, high)`` of each."""

    def make(process: Process) -> Exact:
        parts = [ExactBox(process, low, high) for _, low, high in pieces]
        return parts[0] if len(parts) == 1 else Union(parts, [weight for weight, *_ in pieces])

    def log_p(u: Tensor) -> Tensor:
        mass = u.new_zeros(u.shape[:-1])
        for weight, low, high in pieces:
            held = ((u >= u.new_tensor(low)) & (u <= u.new_tensor(high))).all(-1)
            mass = mass + weight / float(np.prod(np.subtract(high, low))) * held
        return mass.log()

    return Law(make, log_p)


def uniform(region: Region) -> Law:
    """Uniform on a region that has an exact denoiser."""
    zero = torch.zeros(region.dc, dtype=torch.float64)
    return Law(
        lambda process: exact_denoiser(region, process),
        lambda u: region.contains(u, zero).double().log(),
    )


def _process(d: int, steps: int) -> Process:
    """The linear betas of the book, in finer or coarser steps of the same noise."""
    return Process.linear(steps, 0.1 / steps, 20 / steps, dy=d, dc=d)


@dataclass(frozen=True, eq=False)
class Problem:
    """Members by name, and where their product lies.

    Parameters
    ----------
    title : str
    laws : mapping of names to laws
    truth : Region, or a number
        The region on which the product is uniform, judged on its cells of equal mass; or the reach
        of a square around the condition, on which the product is summed numerically.
    left : bool
        Whether the mass left of the condition is a score, too.
    """

    title: str
    laws: Mapping[str, Law]
    truth: Region | float
    left: bool = False

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.truth.dim if isinstance(self.truth, Region) else 2

    def members(self, steps: int) -> dict[str, Exact]:
        """The exact members under the linear schedule in so many steps."""
        if steps not in self._made:  # with the tables that they make of themselves
            process = _process(self.dim, steps)
            self._made[steps] = {name: law.make(process) for name, law in self.laws.items()}
        return dict(self._made[steps])

    @cached_property
    def _made(self) -> dict[int, dict[str, Exact]]:
        return {}

    def conditions(self, n: int, generator: torch.Generator) -> Tensor:
        """Conditions ``[n, dim]``, uniform on [-1, 1]."""
        return 2 * torch.rand(n, self.dim, generator=generator, dtype=torch.float32) - 1

    @cached_property
    def _fine(self) -> tuple[Tensor, Tensor]:
        """Points of the fine grid ``[side, side, 2]``, and the product's mass at each."""
        assert not isinstance(self.truth, Region)
        side = CELLS * FINE
        line = ((torch.arange(side, dtype=torch.float64) + 0.5) / side * 2 - 1) * self.truth
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
        total = reduce(add, (law.log_p(grid.view(-1, 2)) for law in self.laws.values()))
        return grid, total.softmax(0).view(side, side)

    @cached_property
    def masses(self) -> np.ndarray:
        """The product's mass in every cell, ``[cells]``."""
        if isinstance(self.truth, Region):
            return np.full(self.truth.n_cells, 1 / self.truth.n_cells)
        parts = self._fine[1].unflatten(0, (CELLS, FINE)).unflatten(2, (CELLS, FINE))
        found: np.ndarray = parts.sum((1, 3)).flatten().numpy()
        return found

    def cells(self, samples: Tensor, c: Tensor) -> Tensor:
        """Cell of each sample ``[n, k, dim]`` at ``c [n, dim]``, -1 for none."""
        if isinstance(self.truth, Region):
            return self.truth.cells(samples, c[:, None])
        place = ((samples - c[:, None]) / self.truth / 2 + 0.5) * CELLS
        held, place = ((place >= 0) & (place < CELLS)).all(-1), place.long()
        return torch.where(held, place[..., 0] * CELLS + place[..., 1], -1)

    def floor(self, n: int) -> float:
        """Expected total variation of n independent draws of the truth, exactly.

        By De Moivre's mean deviation of a binomial count (Diaconis and Zabell 1991).
        """
        p = self.masses
        m = np.floor(n * p) + 1
        return float((m * (1 - p) * stats.binom.pmf(m, n, p)).sum() / n)

    def score(self, samples: Tensor, c: Tensor, seed: int) -> dict[str, Estimate]:
        """Total variation on the cells, its floor, and for some the mass on the left.

        Intervals are from a bootstrap over conditions.
        """
        bins = self.cells(samples.double(), c.double()).numpy() + 1  # bin 0 holds the misses
        counts = np.stack([np.bincount(row, minlength=len(self.masses) + 1) for row in bins])
        truth = np.concatenate([[0.0], self.masses])
        left = (samples[..., 0] < c[:, None, 0]).double().mean(1).numpy()
        source = np.random.default_rng(seed)

        def estimate(statistic: Callable[[np.ndarray], float]) -> Estimate:
            whole, n = statistic(np.ones(len(c))), len(c)
            again = [statistic(row) for row in source.multinomial(n, [1 / n] * n, REPLICATES)]
            half = 1.96 * float(np.std(again, ddof=1))
            return Estimate(whole, whole - half, whole + half)

        found = {
            "total_variation": estimate(
                lambda w: float(np.abs(w @ counts / (w.sum() * bins.shape[1]) - truth).sum() / 2)
            )
        }
        floor = self.floor(bins.size)
        found["total_variation_floor"] = Estimate(floor, floor, floor)
        if self.left:
            known = float(self._fine[1][: CELLS * FINE // 2].sum())
            found["left"] = estimate(lambda w: float(w @ left / w.sum()))
            found["left_truth"] = Estimate(known, known, known)
        return found


def _two(general: Law, specialised: Law) -> dict[str, Law]:
    return {"general": general, "specialised": specialised}


def _mixture_of(member: Exact) -> Law:
    assert isinstance(member, ExactMixture)
    turned = member.basis @ torch.diag_embed(member.variances) @ member.basis.mT
    return gaussians(member.log_weights.exp(), member.means, turned)


def _isotropic(variance: float, *means: tuple[float, float]) -> Law:
    return gaussians([1.0] * len(means), means, [np.eye(2) * variance] * len(means))


def _uniform_pair(general: Region, specialised: Region, truth: Region) -> tuple[Any, Region]:
    return _two(uniform(general), uniform(specialised)), truth


def _problems() -> dict[str, Problem]:
    nested, half, table, ring = cabinet(), partly_overlapping(), round_table(), ring_and_bar()
    bar = gaussians([1.0], [[0.1, 0.05]], [[[0.62, 0.12], [0.12, 0.06]]])
    corners = _isotropic(0.08, (-0.8, -0.8), (-0.8, 0.8), (0.8, -0.8), (0.8, 0.8))
    sides = boxes((0.5, (-2.0, -1.0), (-0.5, 1.0)), (0.5, (0.5, -1.0), (2.0, 1.0)))
    return {
        "gaussians": Problem(
            "Gaussian × Gaussian",
            _two(
                gaussians([1.0], [[0.5, 0.0]], [[[0.5, 0.2], [0.2, 0.4]]]),
                gaussians([1.0], [[-0.3, 0.4]], [[[0.3, -0.1], [-0.1, 0.6]]]),
            ),
            2.0,
        ),
        "bimodal": Problem(
            "bimodal × Gaussian",
            _two(
                _isotropic(0.1, (-1.0, 0.0), (1.0, 0.0)),
                gaussians([1.0], [[0.3, 0.0]], [[[0.8, 0.0], [0.0, 0.3]]]),
            ),
            2.0,
        ),
        "nested": Problem(
            "nested boxes", *_uniform_pair(nested.general, nested.specialised, nested.specialised)
        ),
        "boxes": Problem(
            "half-shared boxes",
            *_uniform_pair(half.general, half.specialised, Box((0.0, -1.0, 0.0), (1.0, 1.0, 1.0))),
        ),
        "disc": Problem(
            "nested discs", *_uniform_pair(table.general, table.specialised, table.specialised)
        ),
        "ring_and_bar": Problem(
            "ring × bar", _two(_mixture_of(ring.general), _mixture_of(ring.specialised)), 2.0
        ),
        "mixture_and_box": Problem(
            "mixture × box", _two(corners, boxes((1.0, (-1.0, -1.0), (0.5, 1.0)))), 1.5
        ),
        "three": Problem(
            "three members",
            {**_two(corners, boxes((1.0, (-1.0, -1.0), (0.5, 1.0)))), "third": bar},
            1.5,
        ),
        "pieces": Problem(
            "two pieces × Gaussian",
            _two(sides, gaussians([1.0], [[0.792, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]])),
            2.0,
            left=True,
        ),
        "apart": Problem(
            "members apart",
            _two(
                gaussians([1.0], [[-1.5, 0.0]], [np.eye(2) * 0.25]),
                gaussians([1.0], [[1.5, 0.0]], [np.eye(2) * 0.25]),
            ),
            1.5,
        ),
    }


PROBLEMS = _problems()
"""Problems v1 by name."""
