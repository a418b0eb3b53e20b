"""The plane of constant weights under the reader's hand: what every pair of them does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from traitlets import Dict, Float, Unicode, validate

from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.weighting import NAMES
from dualdiff.pages.names import label
from dualdiff.plots import facets
from dualdiff.readings.weights import SCORES, WEIGHTS
from dualdiff.results import committed as results
from dualdiff.widgets.base import Widget, one_of, within
from dualdiff.widgets.bundle import bundle

BEST = {"total_variation": "lowest", "accuracy": "highest"}
"""Which end of a score is the good one."""


def grids(table: pd.DataFrame, scene: str, recipe: str) -> dict[str, pd.DataFrame]:
    """Scores over the weight plane with their intervals.

    From metric and end, such as ``"accuracy low"`` (ends ``value, low, high``), to a table with a
    row per weight of the specialised and a column per weight of the general model; NaN where there
    is no such pair. Rows and columns are all weights of ``table``, whatever the scene.
    """
    rows = over_seeds(table[table["target"] == "specialised"].dropna(subset=WEIGHTS))
    axes = [sorted(rows[name].unique()) for name in WEIGHTS]
    here = rows[(rows["scenario"] == scene) & (rows["recipe"] == recipe)]
    found = {}
    for metric in SCORES:
        own = here[here["metric"] == metric]
        for end in ("value", "low", "high"):
            wide = own.pivot(index=WEIGHTS[1], columns=WEIGHTS[0], values=end)
            found[f"{metric} {end}"] = wide.reindex(index=axes[1], columns=axes[0])
    return found


class WeightMap(Widget):
    """Accuracy or total variation over the plane of weights, with a marker to move.

    ``w_general``, ``w_specialised`` and ``scene`` have the names of the composition widget's
    traits, for ``jslink``; ``recipe`` and ``metric`` choose the map.

    Parameters
    ----------
    table : DataFrame
        The tidy table of the weight plane, such as the committed ``weight_map``, with columns
        ``weight_general`` and ``weight_specialised``.
    **values
        Of the traits.

    Raises
    ------
    ValueError
        If the table has no weight plane or not the same recipes for all scenarios, and whenever a
        trait is set to what it does not take.
    """

    _esm = bundle("weight_map.js")

    w_general = Float(1.0).tag(sync=True)
    w_specialised = Float(1.0).tag(sync=True)
    scene = Unicode().tag(sync=True)
    recipe = Unicode().tag(sync=True)
    metric = Unicode("total_variation").tag(sync=True)
    axes = Dict().tag(sync=True)
    """The computed weights of either model."""
    maps = Dict().tag(sync=True)
    """By scene, recipe, and metric with end: rows of numbers, None where nothing was computed."""
    titles = Dict().tag(sync=True)
    """Of the scenes."""

    def __init__(self, table: pd.DataFrame, **values: Any) -> None:
        scenes = [*dict.fromkeys(table["scenario"])]
        if not {*WEIGHTS} <= {*table} or table[WEIGHTS[0]].isna().all():
            raise ValueError("the table has no configuration that is a pair of weights")
        recipes = {s: list(table.loc[table["scenario"] == s, "recipe"].unique()) for s in scenes}
        first = recipes[scenes[0]]
        if any(set(own) != set(first) for own in recipes.values()):
            raise ValueError(f"the table must have the same recipes for all scenarios: {recipes}")
        self.table = table
        self.grids = {(s, r): grids(table, s, r) for s in scenes for r in first}
        wide = self.grids[scenes[0], first[0]]["accuracy value"]
        super().__init__(
            **{"scene": scenes[0], "recipe": first[-1]} | values,
            axes=dict(zip(NAMES, (list(wide.columns), list(wide.index)), strict=True)),
            maps={
                s: {r: {k: _rows(g) for k, g in self.grids[s, r].items()} for r in first}
                for s in scenes
            },
            titles={s: label(s) for s in scenes},
        )

    @validate("w_general", "w_specialised")
    def _weight(self, proposal: Any) -> float:
        name = proposal["trait"].name
        axis = self.axes[name.removeprefix("w_")]
        return within(name, proposal["value"], axis[0], axis[-1])

    @validate("scene", "recipe", "metric")
    def _choice(self, proposal: Any) -> str:
        name = proposal["trait"].name
        recipes = next(iter(self.maps.values()))
        allowed = {"scene": self.maps, "recipe": recipes, "metric": BEST}[name]
        return one_of(name, proposal["value"], allowed)

    def nearest(self) -> tuple[float, float]:
        """The computed pair of weights nearest to the marker, in cells of the map."""
        wide = self.grids[self.scene, self.recipe][f"{self.metric} value"]
        up, across = (
            np.interp(weight, axis, range(len(axis)))
            for weight, axis in ((self.w_specialised, wide.index), (self.w_general, wide.columns))
        )
        row, column = np.indices(wide.shape)
        away = np.where(wide.isna(), np.inf, (row - up) ** 2 + (column - across) ** 2)
        return self._pair(int(away.argmin()))

    def _pair(self, cell: int) -> tuple[float, float]:
        """Weights of a cell, counted along the rows."""
        row, column = divmod(cell, len(self.axes[NAMES[0]]))
        return self.axes[NAMES[0]][column], self.axes[NAMES[1]][row]

    def best(self) -> list[tuple[float, float]]:
        """The computed pairs of weights at which the metric is best: several where they tie."""
        values = self.grids[self.scene, self.recipe][f"{self.metric} value"].to_numpy()
        best = np.nanmin(values) if BEST[self.metric] == "lowest" else np.nanmax(values)
        return [self._pair(int(cell)) for cell in np.flatnonzero(values == best)]

    def value(self, pair: tuple[float, float], what: str) -> float:
        """A number of the map at ``(general, specialised)``, such as ``"accuracy low"``."""
        column, row = (self.axes[n].index(w) for n, w in zip(NAMES, pair, strict=True))
        return float(self.grids[self.scene, self.recipe][what].to_numpy()[row, column])

    def describe(self) -> str:
        here, (best, *ties), name = self.nearest(), self.best(), label(self.metric)
        where = f"{len(ties) + 1} pairs, such as " * bool(ties) + f"({best[0]:g}, {best[1]:g})"
        said = " and ".join(f"{label(m)} {self.value(here, f'{m} value'):.3f}" for m in SCORES)
        return (
            f"Map of accuracy and total variation on the {self.titles[self.scene]}, recipe "
            f"{self.recipe}, over the weights of the general (across) and the specialised model "
            f"(up). At weights ({here[0]:g}, {here[1]:g}): {said}. The {BEST[self.metric]} {name} "
            f"is {self.value(best, f'{self.metric} value'):.3f}, at {where}."
        )

    def picture(self) -> Figure:
        where, found = f"{self.titles[self.scene]}, {self.recipe}", self.grids
        maps = {
            f"{where}: {label(m)}": found[self.scene, self.recipe][f"{m} value"].rename(
                index="{:g}".format, columns="{:g}".format
            )
            for m in SCORES
        }
        labels = ("$w_g$, general", "$w_s$, specialised")
        figure = facets.matrix(maps, *labels, digits=".3f")
        places = [self.axes[name] for name in NAMES]
        weights = (self.w_general, self.w_specialised)
        x, y = (np.interp(w, p, range(len(p))) for w, p in zip(weights, places, strict=True))
        for axes in figure.axes:
            for text in axes.texts:  # above the marker
                text.set_y(text.get_position()[1] + 0.32)
            axes.plot(x, y, "o", ms=11, mfc="none", mec="white", mew=4)
            axes.plot(x, y, "o", ms=11, mfc="none", mec="black", mew=1.5)
        return figure


def _rows(wide: pd.DataFrame) -> list[list[float | None]]:
    """Rows of numbers as JSON knows them."""
    return [[None if np.isnan(v) else float(v) for v in row] for row in wide.to_numpy()]


def weight_map(table: pd.DataFrame | None = None, **values: Any) -> WeightMap:
    """The map of a table of the weight plane, by default the committed one.

    Parameters
    ----------
    table : DataFrame, optional
        Tidy, with columns ``weight_general`` and ``weight_specialised``.
    **values
        Where the widget starts: ``w_general, w_specialised, scene, recipe, metric``.

    Raises
    ------
    ValueError
        See :class:`WeightMap`.
    FileNotFoundError
        If no table is given and there is no committed one.
    """
    return WeightMap(results.load("weight_map")[0] if table is None else table, **values)
