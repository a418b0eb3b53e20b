"""What the chapter on learned weights says in words and tables, from its own numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import torch

from dualdiff import results
from dualdiff.methods import METHODS
from dualdiff.overlap import SETTINGS, shifted_table
from dualdiff.plots import LABELS
from dualdiff.pooling import over_seeds
from dualdiff.process import Process
from dualdiff.report import interval
from dualdiff.thesis import thesis_table
from dualdiff.weighting import FINETUNED, NAMES, WEIGHTINGS

SCENARIOS = ("cabinet", "round_table")
TARGETS = {"cabinet": (0.97, 0.17), "round_table": (0.98, 0.15)}
"""What members without knowledge of the support should reach: accuracy at least, TV at most."""
CLOSE = 1.1
"""Learned weights count as good as the oracle's up to this ratio of total variations."""
WORLDS = {
    "cabinet": "cabinet",
    "round_table": "round table",
    **{shifted_table(distance).name: setting for setting, distance in SETTINGS.items()},
}
"""Titles of the scenarios, the six settings of the overlap study among them."""
WAYS = (*WEIGHTINGS, *FINETUNED)
COARSE = (0.0, 0.5, 1.0, 2.0)
"""Weights of the map that a chapter runs itself, of either model."""
RULES = {"general": (1.0, 0.0), "specialised": (0.0, 1.0), "joint": (1.0, 1.0)}
"""Places of the plane that have a name."""


def shown(part: str, own: pd.DataFrame | None = None) -> tuple[pd.DataFrame, str]:
    """The committed table of a part where there is one, else this run's, and which of the two.

    Without either the table is empty, and the sentence names the command that makes it.
    """
    try:
        table, record = results.load(part)
    except FileNotFoundError:
        made = f"`dualdiff results --profile thesis {part}` makes the full-scale one."
        if own is None:
            return pd.DataFrame(), f"The table `{part}` has not been made yet; {made}"
        return own, f"What follows is of **this run**; {made}"
    state = results.describe(part)[1]
    return table, (
        f"What follows is the **committed** table of {record['date']} (`{record['command']}`): "
        f"training seeds {', '.join(map(str, record['seeds']))}, {record['conditions']:,} "
        f"conditions with {record['draws']} draws each; state: {state}."
    )


def scores(table: pd.DataFrame, scenario: str, recipe: str = "tuned") -> pd.DataFrame:
    """Accuracy and total variation by configuration, means over seeds."""
    rows = table[(table["scenario"] == scenario) & (table["recipe"] == recipe)]
    rows = rows[rows["target"] == "specialised"]
    wide = rows.pivot_table(index="configuration", columns="metric", values="value", sort=False)
    return wide[["accuracy", "total_variation"]]


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


def weights(table: pd.DataFrame, scenario: str, way: str) -> pd.DataFrame:
    """The weights of a way, one row per seed and timestep: ``seed, t`` and a column per member."""
    rows = table[(table["scenario"] == scenario) & (table["configuration"] == way)]
    rows = rows[rows["target"] == "run"]
    parts = rows["metric"].str.extract(r"(?P<member>\w+) at (?P<t>\d+)")
    long = rows[["seed", "value"]].join(parts).astype({"t": int})
    wide = long.pivot_table(index=["seed", "t"], columns="member", values="value")
    found = wide.reindex(columns=list(NAMES)).reset_index()
    return found[["seed", "t", *NAMES]].rename_axis(columns=None)


def log_snr(process: Process, steps: Iterable[int]) -> np.ndarray:
    """Logarithm of the signal-to-noise ratio at timesteps, the axis of the curves."""
    at: np.ndarray = torch.logit(process.alpha_bar).numpy()[list(steps)]
    return at


