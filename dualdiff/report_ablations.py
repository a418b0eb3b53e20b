"""What the chapters say of knobs: recipe ``tuned`` with one thing changed, AMDM's settings."""

from __future__ import annotations

import pandas as pd

from dualdiff.plots import LABELS
from dualdiff.scenes import SCENES

BASE = "tuned"
SAME = 0.02
"""Total variations that differ by no more count as the same."""
ALONE_OR_JOINT = ("specialised", "finetuned", "joint")
"""Configurations of the ablation that can follow the specialised law."""


def changes(table: pd.DataFrame, metric: str = "total_variation") -> pd.DataFrame:
    """What a changed part of recipe ``tuned`` changes, against the same seed of the recipe itself.

    Columns ``scenario, configuration, recipe``, ``change`` (mean over seeds) and ``seeds`` (the
    difference of each). No verdict: two seeds cannot tell a part from luck.
    """
    rows = table[(table["metric"] == metric) & (table["target"] == "specialised")]
    rows = rows[rows["configuration"].isin(ALONE_OR_JOINT)]
    wide = rows.pivot(index=["scenario", "configuration", "seed"], columns="recipe", values="value")
    # tables are in the order of their trials, pivots in that of the alphabet
    order = {name: list(dict.fromkeys(rows[name])) for name in ("scenario", "recipe")}
    lines = []
    for recipe in (name for name in order["recipe"] if name != BASE):
        apart = wide[recipe] - wide[BASE]
        for scenario in order["scenario"]:
            for configuration in ALONE_OR_JOINT:
                each = tuple(apart.loc[scenario, configuration].dropna())
                lines.append((scenario, configuration, recipe, sum(each) / len(each), each))
    names = ["scenario", "configuration", "recipe", "change", "seeds"]
    return pd.DataFrame(lines, columns=names)


