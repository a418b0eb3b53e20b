"""The study of composition weights, read: the plane of constants, its front, learned curves."""

from __future__ import annotations

import pandas as pd

from dualdiff.experiments.weighting import NAMES
from dualdiff.pages.numbers import select

SCORES = ["accuracy", "total_variation"]
"""What the plane is judged by."""
WEIGHTS = [f"weight_{name}" for name in NAMES]
"""Columns of the constants; rows of other configurations have none."""


def plane(table: pd.DataFrame, scenario: str, recipe: str = "tuned") -> pd.DataFrame:
    """The weight plane of a scenario and recipe, means over seeds.

    Parameters
    ----------
    table : DataFrame
        Tidy, with columns :data:`WEIGHTS`.
    scenario, recipe : str

    Returns
    -------
    DataFrame
        A row per pair: ``general, specialised, accuracy, total_variation`` and ``front``, the rows
        that :func:`front` marks.
    """
    rows = select(table, scenario=scenario, recipe=recipe, target="specialised")
    wide = rows.pivot_table(index=WEIGHTS, columns="metric", values="value")
    found = wide[SCORES].rename_axis(index=NAMES, columns=None).reset_index()
    return found.assign(front=front(found))


def front(points: pd.DataFrame) -> pd.Series:
    """Which rows are on the Pareto front of ``accuracy`` (more) and ``total_variation`` (less).

    A row is on it unless another one is at least as good in both and better in one of them.
    """
    accuracy, variation = (points[name].to_numpy() for name in SCORES)
    no_worse = (accuracy[:, None] >= accuracy) & (variation[:, None] <= variation)
    better = (accuracy[:, None] > accuracy) | (variation[:, None] < variation)
    return pd.Series(~(no_worse & better).any(0), points.index)


def learned(table: pd.DataFrame) -> pd.DataFrame:
    """The weights that trials (``WeightTrial``) found, by timestep.

    Parameters
    ----------
    table : DataFrame
        Tidy; its rows with columns ``member`` and ``t`` count.

    Returns
    -------
    DataFrame
        ``scenario, recipe, seed, configuration, t`` and a column per member.
    """
    keys = ["scenario", "recipe", "seed", "configuration", "t"]
    rows = table.dropna(subset="t").astype({"t": int})
    wide = rows.pivot(index=keys, columns="member", values="value")
    return wide[list(NAMES)].rename_axis(columns=None).reset_index()
