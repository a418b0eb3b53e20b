"""Ours against theirs, paired by training seed, and claims that a page makes about it.

One criterion of *better* for the whole book: in every training seed; of a single seed, beyond the
interval over test conditions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats

from dualdiff.pages.names import label, lower
from dualdiff.pages.numbers import interval, select

MARKS = {1: "✓", -1: "✗", 0: "≈"}
"""Better, worse, not told apart."""
NOT_SO = " *(not so in this run)*"


def contrast(
    table: pd.DataFrame,
    ours: str,
    theirs: str,
    metric: str,
    by: Sequence[str] = (),
    *,
    column: str = "configuration",
    **where: object,
) -> pd.DataFrame:
    r"""Ours minus theirs, paired by training seed, with a 95 % interval.

    .. math:: \bar d \pm t_{0.975,\, n-1}\, s / \sqrt n

    over the differences d of the n seeds that both have; with one seed :math:`\sqrt{h_1^2 + h_2^2}`
    of the half-widths over test conditions.

    Parameters
    ----------
    table : DataFrame
        Tidy, a row per training seed.
    ours, theirs : str
        Values of ``column``.
    metric : str
    by : sequence of str
        A line for each combination of these columns.
    column : str
    where
        Columns and the value of each, as in :func:`dualdiff.pages.numbers.select`.

    Returns
    -------
    DataFrame
        ``by``, ``ours, theirs, metric, value, low, high``, ``seeds`` (the differences) and
        ``better``: 1 ours, -1 theirs, 0 not told apart.

    Raises
    ------
    ValueError
        If one of the two has two rows for one seed, or no seed is in both.
    """
    by = [by] if isinstance(by, str) else [*by]
    rows = select(table, **{column: (ours, theirs)}, metric=metric, **where)
    lines = []
    for key, part in rows.groupby(by, sort=False) if by else [((), rows)]:
        a, b = (select(part, **{column: name}).set_index("seed") for name in (ours, theirs))
        if not (a.index.is_unique and b.index.is_unique):
            raise ValueError(f"{ours} or {theirs} has two rows for a seed: name more columns")
        seeds = a.index.intersection(b.index)
        if seeds.empty:
            continue
        each = (a["value"] - b["value"])[seeds].astype(float)
        if len(seeds) == 1:
            half = math.hypot(*(float((x["high"] - x["value"])[seeds[0]]) for x in (a, b)))
            signs = [each.iloc[0] - half, each.iloc[0] + half]
        else:
            half = float(stats.t.ppf(0.975, len(seeds) - 1) * each.std() / math.sqrt(len(seeds)))
            signs = [*each]
        sign = 1 if min(signs) > 0 else -1 if max(signs) < 0 else 0
        mean = float(each.mean())
        found = (mean, mean - half, mean + half, tuple(each), -sign if lower(metric) else sign)
        lines.append((*key, ours, theirs, metric, *found))
    if not lines:
        raise ValueError(f"{ours} and {theirs} have no seed of {metric} in common: {where}")
    columns = ["ours", "theirs", "metric", "value", "low", "high", "seeds", "better"]
    return pd.DataFrame(lines, columns=[*by, *columns])


def verdicts(found: pd.DataFrame) -> list[str]:
    """Every line of a :func:`contrast` in short: ``✓ +0.123 ± 0.004``."""
    lines = []
    for better, value, high in zip(found["better"], found["value"], found["high"], strict=True):
        half, size = high - value, abs(value)
        sign = "+" if value > 0 else "−" if value < 0 else ""
        lines.append(f"{MARKS[better]} {sign}{interval(size, size - half, size + half)}")
    return lines


class Claims:
    """What the sentences of a page rest on: said where it does not hold, asserted in its check.

    ``{claim(x > y, "x above y")}`` in a sentence is empty where it holds, else "not so in this
    run".
    """

    def __init__(self) -> None:
        self.found: dict[str, bool] = {}

    def __call__(self, holds: object, what: str) -> str:
        """A claim in words, and whether it holds."""
        self.found[what] = bool(holds)
        return "" if holds else NOT_SO

    def better(
        self,
        table: pd.DataFrame,
        ours: str,
        theirs: str,
        metric: str,
        expected: int = 1,
        **where: object,
    ) -> str:
        """Ours is better (1), worse (-1) or neither (0), in every line of a :func:`contrast`."""
        found = contrast(table, ours, theirs, metric, **where)["better"]  # type: ignore[arg-type]
        words = {1: "better than", -1: "worse than", 0: "not told apart from"}[expected]
        place = ", ".join(f"{k} {v}" for k, v in where.items() if k != "by")
        what = f"{label(ours)} {words} {label(theirs)} by {label(metric)}"
        return self((found == expected).all(), f"{what} ({place})" if place else what)

    def check(self, asserted: bool = True) -> None:
        """Print how many claims hold and which do not.

        Parameters
        ----------
        asserted : bool
            Whether one that does not hold is an error, as at the default parameters.

        Raises
        ------
        AssertionError
            With all claims that do not hold.
        """
        broken = [what for what, holds in self.found.items() if not holds]
        if self.found:
            print(f"{len(self.found) - len(broken)} of {len(self.found)} claims of this page hold.")
        if broken and asserted:
            raise AssertionError("claims of this page do not hold: " + "; ".join(broken))
        for what in broken:
            print(f"Not so in this run: {what}.")
