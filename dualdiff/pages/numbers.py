"""From tidy tables to what a reader sees: numbers with intervals, wide tables, sentences."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas as pd
from IPython.display import Markdown, display

from dualdiff.experiments.pooling import over_seeds
from dualdiff.pages.names import label


def interval(value: float, low: float, high: float) -> str:
    """A value with the half-width of its interval, to its precision: ``0.552 ± 0.011``."""
    if math.isnan(value):
        return "–"
    half = max(high - value, value - low)
    if not half > 0:
        return f"{value:z.3f}"
    # Two digits of the interval, but at most three decimals if these show one of them. The z: no
    # minus before a zero.
    digits = max(0, min(3 if half >= 1e-3 else 4, 1 - math.floor(math.log10(half))))
    return f"{value:z.{digits}f} ± {half:.{digits}f}"


def select(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have these values; of a list, tuple or set: one of them.

    Raises
    ------
    KeyError
        If the table has no such column.
    """
    for column, value in where.items():
        if column not in table:
            raise KeyError(f"no column {column!r}; there are {', '.join(map(str, table.columns))}")
        several = isinstance(value, list | tuple | set | frozenset)
        found = table[column]
        table = table[found.isin(list(value)) if several else found == value]  # type: ignore[call-overload]
    return table


def grid(
    table: pd.DataFrame,
    rows: str | Sequence[str],
    columns: str | Sequence[str] = "metric",
    *,
    digits: str = "",
) -> pd.DataFrame:
    """A tidy table as a reader sees it: a line for each of ``rows``, a column for ``columns``.

    Both in the order in which they first appear, in words (:func:`dualdiff.pages.names.label`);
    cells are :func:`interval`, or values in the format ``digits``, and ``–`` where there is none.

    Raises
    ------
    ValueError
        If several rows of the table fall into one cell.
    """
    keys = [[name] if isinstance(name, str) else [*name] for name in (rows, columns)]
    if twice := table.duplicated([*keys[0], *keys[1]]).sum():
        named = ", ".join([*keys[0], *keys[1]])
        raise ValueError(f"{twice} rows share their cell: {named} do not tell them apart")
    numbers = table[["value", "low", "high"]].itertuples(index=False)
    text = [format(v, digits) if digits else interval(v, low, high) for v, low, high in numbers]
    cells = table.assign(text=text).set_index([*keys[0], *keys[1]])["text"]
    wide = cells.unstack(keys[1], sort=False).fillna("–")
    wide = wide.rename(index=label, columns=label)
    wide.columns.names = [None] * wide.columns.nlevels
    return wide.rename_axis(index=[label(name) for name in keys[0]])


class Numbers:
    """Scores of one metric, to stand in a sentence: ``{tv["joint"]}`` is ``0.123 ± 0.004``.

    Parameters
    ----------
    table : DataFrame
        Tidy: a row per training seed, or pooled already
        (:func:`dualdiff.experiments.pooling.over_seeds`).
    metric : str
    by : str
        The column whose values are looked up.
    where
        Columns and the value of each, as in :func:`select`.
    """

    def __init__(
        self, table: pd.DataFrame, metric: str, *, by: str = "configuration", **where: object
    ) -> None:
        rows = select(table, metric=metric, **where)
        rows = rows if "seeds" in rows else over_seeds(rows)
        self.what = ", ".join([metric, *(f"{k} {v}" for k, v in where.items())])
        if not rows[by].is_unique:
            raise ValueError(f"several rows of {self.what} for one {by}: name more columns")
        scores = rows[["value", "low", "high"]].itertuples(index=False)
        self.scores = dict(zip(rows[by], scores, strict=True))

    def __getitem__(self, name: object) -> str:
        return interval(*self._score(name))

    def value(self, name: object) -> float:
        """The number itself."""
        return float(self._score(name)[0])

    def _score(self, name: object) -> tuple[float, float, float]:
        if name not in self.scores:
            known = ", ".join(map(str, self.scores))
            raise KeyError(f"no {name!r} among {known or 'nothing'} ({self.what})")
        return self.scores[name]


def say(text: str) -> None:
    """Show Markdown, in JupyterLab and in the book; its lines may be indented like the code."""
    display(Markdown(textwrap.dedent(text).strip()))
