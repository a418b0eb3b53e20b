"""Scores of samples against a region, each with a 95 % confidence interval over conditions.

Samples `y` have shape [n_conditions, k, d] and conditions `c` [n_conditions, dc], original units.
The k samples of a condition are not independent, so the condition is the unit of every interval:
by per-condition values (`accuracy`, `support_distance`, `miss_distance`, `energy_score`), by a
bootstrap over conditions (`total_variation`), or by disjoint groups of conditions (`over_groups`)
for the statistics of two clouds of offsets. With one condition or one group the bounds are nan.

Tensors on any device are accepted; the work is done on the CPU in float64.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import gammaln
from scipy.stats import t as student
from torch import Generator, Tensor

from dualdiff.process import floating
from dualdiff.regions import Region

NEIGHBOUR_METRICS = ("precision", "recall", "density", "coverage")
CLOUD_METRICS = ("energy_distance", *NEIGHBOUR_METRICS, "frechet_distance", "memorisation")
CELL_METRICS = ("total_variation", "total_variation_floor")
POINT_METRICS = ("accuracy", "miss_distance", "centre_distance", "support_distance")
METRICS = (*POINT_METRICS, *CELL_METRICS, *CLOUD_METRICS)

GROUP_LIMIT = 1000  # samples a group holds at most: the group metrics are quadratic in it
GROUP_MINIMUM = 40  # samples a group should hold at least: with fewer, groups are merged
PAIR_LIMIT = 2_000_000  # distances held in memory at once

Statistic = Callable[[np.ndarray, np.ndarray], dict[str, float]]


class Estimate(NamedTuple):
    """A value with the bounds of its 95 % confidence interval over conditions."""

    value: float
    low: float
    high: float


def accuracy(y: Tensor, c: Tensor, region: Region) -> Estimate:
    """Share of samples inside the region, mean over conditions (the thesis's average accuracy).

    Parameters
    ----------
    y : Tensor [n_conditions, k, d]
    c : Tensor [n_conditions, d]
    region : Region

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Wrong shapes, an empty set, NaN or infinite values (all functions of this module).
    """
    y, c = _samples(y, c, region)
    return _mean(region.contains(y, c[:, None]).double().mean(1).numpy())


def support_distance(y: Tensor, c: Tensor, region: Region) -> Estimate:
    """Mean distance to the region (0 inside), in the units of y. Arguments as in `accuracy`."""
    y, c = _samples(y, c, region)
    return _mean(region.distance(y, c[:, None]).mean(1).numpy())


def miss_distance(
    y: Tensor, c: Tensor, region: Region, origin: Sequence[float] | None = None
) -> Estimate:
    """Mean distance from the samples that miss to the condition point; nan when nothing misses.

    `origin` moves the point: an offset from the condition. Other arguments as in `accuracy`.

    The thesis's average out-of-range distance, in units of y. With m_i misses of total distance a_i
    at condition i it is the ratio R = sum a / sum m, with the linearised error sqrt(n / (n - 1)
    sum_i (a_i - R m_i)^2) / sum m (Cochran 1977, Sampling Techniques, ch. 6).
    """
    y, c = _samples(y, c, region)
    miss = ~region.contains(y, c[:, None])
    point = region.anchor(c) if origin is None else region.anchor(c) + c.new_tensor(origin)
    a = (torch.linalg.vector_norm(y - point[:, None], dim=-1) * miss).sum(1).numpy()
    m = miss.sum(1).numpy()
    n, total = len(m), m.sum()
    if total == 0:
        return Estimate(np.nan, np.nan, np.nan)
    ratio = a.sum() / total
    error = np.sqrt(n / max(n - 1, 1) * np.sum((a - ratio * m) ** 2)) / total
    return _estimate(ratio, error, n - 1)


def total_variation(
    y: Tensor, c: Tensor, region: Region, generator: Generator, replicates: int = 200
) -> Estimate:
    r"""Total variation to the uniform law of the region on its equal-mass cells.

    :math:`TV = \tfrac12 (\sum_{cells} |h - 1/n_{cells}| + \text{misses})`, h: share in a cell.
    Even perfect samples score above 0 when finite: print `total_variation_floor` beside it.
    The standard error is that of a bootstrap over conditions (Davison & Hinkley 1997, sec. 3.8).

    Parameters
    ----------
    y, c, region
        As in `accuracy`.
    generator : Generator
        Draws the bootstrap replicates.
    replicates : int
        At least 2.
    """
    y, c = _samples(y, c, region)
    if replicates < 2:
        raise ValueError(f"replicates must be at least 2, got {replicates}")
    bins = region.cells(y, c[:, None]).numpy() + 1  # bin 0 holds the misses
    n, k = bins.shape

    def score(weights: np.ndarray) -> float:
        h = np.bincount(bins.ravel(), np.repeat(weights, k), region.n_cells + 1) / bins.size
        return 0.5 * (np.abs(h[1:] - 1 / region.n_cells).sum() + h[0])

    # One replicate at a time: memory stays O(samples), whatever the number of replicates.
    resampled = []
    for _ in range(replicates):
        rows = torch.randint(n, (n,), generator=generator, device=generator.device).cpu().numpy()
        resampled.append(score(np.bincount(rows, minlength=n)))
    return _estimate(score(np.ones(n)), float(np.std(resampled, ddof=1)), n - 1)


def total_variation_floor(n: int, n_cells: int) -> float:
    """Expected `total_variation` of n independent draws from the truth itself, exactly.

    E TV = (n_cells / 2n) E|X - n p|, X ~ Binomial(n, p), p = 1 / n_cells, with De Moivre's closed
    form E|X - n p| = 2 m C(n, m) p^m (1 - p)^(n - m + 1), m = floor(n p) + 1 (Diaconis & Zabell
    1991, Statistical Science 6(3)).

    Raises
    ------
    ValueError
        n or n_cells below 1.
    """
    if n < 1 or n_cells < 1:
        raise ValueError(f"n and n_cells must be at least 1, got n={n}, n_cells={n_cells}")
    if n_cells == 1:
        return 0.0
    m = n // n_cells + 1
    log_choose = gammaln(n + 1) - gammaln(m + 1) - gammaln(n - m + 1)
    log_mass = log_choose - m * np.log(n_cells) + (n - m + 1) * np.log1p(-1 / n_cells)
    return float(n_cells / n * m * np.exp(log_mass))


def energy_score(y: Tensor, target: Tensor) -> Estimate:
    """Energy score ES = E||Y - y|| - 1/2 E||Y - Y'|| on held-out pairs; lower is better.

    Strictly proper (Gneiting & Raftery 2007, sec. 4.3) and in no need of the support. Unbiased over
    draws: the second mean runs over pairs of different draws of the same condition.

    Parameters
    ----------
    y : Tensor [n_conditions, k, d]
        k >= 2 draws at the condition of each held-out pair.
    target : Tensor [n_conditions, d]
        The held-out targets, in the units of y as the score is.
    """
    y = _tensor("y", y, None, None, None)
    n, k, d = y.shape
    target = _tensor("target", target, n, d)
    if k < 2:
        raise ValueError(f"y must hold at least 2 draws per condition, got {k}")
    exact = "donot_use_mm_for_euclid_dist"  # the fast mode loses digits of short distances
    scores = []
    chunk = max(1, PAIR_LIMIT // k**2)
    for draws, truth in zip(y.split(chunk), target.split(chunk), strict=True):
        spread = torch.cdist(draws, draws, compute_mode=exact).sum((1, 2)) / (k * (k - 1))
        error = torch.linalg.vector_norm(draws - truth[:, None], dim=-1).mean(1)
        scores.append(error - spread / 2)
    return _mean(torch.cat(scores).numpy())


def energy_distance(x: Any, z: Any) -> float:
    """Energy distance 2 E|X - Z| - E|X - X'| - E|Z - Z'| of two clouds, in units of x, unbiased.

    A U-statistic (Szekely & Rizzo 2013, J. Stat. Plan. Inference 143), so it may be slightly
    negative. Pairs that share a condition are left out: they lie closer together than independent
    ones wherever the sampler's error depends on the condition.

    Parameters
    ----------
    x, z : array or Tensor [n, d], or [n_conditions, k, d] with samples grouped by condition
        Offsets; z from the truth. Those of a single condition count as independent.
    """
    x, z = _clouds(x, z)

    def spread(points: np.ndarray) -> float:
        m, k, _ = points.shape
        if m < 2:
            raise ValueError(f"energy distance needs at least 2 points in each cloud, got {m}")
        shared = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1).sum()
        return (cdist(_flat(points), _flat(points)).sum() - shared) / (k * k * m * (m - 1))

    return float(2 * cdist(_flat(x), _flat(z)).mean() - spread(x) - spread(z))


def neighbour_scores(x: Any, z: Any, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage of the samples x against true draws z.

    The ball of a point reaches to its k-th nearest neighbour in its own cloud.
    precision: share of x inside some ball of z; recall: share of z inside some ball of x
    (Kynkaanniemi et al. 2019, arXiv:1904.06991, eq. 1-2); density: mean number of balls of z around
    a sample, divided by k; coverage: share of the balls of z that hold a sample (Naeem et al. 2020,
    arXiv:2002.09797, sec. 3). Even for x from the truth they stay below 1 (density: about 1) by an
    amount that depends on both sizes, so compare them at equal sizes only.

    Parameters
    ----------
    x, z : array or Tensor [n, d] or [n_conditions, k, d]
    k : int
        Each cloud must have more than k points.
    """
    x, z = map(_flat, _clouds(x, z))
    if not 1 <= k < min(len(x), len(z)):
        raise ValueError(f"k must be from 1 to {min(len(x), len(z)) - 1} (points - 1), got {k}")
    tree_x, tree_z = cKDTree(x), cKDTree(z)
    # k + 1, because the nearest neighbour of a point in its own cloud is the point itself
    in_ball_z = tree_x.query_ball_point(z, tree_z.query(z, k + 1)[0][:, -1])
    in_ball_x = tree_z.query_ball_point(x, tree_x.query(x, k + 1)[0][:, -1])
    held_x, held_z = np.concatenate(in_ball_z), np.concatenate(in_ball_x)
    return {
        "precision": len(np.unique(held_x)) / len(x),
        "recall": len(np.unique(held_z)) / len(z),
        "density": len(held_x) / (k * len(x)),
        "coverage": sum(map(bool, in_ball_z)) / len(z),
    }


def frechet_distance(x: Any, z: Any) -> float:
    """Squared Frechet distance of the Gaussians fitted to two clouds (as in FID).

    |mu_x - mu_z|^2 + tr(S_x + S_z - 2 (S_x^1/2 S_z S_x^1/2)^1/2), in squared units of x (Dowson &
    Landau 1982, J. Multivar. Anal. 12), by symmetric eigendecompositions: flat clouds (singular S)
    are no exception. Positive by an amount of order d / n even for x from the truth.

    Parameters
    ----------
    x, z : array or Tensor [n, d] or [n_conditions, k, d], at least 2 points each
    """
    x, z = map(_flat, _clouds(x, z))
    if min(len(x), len(z)) < 2:
        raise ValueError(f"a covariance needs at least 2 points, got {min(len(x), len(z))}")
    s_x, s_z = (np.atleast_2d(np.cov(points, rowvar=False)) for points in (x, z))
    values, vectors = np.linalg.eigh(s_x)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ s_z @ root).clip(0)).sum()
    shift = np.sum((x.mean(0) - z.mean(0)) ** 2)
    return float(shift + np.trace(s_x) + np.trace(s_z) - 2 * overlap)


