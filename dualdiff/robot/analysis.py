"""How different two sets of rows are: overlap, principal components, two-sample tests."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff.robot.dataset import encode, features_of, offsets_of
from dualdiff.robot.kinds import TYPES

BINS = 20


def targets_of(rows: pd.DataFrame, frame: str) -> Tensor:
    """Targets of rows in a frame, ``[n, 2]``."""
    return encode(frame, features_of(rows), offsets_of(rows))


def overlap_coefficient(x: Tensor, z: Tensor, bins: int = BINS) -> float:
    r"""Mass that two clouds of targets share, from 0 (apart) to 1 (the same law).

    .. math:: \int \min(p, q) = 1 - \mathrm{TV}(p, q)

    on ``bins`` x ``bins`` cells over the central 99.8 % of both, the outer ones open (Inman and
    Bradley 1989). Finite samples of one law score below 1 by about the sum over cells of the
    counts' errors.

    Parameters
    ----------
    x, z : Tensor [n, 2], [m, 2]

    Raises
    ------
    ValueError
        For other shapes, empty clouds or fewer than 2 bins.
    """
    for name, cloud in (("x", x), ("z", z)):
        if cloud.ndim != 2 or cloud.shape[1] != 2 or len(cloud) == 0:
            raise ValueError(f"{name} must have shape [n >= 1, 2], not {list(cloud.shape)}")
    if bins < 2:
        raise ValueError(f"bins must be at least 2, not {bins}")
    a, b = x.double().numpy(), z.double().numpy()
    ends = [np.quantile(cloud, (0.001, 0.999), axis=0) for cloud in (a, b)]
    low, high = np.minimum(ends[0][0], ends[1][0]), np.maximum(ends[0][1], ends[1][1])
    edges = [np.linspace(low[k], high[k] + 1e-9, bins + 1) for k in range(2)]
    # What lies further out counts in the cells at the edge.
    p, q = (np.histogramdd(cloud.clip(low, high), edges)[0] / len(cloud) for cloud in (a, b))
    return float(np.minimum(p, q).sum())


def overlap_table(
    rows: pd.DataFrame, frames: tuple[str, ...], limit: int = 100_000, special: str = "Ball"
) -> pd.DataFrame:
    """Overlap coefficient of every type's targets with those of the special one, by frame.

    Columns ``type, frame, overlap``; ``all nine`` pools the types, and ``Ball, other rows`` is what
    two halves of the special type's own rows score: the most that can be reached.
    """
    kind = rows["type"]
    groups = {name: rows[kind == TYPES.index(name)] for name in TYPES if name != special}
    groups["all nine"] = pd.concat(list(groups.values()))
    own = rows[kind == TYPES.index(special)]
    groups[f"{special}, other rows"] = own.iloc[1::2]
    own = own.iloc[::2]
    found = []
    for frame in frames:
        aim = targets_of(_thinned(own, limit), frame)
        for name, some in groups.items():
            value = overlap_coefficient(targets_of(_thinned(some, limit), frame), aim)
            found.append((name, frame, value))
    return pd.DataFrame(found, columns=["type", "frame", "overlap"])


def _thinned(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    """At most ``limit`` rows, evenly spread."""
    if len(rows) <= limit:
        return rows
    return rows.iloc[np.linspace(0, len(rows) - 1, limit).round().astype(int)]


def one_per_task(rows: pd.DataFrame, n: int, generator: torch.Generator) -> pd.DataFrame:
    """One row of each of ``n`` random tasks: independent rows, which a permutation test needs.

    Raises
    ------
    ValueError
        If there are fewer tasks.
    """
    shuffled = rows.iloc[torch.randperm(len(rows), generator=generator).numpy()]
    first = shuffled.drop_duplicates("task")
    if len(first) < n:
        raise ValueError(f"n must be at most the {len(first)} tasks of these rows, not {n}")
    return first.iloc[:n]


class Components(NamedTuple):
    """Two sets projected on the principal components of both together."""

    first: Tensor
    second: Tensor
    shares: Tensor
    """Share of the variance of every component."""


def principal_components(x: Tensor, z: Tensor, count: int = 2) -> Components:
    """Project ``x [n, d]`` and ``z [m, d]`` on the leading components of their z-scores.

    Columns without variance are left out (Jolliffe 2002, "Principal Component Analysis").
    """
    both = torch.cat([x, z]).double()
    std = both.std(0)
    scores = ((both - both.mean(0)) / std)[:, std > 1e-9]
    _, values, vectors = torch.linalg.svd(scores, full_matrices=False)
    projected = scores @ vectors[:count].T
    return Components(projected[: len(x)], projected[len(x) :], values**2 / (values**2).sum())


class Permutation(NamedTuple):
    """A two-sample statistic, its values under random relabelling, and the p-value."""

    observed: float
    null: Tensor
    p: float


def permutation_test(
    x: Tensor, z: Tensor, generator: torch.Generator, permutations: int = 999
) -> Permutation:
    r"""Whether two samples have one law: energy distance with a permutation p-value.

    Under that hypothesis labels are exchangeable, so
    :math:`p = (1 + \#\{E_\pi \ge E\}) / (1 + \text{permutations})` is exact: at most p with
    probability p (Szekely and Rizzo 2004; Phipson and Smyth 2010).

    Parameters
    ----------
    x, z : Tensor [n, d], [m, d]
        Independent rows, in units that make distances meaningful.
    generator : torch.Generator
    permutations : int

    Raises
    ------
    ValueError
        For shapes that do not fit or fewer than one permutation.
    """
    if x.ndim != 2 or z.ndim != 2 or x.shape[1] != z.shape[1] or min(len(x), len(z)) < 2:
        raise ValueError(
            f"x and z must have shapes [n >= 2, d] and [m >= 2, d], "
            f"not {list(x.shape)} and {list(z.shape)}"
        )
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")
    n, m = len(x), len(z)
    both = torch.cat([x, z]).double()
    gaps = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist")
    order = torch.stack([torch.randperm(n + m, generator=generator) for _ in range(permutations)])
    in_x = torch.zeros(permutations + 1, n + m, dtype=torch.float64)
    in_x[0, :n] = 1
    in_x[1:].scatter_(1, order[:, :n], 1.0)
    towards_x, total = in_x @ gaps, gaps.sum()
    own = (towards_x * in_x).sum(1)
    across = towards_x.sum(1) - own
    other = total - own - 2 * across
    values = 2 * across / (n * m) - own / (n * (n - 1)) - other / (m * (m - 1))
    observed, null = float(values[0]), values[1:]
    # Relabellings that give the same two sets differ from them by rounding alone.
    p = (1 + int((null >= observed - 1e-9 * abs(observed)).sum())) / (1 + permutations)
    return Permutation(observed, null, p)
