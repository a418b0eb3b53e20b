"""A composed model in one file: it knows the columns, their units and how it is sampled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff import models
from dualdiff.data.columns import Column, described, of
from dualdiff.data.compare import draw, model
from dualdiff.data.pairs import Networks
from dualdiff.data.table import decoded, frame_of, rows_of
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.methods import METHODS


@dataclass(frozen=True, eq=False)
class Model:
    """A way to sample for conditions of a user's table, in the user's units.

    Parameters
    ----------
    denoiser : Denoiser
    y, c : tuple of Column
    low, high : Tensor [dc]
        Range of the conditions of the training rows.
    way, method : str
        The way of :func:`dualdiff.data.compare.compare`, and its method if it is one.
    """

    denoiser: Denoiser
    y: tuple[Column, ...]
    c: tuple[Column, ...]
    low: Tensor
    high: Tensor
    way: str = ""
    method: str = ""

    @classmethod
    def of(cls, networks: Networks, way: str) -> Model:
        """What a way of a comparison samples."""
        pairs = networks.scenario
        columns = pairs.general.y_columns, pairs.general.c_columns
        method = way if way in METHODS else ""
        return cls(model(networks, way), *columns, *pairs.reach, way, method)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model into one safetensors file; see :func:`dualdiff.models.save`."""
        told: dict[str, Any] = {name: described(getattr(self, name)) for name in ("y", "c")}
        told |= {name: getattr(self, name).tolist() for name in ("low", "high")}
        models.save(path, self.denoiser, about={**told, "way": self.way, "method": self.method})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Model:
        """The model of a file of :meth:`save`.

        Raises
        ------
        ValueError
            For a file of something else, or a method that is not known here.
        """
        denoiser, told = models.load(path), models.about(path)
        if not {"y", "c", "low", "high", "way", "method"} <= told.keys():
            raise ValueError(
                f"{path} holds a model without columns; dualdiff fit makes one with them"
            )
        if told["method"] not in ("", *METHODS):
            raise ValueError(
                f"{path} is sampled by the method {told['method']!r}, which is none of "
                f"{', '.join(METHODS)}: register it in dualdiff.experiments.methods.METHODS first"
            )
        low, high = (torch.tensor(told[name], dtype=torch.float32) for name in ("low", "high"))
        columns = of(told["y"]), of(told["c"])
        return cls(denoiser, *columns, low, high, told["way"], told["method"])

    def conditions(self, frame: pd.DataFrame, where: str = "conditions") -> Tensor:
        """Conditions ``[n, dc]`` of a user's rows, all of them there and within reach.

        Raises
        ------
        ValueError
            Naming ``where``, the column, the row and what to do.
        """
        numbers, kept, notes = rows_of(frame, self.c, where)
        if len(kept) < len(frame):
            note = notes[0]
            raise ValueError(
                f"{where}, column {note.column!r}, row {note.first[0]}: the condition is "
                f"{note.what.rpartition(' ')[2]} ({note.rows} such rows); fill it in, or remove it"
            )
        found = torch.from_numpy(numbers.astype(np.float32))
        names = [name for column in self.c for name in column.names]
        for i, name in enumerate(names):
            bad = (found[:, i] < self.low[i]) | (found[:, i] > self.high[i])
            if bool(bad.any()):
                row = int(bad.int().argmax())
                told, low, high = (self._told(x, i) for x in (found[row], self.low, self.high))
                raise ValueError(
                    f"{where}, column {name!r}, row {row + 1}: {told} is outside the range of "
                    f"training, {low} to {high} ({int(bad.sum())} such rows); nothing is known "
                    "there: remove it, or train on rows that reach so far"
                )
        return found

    def _told(self, c: Tensor, place: int) -> Any:
        """A number of a condition as the user wrote it."""
        at = 0
        for column in self.c:
            if at <= place < at + len(column.names) and not column.levels:
                return column.decode(c[None, at : at + 1].numpy()).iloc[0]
            at += len(column.names)
        return f"{float(c[place]):g}"

    def sample(
        self,
        conditions: pd.DataFrame | str | os.PathLike[str],
        generator: torch.Generator,
        *,
        draws: int = 1,
    ) -> pd.DataFrame:
        """Samples in the user's units: ``draws`` lines for every row, with its conditions.

        Parameters
        ----------
        conditions : DataFrame or path of a CSV or parquet file
            Rows with the columns of the conditions; others are carried along.
        generator : torch.Generator
        draws : int

        Returns
        -------
        DataFrame
            The rows repeated, ``draw`` (from 1) and the targets.

        Raises
        ------
        ValueError
            See :meth:`conditions`.
        """
        given = isinstance(conditions, pd.DataFrame)
        frame = frame_of(conditions)
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        c = self.conditions(frame, "conditions" if given else str(conditions))
        group = METHODS[self.method].group if self.method else 1
        total = -(-draws // group) * group
        found = draw(self.denoiser, self.method)(c, generator, draws=total)
        if total > draws:  # copies stand side by side in a group
            found = found[:, torch.randperm(total, generator=generator)[:draws]]
        targets = decoded(self.y, found.flatten(0, 1).cpu().numpy())
        taken = frame.drop(columns=[*self._names(self.y, frame), *self._names(["draw"], frame)])
        rows = taken.loc[taken.index.repeat(draws)].reset_index(drop=True)
        return rows.assign(draw=np.tile(np.arange(1, draws + 1), len(frame))).join(targets)

    @staticmethod
    def _names(columns: Sequence[Column | str], frame: pd.DataFrame) -> list[str]:
        names = [x if isinstance(x, str) else x.name for x in columns]
        return [name for name in names if name in frame]
