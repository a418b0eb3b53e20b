"""Groups of weighted particles: effective sample size and systematic resampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Resampling:
    """Groups of particles of one condition that compete with each other.

    Parameters
    ----------
    group : int
        Particles per group, K.
    threshold : float
        A group resamples when its effective share falls below it; at the last step always, and only
        there if it is 0.
    """

    group: int = 50
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.group < 2:
            raise ValueError(f"group must be at least 2, not {self.group}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be between 0 and 1, not {self.threshold}")


def effective_share(log_weights: Tensor) -> Tensor:
    r"""Effective sample size as a share of the group, per condition.

    .. math:: \frac{(\sum_k w_k)^2}{K \sum_k w_k^2}

    ``log_weights [n, K]`` to ``[n]``, between 1 / K (one sample carries all) and 1 (Kong 1992).

    Raises
    ------
    ValueError
        If the weights are not finite or not ``[n, K >= 1]``.
    """
    if log_weights.ndim != 2 or log_weights.shape[1] < 1:
        raise ValueError(f"log_weights must have shape [n, K >= 1], not {list(log_weights.shape)}")
    if not bool(torch.isfinite(log_weights).all()):
        raise ValueError("log_weights must be finite")
    return _effective(log_weights)


def _effective(log_weights: Tensor) -> Tensor:
    first, second = (torch.logsumexp(k * log_weights.double(), 1) for k in (1, 2))
    return torch.exp(2 * first - second - math.log(log_weights.shape[1]))


def systematic(log_weights: Tensor, uniform: Tensor) -> Tensor:
    r"""Systematic resampling within groups: which particle each place is taken by.

    Place k of K takes the particle at :math:`(k + u) / K` of the cumulated weights, so a particle
    of normalised weight w is taken :math:`\lfloor K w \rfloor` or one more times, K w in the mean.

    Parameters
    ----------
    log_weights : Tensor [n, K]
    uniform : Tensor [n]
        One u of [0, 1) per group.

    Returns
    -------
    Tensor [n, K]
        Ancestors, int64, ascending.

    Notes
    -----
    Kitagawa (1996).
    """
    k = log_weights.shape[1]
    total = log_weights.double().softmax(1).cumsum(1)
    place = (torch.arange(k, device=uniform.device) + uniform.double().unsqueeze(1)) / k
    return torch.searchsorted(total / total[:, -1:], place, right=True).clamp(max=k - 1)


class Resampled(NamedTuple):
    """The row that each row is taken from, the weights left; per group: ESS, distinct share."""

    places: Tensor
    log_weights: Tensor
    effective: Tensor
    unique: Tensor


def resample(log_weights: Tensor, uniform: Tensor, how: Resampling, last: bool) -> Resampled:
    """Resample the groups in consecutive rows that are due: ``log_weights``, ``uniform [n]``."""
    grouped = log_weights.view(-1, how.group)
    effective = _effective(grouped)
    due = ((effective < how.threshold) | last).unsqueeze(1)
    own = torch.arange(how.group, device=due.device)
    ancestors = torch.where(due, systematic(grouped, uniform[:: how.group]), own)
    first = how.group * torch.arange(len(grouped), device=due.device).unsqueeze(1)
    distinct = 1 + (ancestors[:, 1:] != ancestors[:, :-1]).sum(1)  # ancestors ascend
    left = torch.where(due, 0.0, grouped).flatten()
    share = distinct / how.group
    return Resampled((ancestors + first).flatten(), left, effective.to(share), share)
