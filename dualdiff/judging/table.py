"""Rows of trials as one table: a line per problem and entry, with floor, cost and rank."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from dualdiff.judging.problems import PROBLEMS


def joined(rows: pd.DataFrame) -> pd.DataFrame:
    """A line per problem and entry, in the order of the problems and then by rank.

    Parameters
    ----------
    rows : DataFrame
        Columns ``scenario, configuration, seed, metric, value``.

    Returns
    -------
    DataFrame
        ``problem, entry``; ``value, low, high``, the total variation with a 95 % t interval over
        seeds; ``floor``, that of as many draws of the truth; ``left``, where it is asked, and
        ``left_truth``; ``calls`` per sample and ``steps``; ``rank`` among all entries on the
        problem; ``mean_rank`` over the problems of the entry. Both are missing for an entry of
        fewer samples than others: its floor is higher, so its place says nothing.
    """
    wide = rows.pivot_table("value", ["scenario", "configuration", "seed"], "metric")
    grouped = wide.groupby(level=[0, 1])
    table = grouped.mean().rename(
        columns={"total_variation": "value", "total_variation_floor": "floor"}
    )
    count = grouped.size()
    error: pd.Series[float] = grouped["total_variation"].std() / np.sqrt(count)
    half = error * stats.t.ppf(0.975, (count - 1).clip(lower=1))
    table["low"], table["high"] = (table["value"] - half).clip(lower=0), table["value"] + half
    table = table.reset_index().rename(columns={"scenario": "problem", "configuration": "entry"})
    lowest = table.groupby("problem")["floor"].transform("min")
    alike = table["value"].where(table["floor"] <= 1.001 * lowest)  # kept to seven digits
    table["rank"] = alike.groupby(table["problem"]).rank(method="min").astype("Int64")
    table["mean_rank"] = table.groupby("entry")["rank"].transform("mean").astype(float)
    place = table["problem"].map([*PROBLEMS].index)
    table = table.assign(place=place).sort_values(["place", "rank"], kind="stable")
    first = ["problem", "entry", "value", "low", "high", "floor", "rank", "mean_rank"]
    more = [name for name in ("left", "left_truth", "calls", "steps") if name in table]
    return table[[*first, *more]].reset_index(drop=True).rename_axis(columns=None)
