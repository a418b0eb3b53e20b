"""Learned composition weights: from held-out pairs alone, and with the support for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize, nnls
from torch import Tensor

from dualdiff.chunks import in_threads
from dualdiff.compose import Weighted, common_process
from dualdiff.denoisers import Denoiser, device_of, evaluating
from dualdiff.metrics import energy_score
from dualdiff.process import Process
from dualdiff.samplers import sample
from dualdiff.training import checked_pairs

Progress = Callable[[int], object]
LEAST = 0.01
"""Smallest weight of :func:`stacked`: a sum of noises needs a positive sum of weights."""


@dataclass(frozen=True)
class Fold:
    """Members, and pairs in original units that none of them was trained on.

    Cross-fitting has several folds: every specialised pair is held out once, and the members of
    its fold learned from the others.
    """

    members: Mapping[str, Denoiser]
    y: Tensor
    c: Tensor

    def __post_init__(self) -> None:
        y, c = checked_pairs(common_process(self.members), self.y, self.c)
        where = device_of(self.members.values())
        object.__setattr__(self, "y", y.to(where, torch.float32))
        object.__setattr__(self, "c", c.to(where, torch.float32))


def _same_names(folds: Sequence[Fold]) -> tuple[list[str], Process]:
    if not folds:
        raise ValueError("folds must be at least one")
    names, process = list(folds[0].members), common_process(folds[0].members)
    for fold in folds:
        if list(fold.members) != names:
            raise ValueError(f"folds have different members: {names} and {list(fold.members)}")
        difference = process.difference(common_process(fold.members))
        if difference is not None:
            raise ValueError(f"folds cannot share weights: {difference}")
    return names, process


@torch.no_grad()
def stacked(
    folds: Sequence[Fold],
    generator: torch.Generator,
    *,
    repeats: int = 64,
    progress: Progress | None = None,
) -> dict[str, Tensor]:
    r"""Weights per step by least squares of the noise on the members' predictions.

    .. math:: w(t) = \arg\min_w \sum E_\varepsilon \Bigl\lVert \varepsilon - \textstyle\sum_i w_i
              \varepsilon_i(y_t, t, c) \Bigr\rVert^2

    over the held-out pairs of all folds, each noised ``repeats`` times, with weights of at least
    0.01 and a ridge of a thousandth towards the average, which decides where the members agree or
    say nothing. For members without error it is the one that the pairs follow, alone. Where members
    err the sum of the weights falls below one (shrinkage), which leaves noise in samples.

    Returns
    -------
    dict of name to Tensor [T], float64
        Weights for :class:`dualdiff.compose.Weighted`.

    Raises
    ------
    ValueError
        If the folds do not fit together.

    Notes
    -----
    Breiman (1996), "Stacked regressions".
    """
    names, process = _same_names(folds)
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, not {repeats}")
    rows, bound = [], []
    for fold in folds:
        c = process.encode_c(fold.c).repeat(repeats, 1)
        y = process.encode_y(fold.y).repeat(repeats, 1)
        bound.append((y, [member.bind(c) for member in fold.members.values()]))
    for t in range(process.steps):
        gram = torch.zeros(len(names), len(names), dtype=torch.float64)
        aim = torch.zeros(len(names), dtype=torch.float64)
        for fold, (y, predicts) in zip(folds, bound, strict=True):
            eps = torch.empty_like(y).normal_(generator=generator)
            noised = process.diffuse(y, t, eps)
            with evaluating(fold.members.values()):
                said = torch.stack([predict(noised, t) for predict in predicts]).double()
            gram += torch.einsum("ind,jnd->ij", said, said)
            aim += torch.einsum("ind,nd->i", said, eps.double())
        ridge = 1e-3 * gram.diagonal().mean()
        gram = gram + ridge * torch.eye(len(names))
        root = torch.linalg.cholesky(gram)
        shifted = (aim + ridge / len(names) - LEAST * gram.sum(1)).unsqueeze(1)
        right = torch.linalg.solve_triangular(root, shifted, upper=False).squeeze(1)
        rows.append(LEAST + torch.from_numpy(nnls(root.T.numpy(), right.numpy())[0]))
        if progress is not None:
            progress(1)
    table = torch.stack(rows)
    return dict(zip(names, table.T, strict=True))


class Curve(NamedTuple):
    """Weights that are piecewise linear in the log signal-to-noise ratio.

    ``values [knots, members]`` from the highest noise to the lowest; one knot: constants.
    """

    names: tuple[str, ...]
    values: np.ndarray

    def weights(self, process: Process) -> dict[str, Tensor]:
        """The weights per timestep, ``[T]`` by name."""
        log_snr = torch.logit(process.alpha_bar).numpy()
        knots = np.linspace(log_snr[-1], log_snr[0], len(self.values))
        columns = (
            np.interp(log_snr, knots, column) if len(knots) > 1 else np.full(len(log_snr), column)
            for column in self.values.T
        )
        return {n: torch.from_numpy(w.copy()) for n, w in zip(self.names, columns, strict=True)}

    def rule(self, members: Mapping[str, Denoiser]) -> Weighted:
        """The composition with these weights."""
        return Weighted(members, self.weights(common_process(members)))


Objective = Callable[[Curve], float]
Draw = Callable[[Weighted, Tensor, torch.Generator, int], Tensor]
"""``(rule, conditions, generator, draws)`` to samples ``[n, draws, dy]``."""


def plain(rule: Weighted, c: Tensor, generator: torch.Generator, draws: int) -> Tensor:
    """Ancestral sampling of the rule as it is."""
    return sample(rule, c, generator, draws=draws)


def held_out_score(
    folds: Sequence[Fold],
    make_generator: Callable[[], torch.Generator],
    *,
    draws: int = 32,
    draw: Draw = plain,
) -> Objective:
    r"""The mean energy score of a curve's samples at the held-out pairs, a function of the curve.

    .. math:: \mathrm{ES} = E\lVert Y - y \rVert - \tfrac12 E\lVert Y - Y' \rVert

    It is proper: smallest in expectation for the true law, and one pair per condition is enough. No
    support is looked at. Every evaluation uses the same random numbers (``make_generator``), so
    that curves differ by their weights alone. ``draw`` says how a rule is sampled: weights are
    learned for the sampler that will use them.
    """
    _same_names(folds)

    def score(curve: Curve) -> float:
        def summed(fold: Fold) -> float:
            y = draw(curve.rule(fold.members), fold.c, make_generator(), draws)
            return len(fold.y) * energy_score(y.cpu(), fold.y.cpu()).value

        # Each thread takes whole folds: their samples are too few to be shared out.
        with evaluating([member for fold in folds for member in fold.members.values()]):
            total = sum(in_threads(summed, folds, folds[0].y.device))
        return total / sum(len(fold.y) for fold in folds)

    return score


class Learned(NamedTuple):
    """The best curve, its score, and all that was tried: ``(curve, score)`` in order."""

    curve: Curve
    score: float
    tried: list[tuple[Curve, float]]


def learn(
    objective: Objective,
    names: Sequence[str],
    *,
    knots: int = 1,
    starts: Sequence[Sequence[float]] | None = None,
    budget: int = 60,
    highest: float = 4.0,
    progress: Progress | None = None,
) -> Learned:
    """Minimise an objective over curves: all starts, then Nelder and Mead from the best.

    Weights are clipped to [0, highest]; curves with a sum below 0.05 at a knot count as infinitely
    bad, and so does one whose samples diverge.

    Parameters
    ----------
    objective : callable
        Of a :class:`Curve`: :func:`held_out_score`, or an oracle that sees the support.
    names : sequence of str
        The members.
    knots : int
        Of the curve; 1: constants.
    starts : sequence of constants, one weight per member each
        Default: all ones, and every member alone.
    budget : int
        Evaluations of the objective, the starts included.
    highest : float
    progress : callable, optional
        Called with 1 after every evaluation.

    Raises
    ------
    ValueError
        For sizes out of range, or if no start has a finite score.
    """
    if starts is None:
        starts = [[1.0] * len(names), *np.eye(len(names)).tolist()]
    if any(len(start) != len(names) for start in starts) or not starts:
        raise ValueError(f"starts must have one weight for each of {', '.join(names)}")
    if knots < 1 or budget < len(starts):
        raise ValueError(
            f"knots must be at least 1 and budget at least the {len(starts)} starts, "
            f"not knots={knots}, budget={budget}"
        )
    tried: list[tuple[Curve, float]] = []

    def evaluate(flat: np.ndarray) -> float:
        values = np.clip(flat, 0.0, highest).reshape(knots, len(names))
        curve, score = Curve(tuple(names), values), math.inf
        if values.sum(1).min() >= 0.05:
            try:
                score = objective(curve)
            except FloatingPointError:
                score = math.inf
        tried.append((curve, score))
        if progress is not None:
            progress(1)
        return score

    flats = [np.tile(np.asarray(start, dtype=float), knots) for start in starts]
    scores = [evaluate(flat) for flat in flats]
    if not math.isfinite(min(scores)):
        raise ValueError("no start has a finite score: do the members sample at all?")
    best = flats[int(np.argmin(scores))]
    left = budget - len(starts)
    if left > len(best):
        # A simplex that reaches into the box from a start on its border.
        simplex = np.vstack([best, best + 0.35 * np.where(np.eye(len(best)), 1, 0)])
        options = {"maxfev": left, "initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-6}
        minimize(evaluate, best, method="Nelder-Mead", options=options)
    curve, score = min(tried, key=lambda pair: pair[1])
    return Learned(curve, score, tried)
