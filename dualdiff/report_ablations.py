"""What the chapters say of knobs: recipe ``tuned`` without one part at a time, AMDM's settings."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from dualdiff.plots import LABELS
from dualdiff.pooling import over_seeds
from dualdiff.report import interval
from dualdiff.scenes import SCENES

BASE = "tuned"
SAME = 0.02
"""Total variations that differ by no more count as the same."""
ALONE_OR_JOINT = ("specialised", "finetuned", "joint")
"""Configurations of the ablation that can follow the specialised law."""


def ablation_view(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Total variation by recipe (rows) and configuration, with intervals over seeds."""
    pooled = over_seeds(table)
    rows = pooled[(pooled["scenario"] == scenario) & (pooled["metric"] == "total_variation")]
    rows = rows[rows["configuration"].isin(ALONE_OR_JOINT)]
    text = [interval(*v) for v in rows[["value", "low", "high"]].itertuples(index=False)]
    wide = rows.assign(text=text).set_index(["recipe", "configuration"])["text"]
    view = wide.unstack("configuration", sort=False).rename(columns=LABELS)
    return view.rename_axis(f"{scenario.replace('_', ' ')}: TV").rename_axis(None, axis="columns")


def changes(table: pd.DataFrame, metric: str = "total_variation") -> pd.DataFrame:
    r"""What leaving a part out changes, paired over seeds: mean and the half-width of its interval.

    .. math:: \bar d \pm t_{0.975,\, n-1}\, s_d / \sqrt n

    with d the difference to recipe ``tuned`` of the same seed. Columns ``scenario,
    configuration, change, half, recipe, clear``; with one seed nothing is clear.
    """
    rows = table[(table["metric"] == metric) & (table["target"] == "specialised")]
    rows = rows[rows["configuration"].isin(ALONE_OR_JOINT)]
    wide = rows.pivot_table(
        index=["scenario", "configuration", "seed"], columns="recipe", values="value", sort=False
    )
    lines = []
    for recipe in (name for name in wide.columns if name != BASE):
        apart = (wide[recipe] - wide[BASE]).groupby(level=[0, 1], sort=False)
        mean, spread, n = apart.mean(), apart.std(), apart.count()
        half = stats.t.ppf(0.975, (n - 1).clip(lower=1)) * spread / n**0.5
        lines.append(pd.DataFrame({"change": mean, "half": half}).assign(recipe=recipe))
    found = pd.concat(lines).reset_index()
    return found.assign(clear=found["change"].abs() > found["half"])


def ablation_sentence(table: pd.DataFrame) -> str:
    """Which parts recipe ``tuned`` needs, from the most needed on, and which it does not."""
    found = changes(table)
    mean = found.groupby("recipe", sort=False)["change"].mean().sort_values(ascending=False)
    parts = []
    for recipe, change in mean.items():
        own = found[found["recipe"] == recipe]
        worse, better = (int((own["clear"] & (own["change"] * s > 0)).sum()) for s in (1, -1))
        parts.append(
            f"- *{recipe}*: TV changes by {change:+.3f} on average; clearly worse in {worse} and "
            f"clearly better in {better} of {len(own)} cases."
        )
    return (
        "Recipe `tuned` with one thing changed, over both scenarios and the specialised, "
        "fine-tuned and joint models (clear: the interval of the paired difference over seeds "
        "excludes zero):\n\n" + "\n".join(parts)
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
