"""A table of targets and conditions: from arrays or files, checked, with what was done to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff.data.columns import Column, Note, column_of, described, numbered, units_of
from dualdiff.files import digest, write
from dualdiff.process import floating
from dualdiff.randomness import check_generator

Source = str | os.PathLike[str] | pd.DataFrame
"""A file, CSV or parquet, or a frame."""


def frame_of(source: Source) -> pd.DataFrame:
    """The rows of a CSV or parquet file, or a frame as it is.

    Raises
    ------
    ValueError
        If it is not there, of another kind, or cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True)
    if not isinstance(source, str | os.PathLike):
        raise ValueError(f"a table must be a file or a frame, not a {type(source).__name__}")
    path = Path(source)
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers or not path.is_file():
        there = "is no file" if path.suffix in readers else "is of another kind"
        raise ValueError(
            f"{path} {there}; a table must be a file .csv or .parquet (this one: {path.absolute()})"
        )
    try:
        frame: pd.DataFrame = readers[path.suffix](path)
    except (ValueError, OSError) as error:  # also of pandas' parser and of pyarrow
        raise ValueError(f"{path} cannot be read as {path.suffix[1:]}: {error}") from None
    if frame.shape[1] == 1 and ";" in str(frame.columns[0]):
        raise ValueError(f"{path} is separated by ';'; save it with commas between columns")
    return frame


