"""The table and the figure of a judgement."""

from __future__ import annotations

import io
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES
from dualdiff.judging.entries import BUDGET
from dualdiff.judging.problems import PROBLEMS

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00")
MARKERS = ("*", "o", "s", "^", "D")
FEWER = "fewer samples: your scores have a higher floor; compare only with --profile full"
"""Said wherever a newcomer has no rank."""


def title(entry: str) -> str:
    """An entry in words; a newcomer by its own name."""
    if entry in RULES:
        return RULES[entry].title
    return METHODS[entry].title if entry in METHODS else entry


def board(table: pd.DataFrame, newcomer: str = "") -> pd.DataFrame:
    """A row per entry, best mean rank first, and a column of total variations per problem.

    The newcomer has an arrow; the first row is the floor. One that has fewer samples has no rank
    and stands first, below a floor of its own.
    """
    wide = table.pivot(index="entry", columns="problem")
    rank = table.groupby("entry")["mean_rank"].first()
    rank = rank.sort_values(kind="stable", na_position="first")
    first = {"floor": wide["floor"].min()}
    if newcomer and np.isnan(rank[newcomer]):
        first["→ floor"] = wide["floor"].loc[newcomer]
    calls = table.groupby("entry")["calls"].max()
    cells = wide["value"].loc[rank.index].assign(calls=calls, rank=rank)
    cells.index = [f"{'→ ' * (entry == newcomer)}{title(entry)}" for entry in cells.index]
    whole = pd.concat([pd.DataFrame(first).T, cells])
    form = {"calls": "{:.0f}".format, "rank": "{:.1f}".format}
    shown = whole.apply(lambda v: v.map(form.get(v.name, "{:.3f}".format)).replace("nan", "–"))
    names = {key: problem.title for key, problem in PROBLEMS.items()}
    names |= {"calls": "calls", "rank": "mean rank"}
    return shown[[*names]].rename(columns=names).rename_axis(columns=None)


def words(table: pd.DataFrame, newcomer: str) -> str:
    """The board in the columns of a terminal, problems by number, and what the columns are."""
    numbered = [f"{k} {problem.title}" for k, problem in enumerate(PROBLEMS.values(), 1)]
    shown = board(table, newcomer)
    head = "".join(f"{one:>6}" for one in [*range(1, len(PROBLEMS) + 1), "calls", "rank"])
    rows = [f"{r[0]:<28.28}{''.join(f'{cell:>6}' for cell in r[1:])}" for r in shown.itertuples()]
    notes = [
        f"Total variation to the product on problems {', '.join(numbered)}; less is better. floor: "
        "the mean of as many independent draws of the truth. rank: the mean over problems.",
        "calls: of all members for a sample, on the problem where they are most: "
        f"{BUDGET} of each, so {2 * BUDGET} of two members and {3 * BUDGET} of three.",
        *[FEWER] * ("→ floor" in shown.index),
    ]
    return "\n".join([" " * 28 + head, *rows, *(fill(note, 100) for note in notes)])


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
    bar: dict[str, Any] = {"marker": "|", "ls": "", "ms": 16, "mew": 1.6, "zorder": 2}
    fewer = table["rank"].isna()
    axes.plot(table["floor"][~fewer], places[~fewer], color="black", label="floor", **bar)
    if fewer.any():
        bar |= {"color": COLOURS[0], "label": f"floor of {newcomer}"}
        axes.plot(table["floor"][fewer], places[fewer], **bar)
        axes.set_title(FEWER, fontsize=9)
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
