"""What the plane of constant weights says: where it is best, and which of its pairs are beaten."""

from __future__ import annotations

import pandas as pd

from dualdiff import results
from dualdiff.report_weights import BASELINES, PLACES, SCENARIOS, WORLDS, present, scores
from dualdiff.weighting import NAMES


def plane(table: pd.DataFrame, scenario: str, recipe: str = "tuned") -> pd.DataFrame:
    """The weight plane: columns ``general, specialised, accuracy, total_variation, front``.

    One row per pair of constants in the table; ``front`` marks the rows of :func:`front`.
    """
    found = scores(table, scenario, recipe)
    found = found[found.index.str.fullmatch(r"[\d.]+, [\d.]+")]
    weights = found.index.str.split(", ", expand=True).to_frame(index=False).astype(float)
    weights.columns = pd.Index(NAMES)
    joined = weights.join(found.reset_index(drop=True))
    return joined.assign(front=front(joined))


def front(points: pd.DataFrame) -> pd.Series:
    """Which rows no other row beats: more accuracy at no more TV, or less TV at no less accuracy.

    ``points`` has columns ``accuracy`` and ``total_variation``; True marks the Pareto front.
    """
    accuracy, variation = (points[name].to_numpy() for name in ("accuracy", "total_variation"))
    no_worse = (accuracy[:, None] >= accuracy) & (variation[:, None] <= variation)
    better = (accuracy[:, None] > accuracy) | (variation[:, None] < variation)
    return pd.Series(~(no_worse & better).any(0), points.index)


def _place(points: pd.DataFrame, name: str) -> pd.Series:
    """The row of a pair of weights that has a name."""
    general, specialised = PLACES[name]
    return points[(points["general"] == general) & (points["specialised"] == specialised)].iloc[0]


def _at(row: pd.Series) -> str:
    return f"({row['general']:g}, {row['specialised']:g})"


def plane_sentence(table: pd.DataFrame) -> str:
    """Where the plane is best, where the plain sum lies, and how large the front is."""
    lines = []
    for scenario in present(table):
        for recipe in dict.fromkeys(table["recipe"]):
            points = plane(table, scenario, recipe)
            least = points.sort_values("total_variation").iloc[0]
            most = points.sort_values("accuracy").iloc[-1]
            both = _place(points, "joint")
            lines.append(
                f"- {WORLDS[scenario].capitalize()}, recipe `{recipe}`: TV is lowest at "
                f"$(w_g, w_s) = {_at(least)}$ ({least['total_variation']:.3f}, accuracy "
                f"{least['accuracy']:.3f}), accuracy highest at ${_at(most)}$ "
                f"({most['accuracy']:.3f}, TV {most['total_variation']:.3f}). The plain sum has "
                f"accuracy {both['accuracy']:.3f} at TV {both['total_variation']:.3f} and is "
                f"{'on' if both['front'] else 'off'} the front, which {points['front'].sum()} of "
                f"{len(points)} pairs of weights form. Floor of TV: "
                f"{points['total_variation_floor'].iloc[0]:.3f}."
            )
    return "\n".join(lines)


def flat_sentence(table: pd.DataFrame) -> str:
    """What the weight of the general model does at unit weight of the specialised one."""
    lines = []
    for scenario in present(table):
        for recipe in dict.fromkeys(table["recipe"]):
            points = plane(table, scenario, recipe)
            row = points[points["specialised"] == 1].set_index("general").sort_index()
            variation = row["total_variation"]
            lines.append(
                f"{WORLDS[scenario]}, recipe `{recipe}`: TV from {variation.iloc[0]:.3f} to "
                f"{variation.iloc[-1]:.3f}, accuracy from {row['accuracy'].iloc[0]:.3f} to "
                f"{row['accuracy'].iloc[-1]:.3f} at $w_g = {variation.index[-1]:g}$"
            )
    return "At $w_s = 1$, from $w_g = 0$ upwards: " + "; ".join(lines) + "."


def both_recipes() -> pd.DataFrame:
    """The committed tables of both scenarios and recipes as one; numbers of samples differ.

    For comparisons within a recipe only.
    """
    parts = [f"{scenario}{end}" for scenario in SCENARIOS for end in ("", "_tuned")]
    return pd.concat([results.load(part)[0] for part in parts], ignore_index=True)


def baseline_sentence(table: pd.DataFrame) -> str:
    """The specialised model alone against the plain sum, by scenario and recipe.

    ``table`` has these configurations by name, such as the committed tables of the scenarios.
    """
    lines = []
    for scenario in present(table):
        own = table[table["scenario"] == scenario]
        for recipe, rows in own.groupby("recipe", sort=False):
            found = scores(table, scenario, str(recipe))
            alone, both = (found.loc[name] for name in BASELINES)
            apart = both["total_variation"] - alone["total_variation"]
            verdict = "**lowers**" if apart < 0 else "raises"
            lines.append(
                f"- {WORLDS[scenario].capitalize()}, recipe `{recipe}` ({rows['seed'].nunique()} "
                f"seeds): specialised alone has accuracy {alone['accuracy']:.3f} at TV "
                f"{alone['total_variation']:.3f}, the plain sum {both['accuracy']:.3f} at "
                f"{both['total_variation']:.3f}: adding the general model {verdict} TV by "
                f"{abs(apart):.3f}."
            )
    return "\n".join(lines)
