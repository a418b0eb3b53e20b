"""What the thesis leaves open, in the full-scale tables: its overlap target and its recipe.

Table 4.5 does not say against which disc it judges, and T, width and time are our assumption: both
readings and every assumption changed by itself stand beside the thesis's numbers here. Tables are
those of :func:`dualdiff.pooling.over_seeds`.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler
from scipy import stats

from dualdiff.overlap import SETTINGS, overlap_fraction
from dualdiff.plots import LABELS
from dualdiff.report import TITLES, interval
from dualdiff.report_results import ORANGE, READINGS, STYLES, coloured, items, lies, overlap_rows
from dualdiff.study import CONFIGURATIONS
from dualdiff.thesis import overlap_table, thesis_table

TARGETS = READINGS | {"intersection": "intersection"}


def _setting(name: str) -> str:
    return f"{name} ({overlap_fraction(SETTINGS[name]):.0%})"


def overlap_comparison(pooled: pd.DataFrame, metric: str) -> Styler:
    """Table 4.5 beside ours, judged against the setting's own disc and against the fixed one.

    Parameters
    ----------
    pooled : DataFrame
    metric : {"accuracy", "centre_distance"}
    """
    theirs = overlap_table()[metric]
    ours = {reading: overlap_rows(pooled, metric, t) for t, reading in READINGS.items()}
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for setting, name in theirs.index:
        line = {"thesis (printed)": f"{theirs[setting, name]:.4f}"}
        for reading, rows in ours.items():
            row = rows.loc[(setting, name)]
            text = interval(row["value"], row["low"], row["high"])
            line[reading] = f"{text} {lies(theirs[setting, name], row['low'], row['high'])[0]}"
        lines[_setting(setting), LABELS[name]] = line
    frame = pd.DataFrame.from_dict(lines, orient="index")
    frame.index = pd.MultiIndex.from_tuples(frame.index)

    def marks(row: pd.Series) -> list[str]:
        return [next((STYLES[m] for m in STYLES if text.endswith(m[0])), "") for text in row]

    return coloured(frame, marks, f"Table 4.5: {TITLES[metric]}, and where the thesis lies to ours")


def overlap_all(pooled: pd.DataFrame, metric: str, target: str = "specialised") -> pd.DataFrame:
    """Every configuration by setting, with intervals, against one of :data:`TARGETS`."""
    rows = overlap_rows(pooled, metric, target)
    text = rows.apply(lambda r: interval(r["value"], r["low"], r["high"]), axis=1)
    wide = text.unstack("configuration").reindex(list(SETTINGS)).fillna("–")
    wide = wide[[name for name in CONFIGURATIONS if name in wide]]
    wide = wide.rename(index=_setting, columns=LABELS).rename_axis(None, axis="columns")
    return wide.rename_axis(f"{TITLES[metric]}, {TARGETS[target]}")


def misfits(pooled: pd.DataFrame) -> pd.DataFrame:
    """Mean absolute difference to Table 4.5 over the six settings, for both readings."""
    parts = {}
    for metric in ("accuracy", "centre_distance"):
        theirs, columns = overlap_table()[metric], {}
        for target, reading in READINGS.items():
            ours = overlap_rows(pooled, metric, target)["value"].reindex(theirs.index)
            columns[reading] = (ours - theirs).abs().groupby("configuration", sort=False).mean()
        parts[TITLES[metric]] = pd.DataFrame(columns).rename(index=LABELS)
    return pd.concat(parts, names=["mean difference to the thesis", ""]).round(4)


def reading_sentence(pooled: pd.DataFrame) -> str:
    """Which target fits the thesis's constant row of the general model, in words."""
    lines, fit = [], misfits(pooled)
    for metric in ("accuracy", "centre_distance"):
        theirs = overlap_table()[metric].xs("general", level="configuration")
        ranges = []
        for target, reading in READINGS.items():
            row = overlap_rows(pooled, metric, target)["value"]
            row = row.xs("general", level="configuration")
            low, high = f"{row.min():.3f}", f"{row.max():.3f}"
            range_ = f"is {low}" if low == high else f"runs from {low} to {high}"
            ranges.append(f"{range_} against the {reading}")
        off = fit.xs((TITLES[metric], LABELS["general"]))
        assert isinstance(off, pd.Series)
        verdict = (
            f"the {off.idxmin()} fits better" if off.min() < off.max() else "neither is closer"
        )
        lines.append(
            f"- The general model's {TITLES[metric]} runs from {theirs.min():.4f} to "
            f"{theirs.max():.4f} in the thesis; ours {' and '.join(ranges)}: {verdict}."
        )
    return "\n".join(lines)


