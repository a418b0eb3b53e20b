"""Our tables beside the thesis's: order, spread over training, assumptions changed one by one."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.shifted import SETTINGS
from dualdiff.experiments.trial import KEY
from dualdiff.pages.compare import contrast
from dualdiff.pages.numbers import select
from dualdiff.results.thesis import thesis_table

SCORE = [*(name for name in KEY if name != "seed"), "target", "metric"]
"""Columns that are the same for all training runs of a score."""


def with_error(table: pd.DataFrame, conditions: int) -> pd.DataFrame:
    """:func:`dualdiff.experiments.pooling.over_seeds`, and the error that a single seed has.

    Adds ``error``, the standard error over test conditions of one seed (root mean square over the
    seeds; for scores whose interval is over conditions, like accuracy), and ``conditions``.
    """
    quantile = stats.t.ppf(0.975, conditions - 1)
    square = ((table["high"] - table["low"]) / 2 / quantile) ** 2
    error = table.assign(error=square).groupby(SCORE, sort=False)["error"].mean() ** 0.5
    pooled = over_seeds(table).merge(error.reset_index(), on=SCORE)
    return pooled.assign(conditions=conditions)


def with_setting(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the overlap study's six settings, in the thesis's order, column ``setting``."""
    names = {distance: setting for setting, distance in SETTINGS.items()}
    known = table.assign(setting=table["distance"].map(names)).dropna(subset="setting")
    place = known["setting"].map({setting: n for n, setting in enumerate(SETTINGS)})
    return known.iloc[place.argsort(kind="stable")]


class Ranking(NamedTuple):
    """How two orders agree: Kendall's tau-b, and the pairs ``(lower, higher)`` in our order that
    the thesis has the other way round, in every seed or on the mean alone."""

    tau: float
    clear: list[tuple[Any, Any]]
    unclear: list[tuple[Any, Any]]


def ranking(theirs: pd.Series, ours: pd.DataFrame) -> Ranking:
    """Compare the order of the thesis's numbers with that of ours.

    Parameters
    ----------
    theirs : Series
        By configuration, or by anything else that the column ``configuration`` of ``ours`` holds.
    ours : DataFrame
        One metric, a row per training seed. Which of two is the higher one is asked seed by seed,
        since runs of one seed share data and test conditions.
    """
    rows = ours.dropna(subset="value").assign(metric="score")
    mean = rows.groupby("configuration")["value"].mean().sort_values()
    mean = mean[[name for name in mean.index if name in theirs.index]]
    tau = float(stats.kendalltau(theirs[mean.index], mean).statistic)
    found = Ranking(tau, [], [])
    for a, b in combinations(mean.index, 2):
        if theirs[a] > theirs[b] and mean[a] < mean[b]:
            clear = contrast(rows, b, a, "score")["better"].iloc[0] == 1
            (found.clear if clear else found.unclear).append((a, b))
    return found


def widening(rows: pd.DataFrame, conditions: int) -> pd.Series:
    r"""By what factor intervals over seeds grow with fewer test conditions.

    A seed's score varies by :math:`\tau^2 + e^2`, training and conditions; :math:`e^2` grows by
    n / m when m of n conditions are used: :math:`\sqrt{(\tau^2 + e^2 n / m) / (\tau^2 + e^2)}`.

    Parameters
    ----------
    rows : DataFrame
        Of :func:`with_error`.
    conditions : int
        m.
    """
    squared = rows["error"] ** 2
    total = np.maximum(rows["spread"] ** 2, squared)
    return np.sqrt((total - squared + squared * rows["conditions"] / conditions) / total)


def sensitivity(pooled: pd.DataFrame, scenario: str, metric: str) -> pd.DataFrame:
    """What each change of recipe ``plain`` does to each configuration.

    Parameters
    ----------
    pooled : DataFrame
        Of :func:`dualdiff.experiments.pooling.over_seeds`; a recipe per change.
    scenario, metric : str

    Returns
    -------
    DataFrame
        Index ``recipe, configuration``; columns ``value``, ``difference`` to the unchanged recipe,
        ``spread`` (standard deviation over seeds, pooled over the recipes), ``units``
        (difference / spread), ``moves`` (beyond the 95 % t interval of a difference of two means)
        and ``thesis``.
    """
    rows = select(pooled, scenario=scenario, metric=metric, target="specialised")
    base = select(rows, recipe="plain").set_index("configuration")
    lines = []
    for name, part in rows.groupby("configuration", sort=False):
        spread = math.sqrt((part["spread"] ** 2).mean())
        freedom = (part["seeds"] - 1).sum()
        quantile = stats.t.ppf(0.975, freedom) if freedom > 0 else math.nan
        own = base.loc[str(name)]
        difference = part["value"] - own["value"]
        margin = quantile * spread * np.sqrt(1 / part["seeds"] + 1 / own["seeds"])
        lines.append(
            part[["recipe", "configuration", "value"]].assign(
                difference=difference,
                spread=spread,
                units=difference / spread if spread > 0 else math.nan,
                moves=(difference.abs() > margin) & (part["recipe"] != "plain"),
                thesis=thesis_table(scenario)[metric][str(name)],
            )
        )
    return pd.concat(lines).set_index(["recipe", "configuration"])
