"""The table of a sweep, whatever its notebook was: runs, means over seeds, what varies."""

from __future__ import annotations

import pandas as pd

from dualdiff.experiments.pooling import OF_A_RUN, over_seeds
from dualdiff.experiments.profiles import PARAMETERS

SETTINGS = ("device", "quiet")
"""Parameters that decide where and how it runs, not what."""


def runs(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a sweep with a row for each training run and number.

    A notebook that trains with several seeds says so in ``recorded_seed``; two points may then
    hold the same run, which counts once.
    """
    own = table.drop(columns=[name for name in SETTINGS if name in table])
    if "recorded_seed" in own:
        own = own.drop(columns="seed").rename(columns={"recorded_seed": "seed"})
    if "profile" in own and own["profile"].nunique() > 1:
        own = own.assign(size=own["profile"])  # a column that names, not one of a run
    own = own.assign(**{end: own.get(end, float("nan")) for end in ("low", "high")})
    names = [str(name) for name in own if name not in OF_A_RUN]
    # A name that some rows lack is a name, too; grouping would leave these rows out.
    own[names] = own[names].astype(object).where(own[names].notna(), "–").infer_objects()
    if "seed" not in own:
        own = own.assign(seed=0)
    return own.drop_duplicates([*names, "seed"], ignore_index=True)


def means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with its 95 % interval; what is the same in every row is left out."""
    pooled = over_seeds(runs(table))
    numbers = ("value", "low", "high", "spread", "seeds")
    same = [n for n in pooled if n not in (*numbers, "metric") and pooled[n].nunique() == 1]
    pooled = pooled.drop(columns=same)
    pooled.attrs = {"parameters": parameters_of(table)}
    return pooled


def parameters_of(table: pd.DataFrame) -> list[str]:
    """The columns that are parameters, as a sweep says; those of the book if nobody does."""
    return [str(name) for name in table.attrs.get("parameters", PARAMETERS) if name in table]


def names_of(pooled: pd.DataFrame) -> list[str]:
    """The columns of :func:`means` that say what was measured, ``metric`` apart."""
    numbers = ("metric", "value", "low", "high", "spread", "seeds")
    return [str(name) for name in pooled if name not in numbers]


def axis_of(pooled: pd.DataFrame) -> str | None:
    """The column to draw along: the first parameter that varies, one with numbers if there is."""
    varied = [name for name in names_of(pooled) if name in parameters_of(pooled)]
    numeric = [name for name in varied if pd.api.types.is_numeric_dtype(pooled[name])]
    return next(iter([*numeric, *varied]), None)
