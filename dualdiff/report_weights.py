"""What the chapter on learned weights says in words and tables, from its own numbers."""

from __future__ import annotations

from collections.abc import Iterable

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
from dualdiff.weighting import FINETUNED, NAMES, WEIGHTINGS

SCENARIOS = ("cabinet", "round_table")
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


def span(values: pd.Series) -> str:
    """The range of weights, ``0.05 .. 0.20``; one number if they agree to two digits."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} .. {high}"


def range_of(values: pd.Series) -> str:
    """Mean of weights, and their range if they differ: ``0.12 (0.05 .. 0.20)``."""
    mean, ends = f"{values.mean():.2f}", span(values)
    return f"{mean} ({ends})" if ".." in ends else mean


def title(configuration: str) -> str:
    """A configuration, method or way in words."""
    if configuration in METHODS:
        return METHODS[configuration].title
    known = {**LABELS, "joint": "joint (plain sum)"}
    own = configuration.replace("finetuned: ", "fine-tuned, ").replace("smc", "SMC")
    return known.get(configuration, own)


def ways_view(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Every way to choose weights: scores with intervals, and the weights over steps and seeds."""
    pooled = over_seeds(table[table["scenario"] == scenario])
    pooled = pooled[pooled["target"] == "specialised"]
    names = [way for way in WAYS if way in set(pooled["configuration"])]
    metrics = {"accuracy": "accuracy", "total_variation": "TV"}
    lines: dict[str, dict[str, str]] = {}
    for way in names:
        rows = pooled[pooled["configuration"] == way].set_index("metric")
        found = weights(table, scenario, way)
        lines[title(way)] = {
            **{
                title: interval(*rows.loc[metric, ["value", "low", "high"]])
                for metric, title in metrics.items()
            },
            "w_g": span(found["general"]),
            "w_s": span(found["specialised"]),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(WORLDS[scenario])


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Total variation of learned weights over the oracle's, like with like.

    One row per scenario or setting and shape (constant to constant, curve to curve, SMC to SMC).
    Columns ``learned, oracle, ratio, close``, of means over seeds; ``seeds``, the ratio of each.
    """
    lines = []
    for scenario in present(table, WORLDS):
        variation = scores(table, scenario)["total_variation"]
        each = _by_seed(table, scenario)
        for shape in ("constant", "curve", "finetuned: smc"):
            method, _, kind = shape.rpartition(": ")
            before = f"{method}: " if method else ""
            pair = [f"{before}learned {kind}", f"{before}oracle {kind}"]
            if set(pair) <= set(variation.index):
                learned, oracle = variation[pair]
                seeds = tuple(each[pair[0]] / each[pair[1]])
                lines.append((scenario, shape, learned, oracle, learned / oracle, seeds))
    names = ["scenario", "shape", "learned", "oracle", "ratio", "seeds"]
    found = pd.DataFrame(lines, columns=names)
    return found.assign(close=found["ratio"] <= CLOSE)


def _by_seed(table: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Total variation to the specialised law: a row per seed, a column per configuration."""
    rows = table[(table["scenario"] == scenario) & (table["target"] == "specialised")]
    rows = rows[rows["metric"] == "total_variation"]
    return rows.pivot(index="seed", columns="configuration", values="value")


def ratios_view(found: pd.DataFrame) -> pd.DataFrame:
    """The ratios as a reader sees them."""
    numbers = {name: found[name].map("{:.3f}".format) for name in ("learned", "oracle")}
    named = found.assign(
        **numbers,
        ratio=found["ratio"].map("{:.2f}".format),
        seeds=found["seeds"].map(lambda some: ", ".join(f"{ratio:.2f}" for ratio in some)),
        scenario=found["scenario"].map(WORLDS),
        shape=found["shape"].map(title),
        close=found["close"].map({True: "yes", False: "no"}),
    ).rename(
        columns={
            "scenario": "where",
            "shape": "weights",
            "close": "within 10 %",
            "seeds": "seed by seed",
        }
    )
    order = ["learned", "oracle", "ratio", "within 10 %", "seed by seed"]
    return named.set_index(["where", "weights"])[order]


def ratio_sentence(found: pd.DataFrame) -> str:
    """On how many scenarios and settings learned constants are within 10 % of the oracle's."""
    constants = found[found["shape"] == "constant"]
    own = constants[constants["scenario"].isin(SCENARIOS)]
    settings = constants[~constants["scenario"].isin(SCENARIOS)]
    each = ", ".join(
        f"{WORLDS[name]} {ratio:.2f}" + (f" (at most {max(some):.2f} in a seed)" * (len(some) > 1))
        for name, ratio, some in zip(own["scenario"], own["ratio"], own["seeds"], strict=True)
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
