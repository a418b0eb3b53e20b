"""Columns of a user's table: what their values become in a model, and how samples come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

TRANSFORMS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], float]] = {
    "identity": (lambda x: x, lambda x: x, -np.inf),
    "asinh": (np.arcsinh, np.sinh, -np.inf),
    "log": (np.log, np.exp, 0.0),
    "log1p": (np.log1p, np.expm1, -1.0),
}
"""Function, inverse, and the number above which values must lie."""
LEVELS = 20
"""Different texts of a column at most: each becomes a column of zeros and ones."""
DAY = pd.Timedelta(days=1)


class Note(NamedTuple):
    """What was done to a column ("" for all): kind, how many rows, the first of them, details."""

    column: str
    what: str
    rows: int = 0
    first: tuple[int, ...] = ()
    detail: str = ""


def numbered(where: np.ndarray) -> tuple[int, tuple[int, ...]]:
    """How many rows, and the numbers of the first three; the first row of a table is 1."""
    found = np.flatnonzero(where)
    return len(found), tuple(int(i) + 1 for i in found[:3])


@dataclass(frozen=True)
class Column:
    """A column, and how its values become numbers.

    Parameters
    ----------
    name : str
    transform : str
        Of :data:`TRANSFORMS`, applied to numbers.
    levels : tuple of str
        Of a text column: one column of zeros and ones for each.
    date : bool
        Dates and times, as days since 1970 (UTC).

    Raises
    ------
    ValueError
        For an unknown transform, and one of a text column.
    """

    name: str
    transform: str = "identity"
    levels: tuple[str, ...] = ()
    date: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if self.transform not in TRANSFORMS:
            raise ValueError(
                f"transform of column {self.name!r} is {self.transform!r}; it must be one of "
                f"{', '.join(TRANSFORMS)}"
            )
        if self.levels and self.transform != "identity":
            raise ValueError(
                f"column {self.name!r} holds text, which takes no transform; leave "
                f"{self.transform!r} out"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers that it becomes."""
        return tuple(f"{self.name}={level}" for level in self.levels) or (self.name,)

    def encode(self, values: pd.Series, where: str) -> np.ndarray:
        """Values without missing ones as numbers ``[n, len(names)]``, float64.

        Raises
        ------
        ValueError
            Naming ``where`` (the file), the column, the row and what to do.
        """
        if self.levels:
            told = values.astype(str).to_numpy(dtype=object)
            refuse(values, ~np.isin(told, self.levels), where, f"one of {self.levels}")
            return np.stack([told == level for level in self.levels], 1).astype(float)
        numbers = days(values, where) if self.date else numeric(values, where)
        forward, _, above = TRANSFORMS[self.transform]
        right = f"above {above:g} for transform {self.transform!r}"
        refuse(values, ~(numbers > above) & ~np.isinf(numbers), where, right)
        found: np.ndarray = forward(numbers)
        return found[:, None]

    def decode(self, numbers: np.ndarray) -> pd.Series:
        """Numbers ``[n, len(names)]`` in the units and types of the user's column."""
        if self.levels:
            return pd.Series(np.array(self.levels, dtype=object)[numbers.argmax(1)], name=self.name)
        with np.errstate(over="ignore"):
            values = TRANSFORMS[self.transform][1](numbers[:, 0].astype(float))
        return pd.Series(
            pd.Timestamp(0) + pd.to_timedelta(values, unit="D") if self.date else values,
            name=self.name,
        )


def refuse(values: pd.Series, bad: np.ndarray, where: str, right: str) -> None:
    """Say in which row a value is not what it must be, if there are such rows."""
    if bad.any():
        count, rows = numbered(bad)
        found = values.tolist()[rows[0] - 1]
        raise ValueError(
            f"{where}, column {values.name!r}, row {rows[0]}: {found!r} must be {right} ({count} "
            "such rows); correct or remove them, or leave the column out"
        )


def numeric(values: pd.Series, where: str) -> np.ndarray:
    """Values as float64; text among them is refused with its row."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    found = pd.to_numeric(values, errors="coerce")
    bad = (found.isna() & values.notna()).to_numpy()
    refuse(values, bad, where, "a number, or empty where it is missing")
    return found.to_numpy(dtype=np.float64, na_value=np.nan)


def days(values: pd.Series, where: str) -> np.ndarray:
    """Dates and times as days since 1970, NaN where missing."""
    how = None if _is_date(values) else "ISO8601"
    found = pd.to_datetime(values, utc=True, format=how, errors="coerce")
    bad = (found.isna() & values.notna()).to_numpy()
    refuse(values, bad, where, "a date written as 2021-05-01")
    return ((found - pd.Timestamp(0, tz="UTC")) / DAY).to_numpy(dtype=np.float64)


def _is_date(values: pd.Series) -> bool:
    return pd.api.types.is_datetime64_any_dtype(values)


def column_of(values: pd.Series, role: str, transform: str, where: str) -> Column:
    """How a column is to become numbers: its kind is found by its values.

    Raises
    ------
    ValueError
        For text where it cannot be one-hot: in a target, or of more than :data:`LEVELS` levels.
    """
    name, present = str(values.name), values.dropna()
    if _is_date(values) or _dates(present):
        return Column(name, transform, date=True)
    if pd.api.types.is_numeric_dtype(values.dtype) or _some_numbers(present):
        return Column(name, transform)
    levels = sorted(present.astype(str).unique())
    if not levels:
        raise ValueError(f"{where}, column {name!r} is empty; leave it out")
    if role == "y":
        raise ValueError(
            f"{where}, column {name!r}, row {numbered(values.notna().to_numpy())[1][0]}: a target "
            f"must be a number, not {levels[0]!r}; make it a condition, or leave it out"
        )
    if len(levels) > LEVELS:
        raise ValueError(
            f"{where}, column {name!r} holds {len(levels):,} different texts, and a text "
            f"condition may have {LEVELS}; group them, write dates as 2021-05-01, or leave it out"
        )
    return Column(name, transform, levels=tuple(levels))


def _dates(present: pd.Series) -> bool:
    """Whether texts are dates as ISO 8601 writes them (and no numbers, such as a year)."""
    if not len(present) or not present.map(lambda x: isinstance(x, str) and "-" in x[1:]).all():
        return False
    try:
        pd.to_datetime(present, utc=True, format="ISO8601")
    except ValueError:
        return False
    return True


def _some_numbers(present: pd.Series) -> bool:
    """Whether there are numbers among objects: then the others are mistakes, not levels."""
    return len(present) > 0 and bool(pd.to_numeric(present, errors="coerce").notna().any())


def units_of(frame: pd.DataFrame, unit: str, where: str) -> np.ndarray:
    """Whose rows these are, as texts: a number is the same unit, however a file has written it.

    Raises
    ------
    ValueError
        If there is no such column, or a row without a unit.
    """
    if unit not in frame:
        raise ValueError(
            f"{where} has no column {unit!r}, the unit; it has {', '.join(map(str, frame))}"
        )
    values = frame[unit]
    refuse(values, values.isna().to_numpy(), where, "there: every row needs its unit")
    if pd.api.types.is_float_dtype(values.dtype) and bool((values % 1 == 0).all()):
        values = values.astype("int64")
    return values.astype(str).to_numpy(dtype=object)


def described(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Columns as JSON."""
    return [{**vars(column), "levels": list(column.levels)} for column in columns]


def of(described: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Columns of their JSON."""
    return tuple(Column(**entry) for entry in described)