def writer_of(path: str | os.PathLike[str]) -> Callable[[pd.DataFrame], None]:
    """What writes a frame into a CSV or parquet file, whole or not at all.

    Raises
    ------
    ValueError
        For another kind of file, or a folder that is not there, before anything is computed.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet") or not path.parent.is_dir():
        raise ValueError(
            f"output is {path}; it must be a file .csv or .parquet in a folder that is there"
        )

    def save(frame: pd.DataFrame) -> None:
        data = BytesIO()
        frame.to_csv(data, index=False) if path.suffix == ".csv" else frame.to_parquet(data)
        write(path, data.getvalue())

    return save


def rows_of(
    frame: pd.DataFrame, columns: Sequence[Column], where: str
) -> tuple[np.ndarray, np.ndarray, list[Note]]:
    """Columns of a frame as numbers ``[n, d]``, which rows those are, and what was dropped.

    Rows with a value that is missing or infinite in one of the columns are left out.

    Raises
    ------
    ValueError
        If a column is missing, or a value cannot be encoded.
    """
    for column in columns:
        if column.name not in frame:
            raise ValueError(f"{where} has no column {column.name!r}; {_columns(frame)}")
    notes, kept, parts = [], np.ones(len(frame), dtype=bool), []
    for column in columns:
        values = frame[column.name]
        missing = values.isna().to_numpy()
        found = np.full((len(frame), len(column.names)), np.nan)
        # In place, so that rows keep their numbers in messages.
        filled = values.where(~missing, values[~missing].iloc[0]) if not missing.all() else values
        if not missing.all():
            found = column.encode(filled, where)
        infinite = ~np.isfinite(found).all(1) & ~missing
        for what, bad in (("dropped: missing", missing), ("dropped: infinite", infinite)):
            if bad.any():
                notes.append(Note(column.name, what, *numbered(bad)))
        kept &= ~(missing | infinite)
        parts.append(found)
    numbers = np.concatenate(parts, 1) if parts else np.empty((len(frame), 0))
    if not kept.any():
        raise ValueError(
            f"{where} has no row in which {', '.join(c.name for c in columns)} are all there"
        )
    return numbers[kept], np.flatnonzero(kept), notes


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of targets and conditions, what a model is trained on or judged by.

    Parameters
    ----------
    y, c : array, frame or Tensor [n, dy], [n, dc]
        Finite numbers; kept as float32.
    name : str
    y_names, c_names : sequence of str
        By default ``y0, y1, ...`` and ``c0, c1, ...``.
    y_columns, c_columns : tuple of Column
        How a user's columns became these numbers (:meth:`read`); by default as they are.
    notes : tuple of Note
        What reading has done; :attr:`report` shows it.
    units : array [n], optional
        Whose rows these are, such as patients or days: rows of one unit belong together.

    Raises
    ------
    ValueError
        For other shapes, no rows, values that are not finite.
    """

    y: Tensor
    c: Tensor
    name: str = ""
    y_names: Sequence[str] = ()
    c_names: Sequence[str] = ()
    y_columns: tuple[Column, ...] = ()
    c_columns: tuple[Column, ...] = ()
    notes: tuple[Note, ...] = ()
    units: np.ndarray | None = None

    def __post_init__(self) -> None:
        for key in ("y", "c"):
            rows = floating(key, getattr(self, key)).detach().cpu().float()
            said = f"table {self.name!r}: {key}"
            if rows.ndim != 2 or len(rows) == 0 or (key == "y" and rows.shape[1] == 0):
                raise ValueError(f"{said} must be rows [n, d] of numbers, not {list(rows.shape)}")
            bad = ~torch.isfinite(rows).all(1)
            if bool(bad.any()):
                count, first = numbered(bad.numpy())
                raise ValueError(
                    f"{said} has {count} rows that are NaN or infinite, the first is row "
                    f"{first[0]}; remove them, or let Table.read drop and count them"
                )
            given = getattr(self, f"{key}_columns") or tuple(
                Column(str(name))
                for name in getattr(self, f"{key}_names")
                or [f"{key}{i}" for i in range(rows.shape[1])]
            )
            names = tuple(name for column in given for name in column.names)
            if len(names) != rows.shape[1]:
                raise ValueError(
                    f"{said} has {rows.shape[1]} columns and {len(names)} names: {', '.join(names)}"
                )
            for attribute, value in ((key, rows), (f"{key}_names", names)):
                object.__setattr__(self, attribute, value)
            object.__setattr__(self, f"{key}_columns", given)
        if len(self.y) != len(self.c):
            raise ValueError(
                f"table {self.name!r}: y and c must have as many rows, not {len(self.y)} and "
                f"{len(self.c)}"
            )

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def read(
        cls,
        path: Source,
        y: str | Sequence[str] = (),
        c: str | Sequence[str] = (),
        *,
        transform: Mapping[str, str] | None = None,
        like: Table | None = None,
        name: str = "",
        unit: str = "",
    ) -> Table:
        """A table of a CSV or parquet file or of a frame; :attr:`report` says what was done to it.

        Rows with missing or infinite values are dropped and counted. Dates become days since 1970,
        texts of conditions a column of zeros and ones per level, and a condition that never varies
        is left out.

        Parameters
        ----------
        path : path or DataFrame
        y, c : str or sequence of str
            Columns of targets and of conditions.
        transform : mapping of columns to str, optional
            ``"asinh"``, ``"log"`` or ``"log1p"`` of heavy tails; samples come back in the units of
            the file.
        like : Table, optional
            Read the columns of this table in its way, in place of ``y``, ``c`` and ``transform``:
            so the special table gets what the general one has.
        name : str
            By default that of the file.
        unit : str
            Column that says whose rows these are, such as patients or days: :meth:`split` keeps
            them on one side, and general rows of a unit of the special table are special ones.
            By default only rows with equal numbers belong together.

        Raises
        ------
        ValueError
            With file, column, row and what to do.
        """
        frame = frame_of(path)
        if isinstance(path, pd.DataFrame):
            where = name or "the frame"
        else:
            where, name = str(path), name or Path(path).stem
        y, c = ([one] if isinstance(one, str) and one else [*one] for one in (y, c))
        units = units_of(frame, unit, where) if unit else None
        if like is not None:
            if y or c or transform:
                raise ValueError(
                    "like stands in place of y, c and transform: give one or the other"
                )
            return cls._of(frame, where, name, like.y_columns, like.c_columns, units)
        asked, given = [*y, *c], dict(transform or {})
        if not y:
            raise ValueError("targets (y) must name at least one column")
        if twice := {one for one in asked if asked.count(one) > 1}:
            raise ValueError(
                f"a column may stand once in targets and conditions, not {', '.join(sorted(twice))}"
            )
        if lacking := [one for one in asked if one not in frame]:
            raise ValueError(f"{where} has no column {lacking[0]!r}; {_columns(frame)}")
        if unknown := given.keys() - {*asked}:
            raise ValueError(
                f"transform names {', '.join(sorted(unknown))}, neither a target nor a condition"
            )
        targets, conditions = (
            [column_of(frame[n], role, given.get(n, "identity"), where) for n in names]
            for role, names in (("y", y), ("c", c))
        )
        whole = cls._of(frame, where, name, tuple(targets), tuple(conditions), units)
        for i, column in enumerate(targets):
            if bool((whole.y[:, i] == whole.y[0, i]).all()):
                value = column.decode(whole.y[:1, i : i + 1].numpy()).iloc[0]
                raise ValueError(
                    f"{where}, column {column.name!r}: a target must vary, and it is {value} in "
                    "all rows; leave it out"
                )
        varies = iter((whole.c != whole.c[0]).any(0).tolist())
        some = [any([next(varies) for _ in column.names]) for column in conditions]
        known = [*zip(conditions, some, strict=True)]
        left = [column for column, one in known if one]
        flat = [column.name for column, one in known if not one]
        notes = [note for note in whole.notes if note.column not in flat]
        notes += [Note(column, "left out: constant", len(whole)) for column in flat]
        kept = [one for column, one in known for _ in column.names]
        told: dict[str, Any] = {"c_names": (), "c_columns": tuple(left), "notes": tuple(notes)}
        return replace(whole, c=whole.c[:, kept], **told) if flat else whole

    @classmethod
    def _of(
        cls,
        frame: pd.DataFrame,
        where: str,
        name: str,
        y: tuple[Column, ...],
        c: tuple[Column, ...],
        units: np.ndarray | None,
    ) -> Table:
        numbers, kept, notes = rows_of(frame, (*y, *c), where)
        for column in (*y, *c):
            values = frame[column.name].iloc[kept]
            if column.levels:
                detail = ", ".join(column.levels)
                notes.append(Note(column.name, "encoded: a column per text", len(kept), (), detail))
            elif column.date:
                notes.append(Note(column.name, "encoded: days since 1970", len(kept)))
            elif values.dtype == bool or bool((pd.to_numeric(values) % 1 == 0).all()):
                detail = f"{values.nunique()} different"
                notes.append(Note(column.name, "noted: whole numbers", len(kept), (), detail))
            if column.transform != "identity":
                detail = column.transform
                notes.append(Note(column.name, "transformed", len(kept), (), detail))
            elif column in y and not column.date and bool((pd.to_numeric(values) > 0).all()):
                detail = "samples may be below; transform log keeps them above"
                notes.append(Note(column.name, "noted: all above zero", len(kept), (), detail))
        targets, conditions = torch.from_numpy(numbers).split(
            [sum(len(column.names) for column in part) for part in (y, c)], 1
        )
        whose = None if units is None else units[kept]
        table = cls(targets, conditions, name, y_columns=y, c_columns=c, units=whose)
        twice = pd.DataFrame(table.joined.numpy()).duplicated().to_numpy()
        if len(table) > 1 and twice.sum() == len(table) - 1:
            raise ValueError(f"{where}: all {len(table)} rows are equal; there is nothing to learn")
        if twice.any():
            notes.append(Note("", "noted: equal to an earlier row", int(twice.sum())))
        return replace(table, notes=tuple(notes))

    @property
    def joined(self) -> Tensor:
        """Targets and conditions side by side, ``[n, dy + dc]`` float32."""
        return torch.cat([self.y, self.c], 1) + 0.0  # no negative zeros

    @property
    def report(self) -> pd.DataFrame:
        """What reading has done: ``table, column, what, rows, first, detail``, a line per deed.

        ``what`` begins with dropped, left out, encoded, transformed or noted; ``rows`` counts them
        and ``first`` has the numbers of the first of them in the file (from 1).
        """
        found = pd.DataFrame(self.notes, columns=[*Note._fields])
        found["first"] = [", ".join(map(str, rows)) for rows in found["first"]]
        found.insert(0, "table", self.name)
        return found

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names, encodings and numbers: what stands in keys of the store."""
        names = described((*self.y_columns, *self.c_columns))
        told = torch.frombuffer(bytearray(repr(names).encode()), dtype=torch.uint8)
        return digest({"y": self.y.contiguous(), "c": self.c.contiguous(), "names": told})

    def rows(self, places: Tensor) -> Table:
        """Some of the rows."""
        whose = None if self.units is None else self.units[places.numpy()]
        return replace(self, y=self.y[places], c=self.c[places], units=whose)

    def split(self, held_out: float, generator: torch.Generator) -> tuple[Table, Table]:
        """The table without a random share of its rows, and that share in random order; the rows
        of a unit, without units those that are equal, stay on one side.

        Parameters
        ----------
        held_out : float
            The share, above 0 and below 1.
        generator : torch.Generator

        Raises
        ------
        ValueError
            If one of the two would have no row.
        """
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be a share above 0 and below 1, not {held_out}")
        check_generator(generator)
        _, group = self.joined.unique(dim=0, return_inverse=True)
        if self.units is not None:
            group = torch.from_numpy(np.unique(self.units, return_inverse=True)[1])
        order = torch.randperm(int(group.max()) + 1, generator=generator)
        sizes = torch.bincount(group)[order]
        count = int((sizes.cumsum(0) <= round(held_out * len(self))).sum())
        out = torch.isin(group, order[:count])
        if not 0 < int(out.sum()) < len(self):
            raise ValueError(
                f"held_out is {held_out}, which leaves {int(out.sum())} of the {len(self)} rows of "
                f"{self.name!r} to judge by and {int((~out).sum())} to learn from; there must be "
                "at least one of each: take another share, or bring more rows"
            )
        shuffled = torch.randperm(len(self), generator=generator)
        return self.rows(~out), self.rows(shuffled[out[shuffled]])

    def shared(self, other: Table) -> Tensor:
        """Which rows are of a unit of another table, or without units equal to one of its rows:
        ``[n]`` bool."""
        if self.units is not None and other.units is not None:
            return torch.from_numpy(np.isin(self.units, other.units))
        theirs = pd.MultiIndex.from_arrays([*other.joined.T.numpy()])
        mine = pd.MultiIndex.from_arrays([*self.joined.T.numpy()])
        return torch.tensor(mine.isin(theirs))

    def frame(self) -> pd.DataFrame:
        """The rows in the units and types of the user's columns."""
        return decoded((*self.y_columns, *self.c_columns), self.joined.numpy())


def _columns(frame: pd.DataFrame) -> str:
    return f"it has {', '.join(map(str, frame))}"


def decoded(columns: Sequence[Column], numbers: np.ndarray) -> pd.DataFrame:
    """Numbers ``[n, d]`` in the units and types of the user's columns."""
    found, at = {}, 0
    for column in columns:
        found[column.name] = column.decode(numbers[:, at : at + len(column.names)])
        at += len(column.names)
    return pd.DataFrame(found)
