"""What the chapter on correctors says in words and tables, from its own numbers."""

from __future__ import annotations

import math

import pandas as pd

from dualdiff.methods import METHODS
from dualdiff.report import interval
from dualdiff.scenes import SCENES

PART = "corrected"
SHOWN = {
    "accuracy": "accuracy",
    "total_variation": "TV",
    "energy_distance": "energy distance",
    "calls": "calls",
    "unique": "unique",
}


def methods_view(table: pd.DataFrame, scene: str) -> pd.DataFrame:
    """Every method on a scene: scores with intervals, and what it cost."""
    part = table[table["scene"] == scene]
    rows = {
        name: {label: _cell(part, name, metric) for metric, label in SHOWN.items()}
        for name in dict.fromkeys(part["name"])
    }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename(index=_title)
    return frame.rename_axis(SCENES[scene]().title)


def _title(method: str) -> str:
    return METHODS[method].title


def _row(table: pd.DataFrame, name: str, metric: str) -> pd.Series:
    rows = table[(table["name"] == name) & (table["metric"] == metric)]
    if len(rows) != 1:
        raise ValueError(f"the table has {len(rows)} rows of {name!r}, {metric!r}, not one")
    return rows.iloc[0]


def _cell(table: pd.DataFrame, name: str, metric: str) -> str:
    row = _row(table, name, metric)
    if metric == "calls":
        return f"{row['value']:.0f}"
    if math.isnan(row["low"]):
        return f"{row['value']:.2f}"
    return interval(row["value"], row["low"], row["high"])


def number(table: pd.DataFrame, scene: str, name: str, metric: str) -> float:
    """One number of the table."""
    return float(_row(table[table["scene"] == scene], name, metric)["value"])


def gain_sentence(table: pd.DataFrame) -> str:
    """How far reweighting brings the plain sum, scene by scene, and what it costs."""
    parts = []
    for scene in dict.fromkeys(table["scene"]):
        before, after, floor = (
            number(table, scene, name, metric)
            for name, metric in (
                ("sum", "total_variation"),
                ("smc", "total_variation"),
                ("sum", "total_variation_floor"),
            )
        )
        parts.append(
            f"from {before:.3f} to {after:.3f} on *{SCENES[scene]().title}* "
            f"(a perfect sampler scores {floor:.3f})"
        )
    first = next(iter(dict.fromkeys(table["scene"])))
    calls = number(table, first, "smc", "calls") / number(table, first, "sum", "calls")
    unique = number(table, first, "smc", "unique")
    cost = (
        "with as many network calls" if calls == 1 else f"with {calls:.1f} times its network calls"
    )
    return (
        f"With exact members, SMC in groups of 50 takes the total variation of the plain sum "
        f"{', '.join(parts)}, {cost}; {unique:.0%} of its samples "
        f"on the first scene are different ones."
    )


def ignoring_sentence(table: pd.DataFrame) -> str:
    """What a method scores that ignores the general model: nested scene against shared one."""
    nested, shared = (number(table, scene, "amdm", "total_variation") for scene in SCENES_PAIR)
    return (
        f"AMDM, which ends with the specialised model alone, scores a TV of {nested:.3f} where the "
        f"specialised law is the answer and {shared:.3f} where it is not."
    )


SCENES_PAIR = ("cabinet", "boxes")


def groups_sentence(table: pd.DataFrame) -> str:
    """The best group size, and what the ends of the range cost."""
    variation, unique = (
        table[table["metric"] == metric].set_index("group")["value"].sort_index()
        for metric in ("total_variation", "unique")
    )
    best, low, high = variation.idxmin(), variation.index[0], variation.index[-1]
    return (
        f"Total variation is lowest at K = {best} ({variation.min():.3f}); K = {low} gives "
        f"{variation.iloc[0]:.3f} and K = {high} {variation.iloc[-1]:.3f}. The share of different "
        f"samples goes from {unique.iloc[0]:.2f} to {unique.iloc[-1]:.2f}."
    )


def steps_sentence(table: pd.DataFrame) -> str:
    """Whether finer steps help the sum, and whether they help the reweighted sum."""
    rows = table[table["metric"] == "total_variation"].set_index(["method", "steps"])["value"]
    said = []
    for method in ("plain sum", "SMC"):
        own = rows[method].sort_index()
        said.append(
            f"{method} goes from {own.iloc[0]:.3f} at {own.index[0]} steps to {own.iloc[-1]:.3f} "
            f"at {own.index[-1]}"
        )
    return "With longer chains " + ", ".join(said) + "."


def learned_view(pooled: pd.DataFrame, scenario: str, metric: str) -> pd.DataFrame:
    """A score of every method by recipe, with intervals over seeds."""
    rows = pooled[
        (pooled["scenario"] == scenario)
        & (pooled["metric"] == metric)
        & (pooled["target"] == "specialised")
    ]
    cells = {
        (row["configuration"], row["recipe"]): interval(row["value"], row["low"], row["high"])
        for _, row in rows.iterrows()
    }
    names = list(dict.fromkeys(name for name, _ in cells))
    recipes = list(dict.fromkeys(recipe for _, recipe in cells))
    view = pd.DataFrame(
        [[cells.get((name, recipe), "–") for recipe in recipes] for name in names],
        index=pd.Index(names, name=f"{scenario.replace('_', ' ')}, {metric.replace('_', ' ')}"),
        columns=recipes,
    )
    return view.rename(index=_title)


def learned_gains(pooled: pd.DataFrame) -> pd.DataFrame:
    """What SMC changes over the plain sum: one row per scenario and recipe."""
    own = pooled[pooled["target"] == "specialised"]
    wide = own.pivot_table(
        index=["scenario", "recipe"],
        columns=["metric", "configuration"],
        values="value",
        sort=False,
    )
    gains = pd.DataFrame(
        {
            metric: wide[metric, "smc"] - wide[metric, "sum"]
            for metric in ("accuracy", "total_variation", "energy_distance")
        }
    )
    return gains.reset_index()


def learned_sentence(pooled: pd.DataFrame) -> str:
    """Where SMC helps with learned members and where it does not."""
    parts = []
    for _, row in learned_gains(pooled).iterrows():
        verb = "lowers" if row["total_variation"] < 0 else "raises"
        parts.append(
            f"{verb} TV by {abs(row['total_variation']):.3f} and changes accuracy by "
            f"{row['accuracy']:+.3f} on {row['scenario'].replace('_', ' ')} with recipe "
            f"{row['recipe']}"
        )
    return "Against the plain sum, SMC " + "; ".join(parts) + "."
