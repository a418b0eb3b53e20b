"""What the overlap chapter says in words and tables, from its own numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff import results
from dualdiff.overlap import (
    DIAGNOSTICS,
    SETTINGS,
    overlap_fraction,
    rank_correlations,
    shifted_table,
    trend,
    with_distance,
)
from dualdiff.plots import LABELS
from dualdiff.pooling import over_seeds
from dualdiff.report import interval
from dualdiff.scenarios import Scenario
from dualdiff.thesis import overlap_table

WORDS = {
    "energy_score_gain": "energy score gain on held-out pairs",
    "effective_share": "effective sample size",
    "log_weight": "mean log weight",
    "disagreement": "disagreement of the predictions",
}
TARGETS = {"specialised": "own disc", "fixed": "fixed disc", "intersection": "intersection"}
BENEFITS = {
    "energy_distance_gain": "energy distance gained",
    "accuracy_gain": "accuracy gained",
}


def fractions_table() -> pd.DataFrame:
    """The six settings: distance of the centres, gap between the edges, overlap fraction."""
    rows = {
        name: {
            "distance of centres": distance,
            "gap between edges": max(distance - 4.0, 0.0),
            "overlap fraction": round(overlap_fraction(distance), 4),
        }
        for name, distance in SETTINGS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def settings_table(table: pd.DataFrame, target: str, metric: str) -> pd.DataFrame:
    """One metric of every configuration in the six settings against a target.

    Parameters
    ----------
    table : DataFrame
        Rows of :func:`dualdiff.overlap.setting_trials`.
    target : {"specialised", "fixed", "intersection"}
    metric : str
    """
    means = over_seeds(with_distance(table))
    rows = means[(means["target"] == target) & (means["metric"] == metric)]
    columns: dict[str, dict[str, str]] = {}
    for name, distance in SETTINGS.items():
        part = rows[rows["scenario"] == shifted_table(distance).name].set_index("configuration")
        columns[name] = {
            LABELS[str(c)]: interval(r["value"], r["low"], r["high"]) for c, r in part.iterrows()
        }
    return pd.DataFrame.from_dict(columns, orient="index").fillna("–").rename_axis("setting")


def beside_thesis(table: pd.DataFrame, metric: str, target: str) -> pd.DataFrame:
    """The thesis's Table 4.5 beside ours, judged against a target.

    ``metric`` is ``accuracy`` or ``centre_distance``; arguments as in :func:`settings_table`.
    """
    names = ["general", "specialised", "joint"]
    printed = overlap_table()[metric].unstack()[names].rename(columns=LABELS)
    ours = settings_table(table, target, metric)[[LABELS[name] for name in names]]
    parts = {"thesis (printed)": printed.map("{:.4f}".format), f"ours, {TARGETS[target]}": ours}
    return pd.concat(parts, axis=1).reindex(list(SETTINGS)).rename_axis("setting")


def target_sentence(table: pd.DataFrame) -> str:
    """Which target fits the thesis's row of the general model, which hardly moves, in words."""
    printed = overlap_table()["accuracy"].unstack()["general"]
    means = over_seeds(with_distance(table))
    lines = []
    for target, words in (("specialised", "its own disc"), ("fixed", "the concentric disc")):
        rows = means[
            (means["target"] == target)
            & (means["metric"] == "accuracy")
            & (means["configuration"] == "general")
        ]
        lines.append(f"from {rows['value'].min():.3f} to {rows['value'].max():.3f} against {words}")
    return (
        "Accuracy of the general model over the six settings: the thesis prints "
        f"{printed.min():.4f} to {printed.max():.4f}; ours goes {lines[0]} and {lines[1]}. "
        "A score that does not move can only have been taken against a fixed target."
    )


