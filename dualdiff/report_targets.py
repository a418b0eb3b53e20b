"""How far trained members come: every way to sample them against the targets of the book."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dualdiff import results
from dualdiff.plots import LABELS
from dualdiff.report_plane import plane
from dualdiff.report_weights import BOTH, SCENARIOS, WORLDS, present, scores, title
from dualdiff.thesis import thesis_table

TARGETS = {"cabinet": (0.97, 0.17), "round_table": (0.98, 0.15)}
"""What members without knowledge of the support should reach, set by this book: accuracy at least,
TV at most."""


def contenders(own: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Every way to sample trained members of recipe ``tuned``, and which tables that is from.

    From the committed tables, whatever their state, which the second value names, and the chapter's
    ``own`` where that of learned weights is missing. Means are over the seeds that the committed
    tables of a scenario share. Columns ``scenario, configuration, accuracy, total_variation,
    total_variation_floor`` and ``tested``: whether seeds and samples are those of a full-scale
    table. The sum of part ``corrected`` is left out: it is the joint model again.
    """
    tables, used = [], []
    for part in ("weights", "cabinet_tuned", "round_table_tuned", "corrected"):
        try:
            table, record = results.load(part)
        except FileNotFoundError:
            continue
        kept = (table["recipe"] == "tuned") & (table["configuration"] != "sum")
        tables.append(table[kept])
        count = record["conditions"] * record["draws"]
        used.append(f"`{part}` ({count:,} samples each; {results.describe(part)[1]})")
    shared = _shared(tables)
    means = [_both(shared).assign(tested=True)]
    origin = f"Of the committed tables {', '.join(used)}" if used else "Of no committed table"
    seeds = sorted(set(shared["seed"])) if used else []
    origin += f"; means over the seeds that they share ({', '.join(map(str, seeds))})."
    if "learned constant" not in set(means[0]["configuration"]):
        means.append(_both(own).assign(tested=False))
        origin += " Weights: this run, with one seed and fewer samples, no test of the target."
    found = pd.concat(means, ignore_index=True)
    found = found.drop_duplicates(["scenario", "configuration"])
    return found[~found["configuration"].str.fullmatch(r"[\d.]+, [\d.]+")], origin


def _shared(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Tables as one, with the seeds of a scenario that every table of it has."""
    kept = []
    for scenario in SCENARIOS:
        own = [table[table["scenario"] == scenario] for table in tables]
        own = [table for table in own if len(table)]
        if own:
            seeds = set.intersection(*(set(table["seed"]) for table in own))
            kept += [table[table["seed"].isin(seeds)] for table in own]
    return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=["scenario"])


def _both(table: pd.DataFrame) -> pd.DataFrame:
    """Both scores by scenario and configuration."""
    parts = {name: scores(table, name) for name in present(table)}
    if not parts:
        return pd.DataFrame(columns=["scenario", "configuration", *BOTH])
    return pd.concat(parts, names=["scenario"]).reset_index()


def short_of(found: pd.DataFrame) -> pd.Series:
    """By how much a row misses the targets of its scenario: the larger of both shortfalls."""
    aims = pd.DataFrame(found["scenario"].map(TARGETS).tolist(), found.index)
    gaps = [aims[0] - found["accuracy"], found["total_variation"] - aims[1]]
    return pd.concat(gaps, axis=1).max(axis=1).clip(lower=0)


def sees(found: pd.DataFrame) -> pd.Series:
    """Which rows used the true support to choose weights."""
    return found["configuration"].str.contains("oracle")


def reach_view(found: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """The thesis's best, every way of ours, and whether it reaches both targets."""
    accuracy, variation = TARGETS[scenario]
    rows = found[found["scenario"] == scenario]
    rows = rows.assign(short=short_of(rows), sees=sees(rows)).sort_values(["sees", "short"])
    best = thesis_table(scenario)["accuracy"]
    lines: list[dict[str, Any]] = [
        {"way": f"thesis: {LABELS[str(best.idxmax())]}", "accuracy": f"{best.max():.3f}"}
    ]
    for _, row in rows.iterrows():
        lines.append(
            {
                "way": title(row["configuration"]) + (" (sees the support)" if row["sees"] else ""),
                "accuracy": f"{row['accuracy']:.3f}",
                "TV": f"{row['total_variation']:.3f}",
                "floor of TV": f"{row['total_variation_floor']:.3f}",
                "reached": f"short by {row['short']:.3f}" if row["short"] > 0 else "yes",
            }
        )
    lines.append({"way": "target", "accuracy": f">= {accuracy}", "TV": f"<= {variation}"})
    view = pd.DataFrame(lines, columns=["way", "accuracy", "TV", "floor of TV", "reached"]).fillna(
        "–"
    )
    return view.set_index("way").rename_axis(WORLDS[scenario])


def reach_sentence(found: pd.DataFrame, table: pd.DataFrame) -> str:
    """How far the ways that do not see the support come, and whether any constants would do.

    ``found`` as in :func:`contenders`, ``table`` with the plane of weights.
    """
    lines = []
    for scenario in present(found):
        rows = found[(found["scenario"] == scenario) & ~sees(found)]
        rows = rows.assign(short=short_of(rows)).sort_values("short")
        reached = [
            title(row["configuration"]) + ("" if row["tested"] else " (this run only)")
            for _, row in rows[rows["short"] == 0].iterrows()
        ]
        thesis = thesis_table(scenario)["accuracy"].max()
        text = (
            f"- {WORLDS[scenario].capitalize()}: target accuracy {TARGETS[scenario][0]} at TV "
            f"{TARGETS[scenario][1]}, thesis's best accuracy {thesis:.3f}. "
        )
        if reached:
            text += f"**Reached** without the support by {', '.join(reached)}."
        else:
            best = rows.iloc[0]
            text += (
                f"**Not reached** without the support; nearest is {title(best['configuration'])} "
                f"with accuracy {best['accuracy']:.3f} at TV {best['total_variation']:.3f}."
            )
        if scenario in present(table):
            points = plane(table, scenario).assign(scenario=scenario)
            there = int((short_of(points) == 0).sum())
            one = ", ".join(map(str, sorted(table["seed"].unique())))
            text += (
                f" Of the {len(points)} pairs of constants on the plane (training seed {one}), "
                f"{there} reach it."
            )
        lines.append(text)
    return "\n".join(lines)
