"""Several training runs as one: means over seeds, with the interval that training deserves."""

from __future__ import annotations

import math
from typing import NamedTuple

import pandas as pd
from scipy import stats

OF_A_RUN = ("profile", "seed", "value", "low", "high", "seconds", "error")
"""Columns of a tidy table that belong to one run; all others name what was measured."""


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    r"""Mean over training seeds of everything that a tidy table measures, with a 95 % interval.

    .. math:: \bar v \pm t_{0.975,\, n-1}\, s / \sqrt n

    with s the standard deviation over the n seeds, so the interval holds what training varies.
    With a single seed the interval over test conditions stands. A value that is not a number in
    some seed is left out there.

    Parameters
    ----------
    table : DataFrame
        Columns ``seed, value, low, high`` and those that name what was measured.

    Returns
    -------
    DataFrame
        The naming columns, ``value, low, high``, ``spread`` (s) and ``seeds`` (n), in the order in
        which they first appear.
    """
    names = [name for name in table.columns if name not in OF_A_RUN]
    pooled = (
        table.groupby(names, sort=False)
        .agg(
            value=("value", "mean"),
            low=("low", "first"),
            high=("high", "first"),
            spread=("value", "std"),
            seeds=("value", "count"),
            runs=("value", "size"),
        )
        .reset_index()
    )
    several = pooled["runs"] > 1
    freedom = (pooled["seeds"] - 1).clip(lower=1)
    half = stats.t.ppf(0.975, freedom) * pooled["spread"] / pooled["seeds"] ** 0.5
    pooled["low"] = (pooled["value"] - half).where(several, pooled["low"])
    pooled["high"] = (pooled["value"] + half).where(several, pooled["high"])
    return pooled.drop(columns="runs")


class Difference(NamedTuple):
    """One configuration minus another, paired by training seed."""

    value: float
    low: float
    high: float
    seeds: tuple[float, ...]
    lower: bool
    """Whether less is better."""

    @property
    def better(self) -> int:
        """1 better, -1 worse, 0 undecided: of several seeds all agree; of one the interval does."""
        some = self.seeds if len(self.seeds) > 1 else (self.low, self.high)
        sign = 1 if min(some) > 0 else -1 if max(some) < 0 else 0
        return -sign if self.lower else sign

    @property
    def word(self) -> str:
        """The same in words, to be followed by the other's name."""
        return {1: "better than", -1: "worse than", 0: "not told apart from"}[self.better]

    @property
    def wins(self) -> int:
        """In how many seeds it is the better one."""
        return sum((d < 0) if self.lower else (d > 0) for d in self.seeds)

    @property
    def short(self) -> str:
        """For a table: the difference, and wins of seeds."""
        text = f"{self.value:+.3f} ± {self.high - self.value:.3f}"
        return text + (f" ({self.wins}/{len(self.seeds)})" if len(self.seeds) > 1 else "")

    def __str__(self) -> str:
        text = f"{self.value:+.3f} ± {self.high - self.value:.3f}"
        return text + (f", {self.wins} of {len(self.seeds)} seeds" if len(self.seeds) > 1 else "")


def over_common_seeds(a: pd.DataFrame, b: pd.DataFrame, lower: bool) -> Difference:
    """a minus b over the seeds, their index, that both have; columns ``value, low, high``."""
    seeds = a.index.intersection(b.index)
    each = (a["value"] - b["value"])[seeds]
    if len(seeds) == 1:
        half = math.hypot(*(float((own["high"] - own["value"])[seeds[0]]) for own in (a, b)))
    else:
        half = float(stats.t.ppf(0.975, len(seeds) - 1) * each.std() / len(seeds) ** 0.5)
    mean = float(each.mean())
    return Difference(mean, mean - half, mean + half, tuple(each), lower)
