"""Which method leads: readings of the tables of :mod:`dualdiff.experiments.adaptation`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dualdiff.experiments.pooling import over_seeds
from dualdiff.pages.compare import contrast
from dualdiff.pages.names import lower


def leaders(table: pd.DataFrame, metric: str, by: Sequence[str]) -> pd.DataFrame:
    """The best configuration by its mean over seeds, and those not told apart from it.

    Parameters
    ----------
    table : DataFrame
        Tidy, a row per training seed.
    metric : str
    by : sequence of str
        A line for each combination of these columns.

    Returns
    -------
    DataFrame
        ``by``, ``best``, its pooled ``value, low, high``, and ``ties``: the configurations, best
        first, that :func:`dualdiff.pages.compare.contrast` does not tell apart from it.

    Raises
    ------
    ValueError
        If two configurations of a line have no seed in common.
    """
    lines = []
    for key, part in table[table["metric"] == metric].groupby([*by], sort=False):
        pooled = over_seeds(part).set_index("configuration")
        best, *rest = pooled["value"].sort_values(ascending=lower(metric), kind="stable").index
        found = {name: contrast(part, best, name, metric)["better"].iloc[0] for name in rest}
        ties = tuple(name for name, better in found.items() if better == 0)
        lines.append((*key, best, *pooled.loc[best, ["value", "low", "high"]], ties))
    return pd.DataFrame(lines, columns=[*by, "best", "value", "low", "high", "ties"])