def thesis_spread_sentence() -> str:
    """The thesis made one experiment twice: how far apart its two printings are, in words."""
    first = thesis_table("round_table")["accuracy"]
    second = overlap_table()["accuracy"].xs("concentric subset", level="setting")
    parts = [f"{LABELS[str(n)]} {first[n]:.4f} and {second[n]:.4f}" for n in second.index]
    return (
        "The last setting is the round table again, so the thesis printed its accuracies twice: "
        + ", ".join(parts)
        + "."
    )


def sensitivity(pooled: pd.DataFrame, scenario: str, metric: str) -> pd.DataFrame:
    """What each change of recipe ``thesis`` does to each configuration.

    Returns
    -------
    DataFrame
        Index ``recipe, configuration``; columns ``value``, ``difference`` to the unchanged recipe,
        ``spread`` (standard deviation over seeds, pooled over the recipes), ``units``
        (difference / spread), ``moves`` (beyond the 95 % t interval of a difference of two means)
        and ``thesis``.
    """
    rows = pooled[(pooled["scenario"] == scenario) & (pooled["metric"] == metric)]
    rows = rows[rows["target"] == "specialised"]
    base = rows[rows["recipe"] == "thesis"].set_index("configuration")
    lines = []
    for name, part in rows.groupby("configuration", sort=False):
        spread = math.sqrt((part["spread"] ** 2).mean())
        freedom = (part["seeds"] - 1).sum()
        quantile = stats.t.ppf(0.975, freedom) if freedom > 0 else math.nan
        own = base.loc[str(name)]
        difference = part["value"] - own["value"]
        margin = quantile * spread * np.sqrt(1 / part["seeds"] + 1 / own["seeds"])
        lines.append(
            part[["recipe", "configuration", "value"]].assign(
                difference=difference,
                spread=spread,
                units=difference / spread if spread > 0 else math.nan,
                moves=(difference.abs() > margin) & (part["recipe"] != "thesis"),
                thesis=thesis_table(scenario)[metric][str(name)],
            )
        )
    return pd.concat(lines).set_index(["recipe", "configuration"])


def sensitivity_table(pooled: pd.DataFrame, scenario: str, metric: str) -> Styler:
    """Recipes by configurations: the score, and its change in units of the spread over seeds."""
    moved = sensitivity(pooled, scenario, metric)
    names = list(dict.fromkeys(moved.index.get_level_values("configuration")))
    recipes = list(dict.fromkeys(moved.index.get_level_values("recipe")))
    lines = {"thesis (printed)": {n: f"{moved['thesis']['thesis', n]:.4f}" for n in names}}
    for recipe in recipes:
        line = {}
        for n in names:
            row = moved.loc[(recipe, n)]
            sign = ("▲ " if row["difference"] > 0 else "▼ ") if row["moves"] else ""
            known = recipe != "thesis" and not math.isnan(row["units"])
            change = f" ({sign}{row['units']:+.1f})" if known else ""
            line[n] = f"{row['value']:.3f}{change}"
        lines["unchanged" if recipe == "thesis" else recipe] = line
    lines["spread over seeds"] = {n: f"{moved['spread']['thesis', n]:.3f}" for n in names}
    frame = pd.DataFrame.from_dict(lines, orient="index").rename(columns=LABELS)

    title = f"{scenario.replace('_', ' ').capitalize()}: {TITLES[metric]}, one change at a time"

    def marks(row: pd.Series) -> list[str]:
        return [ORANGE if "▲" in text or "▼" in text else "" for text in row]

    return coloured(frame, marks, title)


def sensitivity_sentence(pooled: pd.DataFrame, metric: str) -> str:
    """Which of the thesis's numbers move with each assumption, and whether towards the thesis."""
    lines, moves, total = [], 0, 0
    for scenario in pooled["scenario"].unique():
        moved = sensitivity(pooled, scenario, metric)
        away = (moved["value"] - moved["thesis"]).abs()
        changed = moved[moved.index.get_level_values("recipe") != "thesis"]
        known = changed["units"].notna()
        moves, total = moves + int(changed["moves"].sum()), total + int(known.sum())
        for recipe, part in changed[changed["moves"]].groupby("recipe", sort=False):
            words = [
                f"{LABELS[name]} {row['difference']:+.3f}, "
                + ("towards" if away[recipe, name] < away["thesis", name] else "away from")
                + " the thesis"
                for (_, name), row in items(part)
            ]
            lines.append(f"- {scenario.replace('_', ' ')}, {recipe}: {'; '.join(words)}.")
    if total == 0:
        return "With one training seed per recipe there is no spread over seeds to judge by."
    head = (
        f"By {TITLES[metric]}, {moves} of {total} comparisons with the unchanged recipe move "
        f"clearly; chance alone would give at most about {total * 0.05:.0f} (all recipes share "
        "their rows and test conditions, seed by seed, which only brings them closer)."
    )
    return "\n".join([head, "", *lines])
