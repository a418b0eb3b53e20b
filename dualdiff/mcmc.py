"""Markov chain Monte Carlo on noised densities of which only the score is known."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""``y [n, dy]`` to the gradient of the log density there."""


class Random(Protocol):
    """A source of normal numbers ``[n, dy]`` (a call) and of uniform ones ``[n]``."""

    def __call__(self) -> Tensor: ...
    def uniform(self) -> Tensor: ...


class Move(NamedTuple):
    """States ``y [n, dy]``, the score there, and which of them were accepted, ``[n]``."""

    y: Tensor
    score: Tensor
    accepted: Tensor


@cache
def _lobatto(points: int) -> tuple[list[float], list[float]]:
    """Inner nodes and all weights of Gauss-Lobatto quadrature on [0, 1], both ends included."""
    legendre = np.polynomial.legendre.Legendre.basis(points - 1)
    inner = np.sort(legendre.deriv().roots().real)
    nodes = np.concatenate([[-1.0], inner, [1.0]])
    weights = 1 / (points * (points - 1) * legendre(nodes) ** 2)
    return ((1 + inner) / 2).tolist(), weights.tolist()


def log_ratio(
    score: Score, start: Tensor, end: Tensor, at_start: Tensor, at_end: Tensor, points: int
) -> Tensor:
    r"""Difference of log densities from scores alone, ``[n]``.

    .. math:: \log p(y') - \log p(y) = \int_0^1 \langle s(y + u (y' - y)),\, y' - y \rangle\, du

    by Gauss-Lobatto quadrature with ``points`` nodes, exact for polynomials in u of degree
    2 points - 3. The scores at both ends are known; each node between them costs one call.

    Notes
    -----
    Sjoberg et al. (2023), arXiv 2307.14012, who use the trapezoid rule.
    """
    inner, weights = _lobatto(points)
    way = end - start
    mean = weights[0] * at_start + weights[-1] * at_end
    for u, weight in zip(inner, weights[1:-1], strict=True):
        mean = mean + weight * score(start + u * way)
    return (mean * way).sum(1)


def _accept(log_odds: Tensor, random: Random, old: Move, new: Move) -> Move:
    """Metropolis: one decision per sample. A proposal that is not finite is refused."""
    accepted = torch.log(random.uniform()) < log_odds.nan_to_num(nan=-math.inf)
    keep = accepted.unsqueeze(1)
    return Move(torch.where(keep, new.y, old.y), torch.where(keep, new.score, old.score), accepted)


@dataclass(frozen=True)
class Kernel:
    r"""Some moves per timestep that leave the density of that step invariant, or nearly so.

    Parameters
    ----------
    moves : int
        Moves at every timestep.
    step_size : float
        In units of the noise of that step, so that one number serves the whole chain.
    tied : {"variance", "beta"}
        What the step size is a multiple of: :math:`\sigma_t^2` or :math:`\beta_t`.
    points : int
        Nodes of :func:`log_ratio`, at least 2.
    """

    moves: int = 1
    step_size: float = 0.5
    tied: Literal["variance", "beta"] = "beta"
    points: int = 3

    def __post_init__(self) -> None:
        if self.moves < 1 or self.points < 2:
            raise ValueError(
                f"moves must be at least 1 and points at least 2, not moves={self.moves}, "
                f"points={self.points}"
            )
        if not (self.step_size > 0 and math.isfinite(self.step_size)):
            raise ValueError(f"step_size must be positive and finite, not {self.step_size}")
        if self.tied not in ("variance", "beta"):
            raise ValueError(f"tied must be 'variance' or 'beta', not {self.tied!r}")

    @abstractmethod
    def once(self, score: Score, at: Move, h: float, random: Random) -> Move:
        """One move from ``at.y``, whose score is ``at.score``, with squared length scale ``h``."""

    def run(
        self, score: Score, y: Tensor, at_y: Tensor, random: Random, *, variance: float, beta: float
    ) -> Move:
        """All moves of a timestep from ``y [n, dy]`` with score ``at_y``.

        ``accepted`` is the share of accepted moves per sample.
        """
        h = self.step_size * (variance if self.tied == "variance" else beta)
        accepted = torch.zeros(len(y), device=y.device)
        state = Move(y, at_y, accepted)
        for _ in range(self.moves):
            state = self.once(score, state, h, random)
            accepted = accepted + state.accepted / self.moves
        return state._replace(accepted=accepted)


@dataclass(frozen=True)
class ULA(Kernel):
    r"""Unadjusted Langevin: :math:`y' = y + h\, s(y) + \sqrt{2h}\, z`. Its bias vanishes with h."""

    def once(self, score: Score, at: Move, h: float, random: Random) -> Move:
        y = at.y + h * at.score + math.sqrt(2 * h) * random()
        return Move(y, score(y), torch.ones(len(y), device=y.device))


@dataclass(frozen=True)
class MALA(Kernel):
    r"""Metropolis-adjusted Langevin: the step of :class:`ULA`, accepted with probability

    .. math:: \min\Bigl(1, \frac{p(y')}{p(y)} \exp\frac{\lVert y' - y - h s(y) \rVert^2 -
              \lVert y - y' - h s(y') \rVert^2}{4h}\Bigr)

    where the ratio of densities comes from :func:`log_ratio` (Roberts and Tweedie 1996).
    """

    def once(self, score: Score, at: Move, h: float, random: Random) -> Move:
        forth = math.sqrt(2 * h) * random()
        y = at.y + h * at.score + forth
        new = Move(y, score(y), at.accepted)
        back = at.y - y - h * new.score
        log_odds = log_ratio(score, at.y, y, at.score, new.score, self.points)
        log_odds = log_odds + ((forth**2).sum(1) - (back**2).sum(1)) / (4 * h)
        return _accept(log_odds, random, at, new)


@dataclass(frozen=True)
class HMC(Kernel):
    r"""Hamiltonian Monte Carlo: a fresh momentum, leapfrog steps of :math:`\sqrt{2h}`, a decision.

    The density ratio is integrated along the path, one :func:`log_ratio` per leapfrog step; with
    two points the quadrature errs as much as the leapfrog does, so three are the least.

    Parameters
    ----------
    leapfrog : int
        Steps per move.

    Notes
    -----
    Neal (2011), section 3; Du et al. (2023).
    """

    leapfrog: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leapfrog < 1:
            raise ValueError(f"leapfrog must be at least 1, not {self.leapfrog}")
        if self.points < 3:
            raise ValueError(f"HMC needs points of at least 3, not {self.points}")

    def once(self, score: Score, at: Move, h: float, random: Random) -> Move:
        step = math.sqrt(2 * h)
        momentum = random()
        y, here, gained = at.y, at.score, 0.5 * (momentum**2).sum(1)
        for _ in range(self.leapfrog):
            momentum = momentum + 0.5 * step * here
            y_next = y + step * momentum
            there = score(y_next)
            gained = gained + log_ratio(score, y, y_next, here, there, self.points)
            momentum = momentum + 0.5 * step * there
            y, here = y_next, there
        log_odds = gained - 0.5 * (momentum**2).sum(1)
        return _accept(log_odds, random, at, Move(y, here, at.accepted))