def memorisation(x: Any, z: Any, train_offsets: Any) -> float:
    """Share of samples closer to a training point than the median fresh draw from the truth is.

    Closeness is the distance to the nearest training offset, each in the frame of its condition.
    0.5: nothing memorised (samples lie like fresh draws); 1: replay of the training set; below 0.5
    the samples stay away from the training points, usually because they miss the region.

    Parameters
    ----------
    x, z : array or Tensor [n, d] or [n_conditions, k, d]
        Offsets of samples and of fresh true draws.
    train_offsets : array or Tensor [n_train, d]
        ``y - c`` of the training pairs.
    """
    x, z = map(_flat, _clouds(x, z))
    tree = cKDTree(_tensor("train_offsets", train_offsets, None, x.shape[1]).numpy())
    return float(np.mean(tree.query(x)[0] < np.median(tree.query(z)[0])))


def over_groups(
    statistic: Statistic,
    y: Tensor,
    c: Tensor,
    region: Region,
    generator: Generator,
    groups: int = 10,
) -> dict[str, Estimate]:
    """Mean and interval of a two-cloud statistic over disjoint random groups of conditions.

    Every group compares its samples with as many fresh draws of the region at the same conditions,
    in the frame of the condition. A group has at most `GROUP_LIMIT` samples, from as many
    conditions as possible; few samples make fewer groups. The bounds are mean +- t sd /
    sqrt(groups), t the 97.5 % quantile of Student's law: over 10 groups the normal 1.96 would hold
    the truth in 92 % of runs only.

    Parameters
    ----------
    statistic : callable (x, z) -> dict of floats
        Of the offsets of samples and of true draws, float64 arrays [conditions, k, d].
    y, c, region
        As in `accuracy`.
    generator : Generator
        Shuffles the conditions and draws the truth.
    groups : int
    """
    y, c = _samples(y, c, region)
    if groups < 1:
        raise ValueError(f"groups must be at least 1, got {groups}")
    n, k, _ = y.shape
    groups = max(1, min(groups, n // 2, n * k // GROUP_MINIMUM))
    size = min(n // groups, GROUP_LIMIT)
    k = min(k, GROUP_LIMIT // size)
    shuffled = torch.randperm(n, generator=generator, device=generator.device).cpu()
    results = []
    for rows in shuffled[: groups * size].view(groups, size):
        frame = region.anchor(c[rows])[:, None]
        x, z = y[rows, :k] - frame, region.draw(c[rows], generator, k) - frame
        results.append(statistic(x.numpy(), z.numpy()))
    return {name: _mean(np.array([result[name] for result in results])) for name in results[0]}


def _estimate(value: float, error: float, freedom: int) -> Estimate:
    """value +- t * standard error; nan bounds without degrees of freedom."""
    half = student.ppf(0.975, freedom) * error if freedom > 0 else np.nan
    return Estimate(float(value), float(value - half), float(value + half))


def _mean(values: np.ndarray) -> Estimate:
    """Mean of independent values (one per condition or group) with its interval."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return _estimate(values.mean(), error, len(values) - 1)


def _samples(y: Tensor, c: Tensor, region: Region) -> tuple[Tensor, Tensor]:
    y = _tensor("y", y, None, None, region.dim)
    return y, _tensor("c", c, len(y), region.dc)


def _clouds(x: Any, z: Any) -> list[np.ndarray]:
    """Two clouds of equal d as float64 arrays [n_conditions, k, d]; lone points have k = 1."""
    d, clouds = floating("x", x).shape[-1], []
    for name, points in (("x", x), ("z", z)):
        cloud = _tensor(name, points, *(None,) * (np.ndim(points) - 1), d)
        single = cloud.ndim == 2 or len(cloud) == 1
        clouds.append((cloud.reshape(-1, 1, d) if single else cloud).numpy())
    return clouds


def _flat(points: np.ndarray) -> np.ndarray:
    return points.reshape(-1, points.shape[-1])


def _tensor(name: str, value: Any, *shape: int | None) -> Tensor:
    """value as a finite float64 CPU tensor of the given shape (None: any positive length)."""
    x = floating(name, value).detach().cpu().double()
    wanted = ", ".join("*" if size is None else str(size) for size in shape)
    if x.ndim != len(shape) or any(w not in (None, s) for w, s in zip(shape, x.shape, strict=True)):
        raise ValueError(f"{name} must have shape [{wanted}], got {list(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"{name} must not be empty, got shape {list(x.shape)}")
    if bad := int((~torch.isfinite(x)).sum()):
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite values of {x.numel()}")
    return x