def ablation_view(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Total variation of recipe ``tuned``, and what every change adds to it, seed by seed."""
    rows = table[(table["scenario"] == scenario) & (table["metric"] == "total_variation")]
    rows = rows[(rows["recipe"] == BASE) & (rows["target"] == "specialised")].sort_values("seed")
    base = rows.groupby("configuration")["value"].agg(lambda some: ", ".join(map(_three, some)))
    found = changes(table)
    found = found[found["scenario"] == scenario]
    text = found.assign(text=found["seeds"].map(lambda some: ", ".join(f"{d:+.3f}" for d in some)))
    wide = text.pivot(index="recipe", columns="configuration", values="text")
    wide = wide.loc[list(dict.fromkeys(found["recipe"])), list(ALONE_OR_JOINT)]
    first = pd.DataFrame([base[list(ALONE_OR_JOINT)]], index=[f"{BASE}: TV"])
    view = pd.concat([first, wide]).rename(columns=LABELS)
    return view.rename_axis(f"{scenario.replace('_', ' ')}: change of TV").rename_axis(
        None, axis="columns"
    )


def _three(value: float) -> str:
    return f"{value:.3f}"


def ablation_sentence(table: pd.DataFrame) -> str:
    """What changing a part of recipe ``tuned`` does, from the most harmful on, as ranges."""
    found = changes(table)
    mean = found.groupby("recipe", sort=False)["change"].mean().sort_values(ascending=False)
    parts = []
    for recipe, change in mean.items():
        each = [d for some in found[found["recipe"] == recipe]["seeds"] for d in some]
        parts.append(
            f"- *{recipe}*: {change:+.3f} on average, from {min(each):+.3f} to {max(each):+.3f}; "
            f"TV is higher in {sum(d > 0 for d in each)} of {len(each)}."
        )
    count = len(found["seeds"].iloc[0])
    return (
        f"What one change adds to the TV of recipe `tuned` ({len(set(found['scenario']))} "
        f"scenarios, {len(ALONE_OR_JOINT)} models, {count} training seed{'s' * (count > 1)}; no "
        "test of significance):\n\n" + "\n".join(parts)
    )


def amdm_values(
    table: pd.DataFrame, scene: str, metric: str = "total_variation", deviation: float = 0.0
) -> pd.Series:
    """A score by interpolation and number of aggregation steps, at one deviation."""
    rows = table[(table["scene"] == scene) & (table["metric"] == metric)]
    rows = rows[rows["deviation"] == deviation]
    return rows.set_index(["interpolation", "aggregated"])["value"].sort_index()


def deviations(
    table: pd.DataFrame, scene: str, metric: str = "total_variation"
) -> tuple[int, pd.DataFrame]:
    """Number of aggregation steps at which deviations were tried, and the rows by deviation."""
    rows = table[(table["scene"] == scene) & (table["metric"] == metric)]
    rows = rows[rows["interpolation"] == "spherical"]
    (tried,) = rows[rows["deviation"] > 0]["aggregated"].unique()
    return int(tried), rows[rows["aggregated"] == tried].set_index("deviation").sort_index()


def _scenes(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["scene"]))


def interpolation_sentence(table: pd.DataFrame) -> str:
    """Spherical against linear, at the fewest and at the most aggregation steps."""
    lines = []
    for scene in _scenes(table):
        by = amdm_values(table, scene)
        steps = sorted(s for s in by["linear"].index if s > 0)
        for s in dict.fromkeys((steps[0], steps[-1])):
            spherical, linear = by["spherical"][s], by["linear"][s]
            if abs(spherical - linear) <= SAME:
                verdict = f"the same within {SAME}"
            else:
                verdict = f"{'spherical' if spherical < linear else 'linear'} is lower"
            lines.append(
                f"on *{SCENES[scene]().title}* after {s} aggregation steps TV is {spherical:.3f} "
                f"with spherical and {linear:.3f} with linear interpolation ({verdict}), "
                f"{by['variance_preserving'][s]:.3f} with the variance-preserving one"
            )
    return "**Interpolation.** " + _upper("; ".join(lines)) + "."


def aggregated_sentence(table: pd.DataFrame) -> str:
    """The best number of aggregation steps, against none at all."""
    lines = []
    for scene in _scenes(table):
        own = amdm_values(table, scene)["spherical"]
        best = int(own.sort_values().index[0])
        same = int(own.index[((own - own[0]).abs() <= SAME).cummin()].max())
        said = f"on *{SCENES[scene]().title}* TV is {own[0]:.3f} without aggregation"
        said += f", within {SAME} of that up to {same} steps" if same else ""
        if own[0] - own[best] > SAME:
            said += f" and lowest after {best} steps ({own[best]:.3f})"
        else:
            said += ", and clearly lower with no number of steps"
        lines.append(f"{said}; aggregation to the end gives {own.iloc[-1]:.3f}")
    return "**Number of aggregation steps** (spherical). " + _upper("; ".join(lines)) + "."


def deviation_sentence(table: pd.DataFrame) -> str:
    """The best step of deviation optimisation, against none."""
    lines = []
    for scene in _scenes(table):
        tried, rows = deviations(table, scene)
        own = rows["value"]
        best = float(own.sort_values().index[0])
        said = f"on *{SCENES[scene]().title}* TV is {own[0.0]:.3f} without it"
        if own[0.0] - own[best] > SAME:
            said += f" and lowest at $\\rho = {best:g}$ ({own[best]:.3f})"
        else:
            said += " and no step is clearly better"
        inside = deviations(table, scene, "accuracy")[1]["value"]
        peak = float(inside.sort_values().index[-1])
        lines.append(
            f"{said}; $\\rho = {own.index[-1]:g}$ gives {own.iloc[-1]:.3f}. Accuracy is highest at "
            f"$\\rho = {peak:g}$ ({inside[peak]:.3f}, TV {own[peak]:.3f})"
        )
    return f"**Deviation step** ({tried} aggregation steps). " + _upper("; ".join(lines)) + "."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
