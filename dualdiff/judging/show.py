"""The table and the figure of a judgement."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES
from dualdiff.judging.problems import PROBLEMS

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARKERS = ("*", "o", "s", "^", "D")


def title(entry: str) -> str:
    """An entry in words; a newcomer by its own name."""
    if entry in RULES:
        return RULES[entry].title
    return METHODS[entry].title if entry in METHODS else entry


def board(table: pd.DataFrame, newcomer: str = "") -> pd.DataFrame:
    """A row per entry, best mean rank first, and a column of total variations per problem.

    The newcomer has an arrow; the first row is the floor.
    """
    wide = table.pivot(index="entry", columns="problem", values="value")[[*PROBLEMS]]
    cells = wide.map(lambda v: "–" if np.isnan(v) else f"{v:.3f}")
    rank = table.groupby("entry")["mean_rank"].first()
    cells["calls"] = table.groupby("entry")["calls"].max().map("{:.0f}".format)
    cells["mean rank"] = rank.map("{:.1f}".format)
    cells = cells.loc[rank.sort_values(kind="stable").index]
    floors = table.groupby("problem")["floor"].min()
    first = pd.DataFrame({p: [f"{floors[p]:.3f}"] for p in PROBLEMS}, index=["floor"])
    named = [f"{'→ ' * (entry == newcomer)}{title(entry)}" for entry in cells.index]
    whole = pd.concat([first, cells.set_axis(named)]).fillna("")
    return whole.rename(columns={key: problem.title for key, problem in PROBLEMS.items()})


def figure(table: pd.DataFrame, newcomer: str = "") -> Figure:
    """Total variation of all entries on every problem: a line per problem, the floor as a bar.

    In colour, with intervals over seeds: the newcomer, the best three and the plain sum.
    """
    order = table.groupby("entry")["mean_rank"].first().sort_values(kind="stable").index
    best = [entry for entry in order if entry != newcomer][:3]
    shown = [newcomer] * bool(newcomer) + list(dict.fromkeys([*best, "sum"]))
    made = Figure(figsize=(8, 0.5 * len(PROBLEMS) + 1.6), layout="constrained")
    axes, lines = made.subplots(), {key: -k for k, key in enumerate(PROBLEMS)}
    places = table["problem"].map(lines)
    rest = table[~table["entry"].isin(shown)]
    grey: dict[str, Any] = {"color": "#BBBBBB", "ms": 4, "zorder": 1}
    axes.plot(rest["value"], places[rest.index], "o", label="others", **grey)
    axes.plot(table["floor"], places, "|", color="black", ms=16, mew=1.6, label="floor", zorder=2)
    for k, entry in enumerate(shown):
        own = table[table["entry"] == entry]
        ends = [own["value"] - own["low"], own["high"] - own["value"]]
        offset = places[own.index] + 0.16 * (k - (len(shown) - 1) / 2)
        look: dict[str, Any] = {"color": COLOURS[k], "marker": MARKERS[k], "ls": "", "lw": 1}
        axes.errorbar(own["value"], offset, xerr=ends, label=title(entry), ms=5, zorder=3, **look)
    axes.set(xscale="log", xlabel="total variation to the product (less is better)")
    ticks = [t for t in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if t >= 0.6 * table["floor"].min()]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks([*lines.values()], [PROBLEMS[key].title for key in lines])
    made.legend(loc="outside lower center", ncols=4, fontsize=8)
    return made


def png(made: Figure) -> bytes:
    """A figure as the contents of a file."""
    file = io.BytesIO()
    made.savefig(file, format="png", dpi=150)
    return file.getvalue()