def present(table: pd.DataFrame, scenarios: Iterable[str] = SCENARIOS) -> list[str]:
    """Those of the scenarios that a table has rows of."""
    return [name for name in scenarios if len(table) and name in set(table["scenario"])]


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
            both = points[(points["general"] == 1) & (points["specialised"] == 1)].iloc[0]
            lines.append(
                f"- {WORLDS[scenario].capitalize()}, recipe `{recipe}`: TV is lowest at "
                f"$(w_g, w_s) = {_at(least)}$ ({least['total_variation']:.3f}, accuracy "
                f"{least['accuracy']:.3f}), accuracy highest at ${_at(most)}$ "
                f"({most['accuracy']:.3f}, TV {most['total_variation']:.3f}). The plain sum has "
                f"accuracy {both['accuracy']:.3f} at TV {both['total_variation']:.3f} and is "
                f"{'on' if both['front'] else 'off'} the front, which {points['front'].sum()} of "
                f"{len(points)} pairs of weights form."
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
    return "At $w_s = 1$, from $w_g = 0$ upwards. " + "; ".join(lines) + "."


def range_of(values: pd.Series) -> str:
    """Mean of weights, and their range if they differ: ``0.12 (0.05 .. 0.20)``."""
    if values.max() - values.min() < 0.005:
        return f"{values.mean():.2f}"
    return f"{values.mean():.2f} ({values.min():.2f} .. {values.max():.2f})"


def ways_view(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Every way to choose weights: scores with intervals, and the weights over steps and seeds."""
    pooled = over_seeds(table[table["scenario"] == scenario])
    pooled = pooled[pooled["target"] == "specialised"]
    names = [way for way in WAYS if way in set(pooled["configuration"])]
    metrics = {"accuracy": "accuracy", "total_variation": "TV", "energy_distance": "energy"}
    lines: dict[str, dict[str, str]] = {}
    for way in names:
        rows = pooled[pooled["configuration"] == way].set_index("metric")
        found = weights(table, scenario, way)
        lines[title(way)] = {
            **{
                title: interval(*rows.loc[metric, ["value", "low", "high"]])
                for metric, title in metrics.items()
            },
            "w_g (range)": range_of(found["general"]),
            "w_s (range)": range_of(found["specialised"]),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(WORLDS[scenario])


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Total variation of learned weights over the oracle's, like with like.

    One row per scenario or setting and shape (constant to constant, curve to curve, SMC to SMC).
    Columns ``learned, oracle, ratio, close``; means over seeds.
    """
    lines = []
    for scenario in present(table, WORLDS):
        variation = scores(table, scenario)["total_variation"]
        for shape in ("constant", "curve", "finetuned: smc"):
            method, _, kind = shape.rpartition(": ")
            before = f"{method}: " if method else ""
            pair = [f"{before}learned {kind}", f"{before}oracle {kind}"]
            if set(pair) <= set(variation.index):
                learned, oracle = variation[pair]
                lines.append((scenario, shape, learned, oracle, learned / oracle))
    names = ["scenario", "shape", "learned", "oracle", "ratio"]
    found = pd.DataFrame(lines, columns=names)
    return found.assign(close=found["ratio"] <= CLOSE)


def ratios_view(found: pd.DataFrame) -> pd.DataFrame:
    """The ratios as a reader sees them."""
    named = found.assign(
        scenario=found["scenario"].map(WORLDS),
        shape=found["shape"].map(title),
        close=found["close"].map({True: "yes", False: "no"}),
    ).rename(columns={"scenario": "where", "shape": "weights", "close": "within 10 %"})
    return named.set_index(["where", "weights"]).round(3)


def ratio_sentence(found: pd.DataFrame) -> str:
    """On how many scenarios and settings learned constants are within 10 % of the oracle's."""
    constants = found[found["shape"] == "constant"]
    own = constants[constants["scenario"].isin(SCENARIOS)]
    settings = constants[~constants["scenario"].isin(SCENARIOS)]
    each = ", ".join(
        f"{WORLDS[name]} {ratio:.2f}"
        for name, ratio in zip(own["scenario"], own["ratio"], strict=True)
    )
    text = (
        f"TV with learned constants over TV with the oracle's: {each}. They are within 10 % on "
        f"{own['close'].sum()} of {len(own)} scenarios"
    )
    if settings.empty:
        return f"{text}; the settings of the overlap study are in the full-scale table only."
    worst = settings.sort_values("ratio").iloc[-1]
    return (
        f"{text} and on {settings['close'].sum()} of {len(settings)} overlap settings; the largest "
        f"ratio of these is {worst['ratio']:.2f} (*{WORLDS[worst['scenario']]}*)."
    )


def shape_sentence(table: pd.DataFrame) -> str:
    """Whether a curve beats constants, for the learned choice and for the oracle."""
    lines = []
    for scenario in present(table):
        variation = scores(table, scenario)["total_variation"]
        for choice in ("learned", "oracle"):
            names = [f"{choice} constant", f"{choice} curve"]
            if set(names) <= set(variation.index):
                constant, curve = variation[names]
                verb = "lower" if curve < constant else "no lower"
                lines.append(
                    f"{WORLDS[scenario]}, {choice}: curve {curve:.3f}, {verb} than constants' "
                    f"{constant:.3f}"
                )
    return "TV with a curve in place of constants: " + "; ".join(lines) + "."


def _ends(found: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Weights at the noisiest, a middle and the cleanest timestep, one row per seed."""
    steps = sorted(found["t"].unique(), reverse=True)
    places = {"noisy": steps[0], "middle": steps[len(steps) // 2], "clean": steps[-1]}
    return {name: found[found["t"] == t] for name, t in places.items()}


def curve_sentence(table: pd.DataFrame, way: str) -> str:
    """The weights of a way at the noisy end, in the middle and at the clean end, over seeds."""
    lines = []
    for scenario in present(table):
        found = weights(table, scenario, way)
        if found.empty:
            continue
        places = "; ".join(
            f"{name} $w_g$ {range_of(rows['general'])}, $w_s$ {range_of(rows['specialised'])}, "
            f"sum {rows[list(NAMES)].sum(axis=1).mean():.2f}"
            for name, rows in _ends(found).items()
        )
        lines.append(f"- {WORLDS[scenario].capitalize()}, *{way}*: {places}.")
    return "\n".join(lines)


def lead_sentence(table: pd.DataFrame, way: str, process: Process) -> str:
    """Over which noise levels each member has the larger weight, means over seeds."""
    lines = []
    for scenario in present(table):
        mean = weights(table, scenario, way).groupby("t")[list(NAMES)].mean().sort_index()
        leads = mean.index[mean["general"] > mean["specialised"]]
        if mean.empty:
            continue
        at = log_snr(process, leads)
        said = f"log SNR {at.min():.0f} to {at.max():.0f}" if len(leads) else "nowhere"
        lines.append(
            f"on the {WORLDS[scenario]} at {len(leads)} of {len(mean)} noise levels shown ({said})"
        )
    return f"By *{way}* (means over seeds) the general model leads {'; '.join(lines)}."


def contenders(own: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Every way to sample trained members of recipe ``tuned``, and which tables that is from.

    From the committed tables that are not stale, and the chapter's ``own`` where that of learned
    weights is missing. Columns ``scenario, configuration, accuracy, total_variation`` (means over
    seeds) and ``tested``: whether seeds and samples are those of a full-scale table.
    The sum of part ``corrected`` is left out: it is the joint model again.
    """
    tables, used = [], []
    for part in ("weights", "cabinet_tuned", "round_table_tuned", "corrected"):
        if not results.describe(part)[1].startswith(("not run", "stale")):
            table, record = results.load(part)
            kept = (table["recipe"] == "tuned") & (table["configuration"] != "sum")
            tables.append(_both(table[kept]).assign(tested=True))
            count = record["conditions"] * record["draws"]
            used.append(f"`{part}` (seeds: {len(record['seeds'])}, samples each: {count:,})")
        elif part == "weights":
            tables.append(_both(own).assign(tested=False))
            used.append("this run (one seed and fewer samples: no test of the target)")
    found = pd.concat(tables, ignore_index=True)
    found = found[~found["configuration"].str.fullmatch(r"[\d.]+, [\d.]+")]
    return found, f"Means over seeds, of {', '.join(used)}."


def _both(table: pd.DataFrame) -> pd.DataFrame:
    """Both scores by scenario and configuration."""
    parts = {name: scores(table, name) for name in present(table)}
    return pd.concat(parts, names=["scenario"]).reset_index()


def title(configuration: str) -> str:
    """A configuration, method or way in words."""
    if configuration in METHODS:
        return METHODS[configuration].title
    known = {**LABELS, "joint": "joint (plain sum)"}
    own = configuration.replace("finetuned: ", "fine-tuned, ").replace("smc", "SMC")
    return known.get(configuration, own)


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
                "reached": f"short by {row['short']:.3f}" if row["short"] > 0 else "yes",
            }
        )
    lines.append({"way": "target", "accuracy": f">= {accuracy}", "TV": f"<= {variation}"})
    view = pd.DataFrame(lines, columns=["way", "accuracy", "TV", "reached"]).fillna("–")
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
            text += f" Of the {len(points)} pairs of constants on the plane, {there} reach it"
            weak = not (reached or there)
            text += ": no choice of two constants there makes up for the members." if weak else "."
        lines.append(text)
    return "\n".join(lines)