def shown(own: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The committed sweep where there is one, this run's otherwise, and which of the two."""
    try:
        table, record = results.load("sweep")
    except FileNotFoundError:
        text = "**this run**; the full-scale sweep has not been run"
        return own, f"The figures below show {text} ({own['scenario'].nunique()} distances)."
    state = results.describe("sweep")[1]
    return table, (
        f"The figures below show the **committed sweep** of {record['date']}: "
        f"{table['scenario'].nunique()} distances, {len(record['seeds'])} training seeds, "
        f"{record['conditions']:,} test conditions; state: {state}. The check below is on this "
        "run's own, smaller one."
    )


def places_table(clouds: Mapping[str, Tensor], worlds: Mapping[str, Scenario]) -> pd.DataFrame:
    """Where joint samples are: shares by place, and how far they got from centre to centre.

    ``clouds`` are offsets ``[k, 3]`` by setting. The way is 0 at the centre of the general disc and
    1 at that of the specialised one (mean over samples); it says nothing where the two coincide.
    Places are judged from above, whatever the height.
    """
    rows = {}
    for name, world in worlds.items():
        u = clouds[name].clone()
        u[:, 2] = world.specialised.middle[2]
        origin = torch.zeros(1, 3)
        own, home = world.specialised.contains(u, origin), world.general.contains(u, origin)
        centre = u.new_tensor(world.specialised.middle[:2])
        length = float(centre.norm())
        rows[name] = {
            "in both": float((own & home).float().mean()),
            "in the general disc only": float((home & ~own).float().mean()),
            "in the specialised disc only": float((own & ~home).float().mean()),
            "in neither": float((~own & ~home).float().mean()),
            "way": float((u[:, :2] @ centre).mean()) / length**2 if length else float("nan"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting").round(3)


def trend_sentence(table: pd.DataFrame) -> str:
    """How joint sampling follows the overlap, by accuracy and by total variation, in words."""
    names = {"exact": "exact members", "thesis": "recipe `thesis`", "tuned": "recipe `tuned`"}
    accuracy, spread = (trend(table, metric) for metric in ("accuracy", "total_variation"))
    parts = "; ".join(f"{names[r]} {accuracy[r]:.2f} and {spread[r]:.2f}" for r in accuracy)
    flat = [names[r] for r, rho in accuracy.items() if rho < 0.9]
    text = (
        "Spearman's rank correlation with the overlap fraction, over "
        f"{table['scenario'].nunique()} distances, of joint accuracy on each setting's own disc "
        f"and of its total variation (sign turned): {parts}."
    )
    if not flat:
        return text
    return text + (
        f" For {' and '.join(flat)} accuracy ranks the settings less well than 0.9: it stands on "
        "a plateau as long as a good part of the disc is shared, because samples gather in that "
        "part, and the order along a plateau is noise. Total variation sees what is left out."
    )


def gap_sentence(table: pd.DataFrame) -> str:
    """What the rule and the networks each lose against the specialised law, in words."""
    means = over_seeds(with_distance(table))
    rows = means[(means["target"] == "specialised") & (means["metric"] == "total_variation")]
    joint = rows[rows["configuration"] == "joint"].pivot(
        index="distance", columns="recipe", values="value"
    )
    distances = np.array(joint.index, dtype=float)
    nearest = {float(distances[np.abs(distances - want).argmin()]) for want in (0, 3, 5)}
    lines = []
    for distance in sorted(nearest):
        row = joint.loc[distance]
        parts = ", ".join(f"{row[recipe]:.2f} ({recipe})" for recipe in row.index)
        lines.append(
            f"- Centres {distance:g} apart (overlap {overlap_fraction(distance):.2f}): TV of joint "
            f"to the own law {parts}."
        )
    return "\n".join(lines)


def correlation_table(gains: pd.DataFrame) -> pd.DataFrame:
    """Rank correlations of every diagnostic, as shown: a row per diagnostic."""
    rows = rank_correlations(gains)
    wide = rows.pivot(index="diagnostic", columns=["benefit", "recipe"], values="correlation")
    wide = wide.reindex(list(DIAGNOSTICS)).round(2)
    return wide.rename(index=WORDS, columns=BENEFITS).rename_axis(None)


def diagnostic_sentence(gains: pd.DataFrame) -> str:
    """How well the energy score gain ranks the settings, all and by recipe; how often its sign is
    right; and what the best of the other diagnostics, chosen in hindsight, would do."""
    rows = rank_correlations(gains)
    parts = []
    for benefit, words in BENEFITS.items():
        asked = (rows["benefit"] == benefit) & (rows["diagnostic"] == "energy_score_gain")
        every = rows[asked].set_index("recipe")["correlation"]
        within = ", ".join(f"{r:.2f} in recipe `{n}`" for n, r in every.drop("all").items())
        parts.append(f"with the {words} {every['all']:.2f} ({within})")
    helps, says = gains["energy_distance_gain"] > 0, gains["energy_score_gain"] > 0
    of_all = rows[(rows["recipe"] == "all") & (rows["benefit"] == "accuracy_gain")]
    pooled = of_all.set_index("diagnostic")["correlation"].drop("energy_score_gain")
    text = (
        f"Over {len(gains)} settings the {WORDS['energy_score_gain']} has these rank correlations: "
        f"{', '.join(parts)}. Its sign decides rightly in {int((helps == says).sum())} of them "
        f"(joint sampling lowers the energy distance in {int(helps.sum())})."
    )
    if pooled.isna().all():
        return text
    best = str(pooled.idxmax())
    return text + (
        f" Of the other three the {WORDS[best]} ranks the accuracy gained best, chosen in "
        f"hindsight ({pooled[best]:.2f})."
    )


def verdict_sentence(asked: pd.DataFrame, distance: float) -> str:
    """What the held-out pairs say about one setting, in words.

    ``asked`` is the table of :func:`dualdiff.overlap.diagnose`.
    """
    gain = asked.loc["energy_score_gain"]
    if gain["low"] > 0:
        verdict = "joint sampling predicts them better than the specialised model alone"
    elif gain["high"] < 0:
        verdict = "joint sampling predicts them worse than the specialised model alone"
    else:
        verdict = "they cannot tell joint sampling from the specialised model alone"
    return (
        f"Centres {distance:g} apart, overlap fraction {overlap_fraction(distance):.2f}. Energy "
        f"score gain on the held-out pairs {interval(*map(float, gain))}: {verdict}."
    )
