"""What the overlap chapter says in words and tables, from its own numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff.methods import METHODS
from dualdiff.overlap import (
    DIAGNOSTICS,
    SETTINGS,
    overlap_fraction,
    rank_correlations,
    spearman,
    trend,
    with_distance,
)
from dualdiff.pooling import over_seeds
from dualdiff.report import interval
from dualdiff.scenarios import Scenario

WORDS = {
    "energy_score_gain": "energy score gain on held-out pairs",
    "effective_share": "effective sample size",
    "log_weight": "mean log weight",
    "disagreement": "disagreement of the predictions",
}
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


def corrected_view(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A score against the intersection, by method and distance of the centres."""
    rows = with_distance(table)
    rows = rows[(rows["target"] == "intersection") & (rows["metric"] == metric)]
    cells = {
        (str(row["configuration"]), f"{row['distance']:g}"): interval(
            row["value"], row["low"], row["high"]
        )
        for _, row in rows.iterrows()
    }
    names = list(dict.fromkeys(name for name, _ in cells))
    places = list(dict.fromkeys(place for _, place in cells))
    data = [[cells.get((name, place), "–") for place in places] for name in names]
    columns = pd.Index(places, name="distance")
    index = pd.Index([METHODS[name].title for name in names], name=metric.replace("_", " "))
    return pd.DataFrame(data, index=index, columns=columns)


def trend_sentence(table: pd.DataFrame) -> str:
    """How joint sampling follows the overlap, by accuracy and by total variation, in words."""
    names = {"exact": "exact members", "thesis": "recipe `thesis`", "tuned": "recipe `tuned`"}
    accuracy, spread = (trend(table, metric) for metric in ("accuracy", "total_variation"))
    parts = "; ".join(f"{names[r]} {accuracy[r]:.2f} and {spread[r]:.2f}" for r in accuracy)
    flat = [names[r] for r, rho in accuracy.items() if rho < 0.9]
    distances = with_distance(table)[["distance", "overlap"]].drop_duplicates()
    most = spearman(distances["overlap"], -distances["distance"])
    text = (
        "Spearman's rank correlation with the overlap fraction, over "
        f"{table['scenario'].nunique()} distances, of joint accuracy on each setting's own disc "
        f"and of its total variation (sign turned): {parts}. A score without ties can reach at "
        f"most {most:.2f}, because several settings share overlap 1 and several overlap 0."
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
    nearest = {float(distances[np.abs(distances - want).argmin()]) for want in (0, 2, 3, 5)}
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


NEAR = 0.01
"""A gain in energy distance of no more than this, in units of y, is near the border."""


def sign_counts(gains: pd.DataFrame) -> pd.DataFrame:
    """How often the sign of the energy score gain tells whether joint sampling helps.

    Columns ``recipe, settings, helps, right``: in how many settings joint sampling has the lower
    energy distance to the setting's own law, and in how many the sign says so correctly; then
    ``constant``, in how many one and the same answer for the whole recipe would be right, and
    ``near, near_right`` of the settings within :data:`NEAR` of the border. ``gains`` are rows of
    :func:`dualdiff.overlap.benefits`.
    """
    gain = gains["energy_distance_gain"]
    helps, right = gain > 0, (gain > 0) == (gains["energy_score_gain"] > 0)
    near = gain.abs() <= NEAR
    each = gains[["recipe"]].assign(
        settings=1, helps=helps, right=right, near=near, near_right=near & right
    )
    found = each.groupby("recipe").sum()
    found["constant"] = np.maximum(found["helps"], found["settings"] - found["helps"])
    return found.reset_index()


def sign_sentence(counts: pd.DataFrame) -> str:
    """The counts in words, with the rule beside them that looks at no data."""
    of = counts["settings"].sum()
    each = "; ".join(
        f"recipe `{row['recipe']}`: the sum helps in {row['helps']} of {row['settings']}, the sign "
        f"is right in {row['right']}, always answering "
        f"{'*it helps*' if 2 * row['helps'] > row['settings'] else '*it does not*'} in "
        f"{row['constant']}"
        for _, row in counts.iterrows()
    )
    tells = counts["right"].sum() > counts["constant"].sum()
    verdict = "So the sign adds to that" if tells else "So these settings do not test the sign"
    return (
        f"The sign of the energy score gain on 32 held-out pairs tells rightly in "
        f"{counts['right'].sum()} of {of} settings whether the sum comes nearer to the specialised "
        f"law. A rule that looks at no data, one fixed answer for each recipe, is right in "
        f"{counts['constant'].sum()} of {of} ({each}). {verdict}; "
        f"{counts['near'].sum()} of them lie within {NEAR:g} of the border where the answer turns, "
        f"and of these the sign has {counts['near_right'].sum()} right."
    )


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
    of_all = rows[(rows["recipe"] == "all") & (rows["benefit"] == "accuracy_gain")]
    pooled = of_all.set_index("diagnostic")["correlation"].drop("energy_score_gain")
    text = (
        f"Over {len(gains)} settings the {WORDS['energy_score_gain']} has these rank correlations: "
        f"{', '.join(parts)}. {sign_sentence(sign_counts(gains))}"
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
