"""Several training runs as one: means over seeds, with the interval that training deserves."""

from __future__ import annotations

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
        table.groupby(names, sort=False, dropna=False)
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
