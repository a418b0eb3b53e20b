"""What the chapter on learned weights says in words and tables, from its own numbers."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from dualdiff import results
from dualdiff.methods import METHODS
from dualdiff.overlap import SETTINGS, shifted_table
from dualdiff.plots import LABELS
from dualdiff.pooling import over_seeds
from dualdiff.report import interval
from dualdiff.weighting import FINETUNED, NAMES, WEIGHTINGS

SCENARIOS = ("cabinet", "round_table")
CLOSE = 1.1
"""Learned weights count as good as the oracle's up to this ratio of total variations."""
SAME = 0.01
"""Means of total variation that differ by no more count as the same; one measurement of 20,000
samples has an interval of about 0.007 to either side."""
EACH = 0.005
"""A way gains or loses where total variation moves by more than this in every seed."""
WORLDS = {
    "cabinet": "cabinet",
    "round_table": "round table",
    **{shifted_table(distance).name: setting for setting, distance in SETTINGS.items()},
}
"""Titles of the scenarios, the six settings of the overlap study among them."""
AGAIN = shifted_table(SETTINGS["concentric subset"]).name
"""The overlap setting that is the round table once more."""
WAYS = (*WEIGHTINGS, *FINETUNED)
COARSE = (0.0, 0.5, 1.0, 2.0)
"""Weights of the map that a chapter runs itself, of either model."""
PLACES = {"general": (1.0, 0.0), "specialised": (0.0, 1.0), "joint": (1.0, 1.0)}
"""Places of the plane that have a name."""
BASELINES = ("specialised", "joint")
"""What needs no choice of weights: the specialised model alone, and the plain sum."""
BOTH = ["accuracy", "total_variation"]


def with_baselines(table: pd.DataFrame) -> pd.DataFrame:
    """A table of ways to choose weights, with :data:`BASELINES` of recipe ``tuned`` beside them.

    From the table's own cells of the weight plane where it has them, else from the committed
    tables of the scenarios, and of those the seeds that the table has.
    """
    cells = {"{:g}, {:g}".format(*PLACES[name]): name for name in BASELINES}
    own = table[table["configuration"].isin(cells)]
    if len(own):
        return pd.concat(
            [table, own.assign(configuration=own["configuration"].map(cells))], ignore_index=True
        )
    more = []
    for scenario in present(table):
        try:
            committed = results.load(f"{scenario}_tuned")[0]
        except FileNotFoundError:
            continue
        seeds = table.loc[table["scenario"] == scenario, "seed"].unique()
        named = committed["configuration"].isin(BASELINES)
        more.append(committed[named & committed["seed"].isin(seeds)])
    return pd.concat([table, *more], ignore_index=True)


def _judged(table: pd.DataFrame, scenario: str, recipe: str) -> pd.DataFrame:
    """The scores of one scenario and recipe against the specialised law."""
    rows = table[(table["scenario"] == scenario) & (table["recipe"] == recipe)]
    return rows[rows["target"] == "specialised"]


def scores(table: pd.DataFrame, scenario: str, recipe: str = "tuned") -> pd.DataFrame:
    """Accuracy, total variation and its floor by configuration, means over seeds."""
    rows = _judged(table, scenario, recipe)
    wide = rows.pivot_table(index="configuration", columns="metric", values="value", sort=False)
    return wide.reindex(columns=[*BOTH, "total_variation_floor"]).rename_axis(columns=None)


def by_seed(
    table: pd.DataFrame, scenario: str, metric: str = "total_variation", recipe: str = "tuned"
) -> pd.DataFrame:
    """One score: a row per seed, a column per configuration."""
    rows = _judged(table, scenario, recipe)
    rows = rows[rows["metric"] == metric]
    return rows.pivot(index="seed", columns="configuration", values="value")


def weights(table: pd.DataFrame, scenario: str, way: str, recipe: str = "tuned") -> pd.DataFrame:
    """The weights of a way, one row per seed and timestep: ``seed, t`` and a column per member."""
    rows = table[(table["scenario"] == scenario) & (table["configuration"] == way)]
    rows = rows[(rows["target"] == "run") & (rows["recipe"] == recipe)]
    parts = rows["metric"].str.extract(r"(?P<member>\w+) at (?P<t>\d+)")
    long = rows[["seed", "value"]].join(parts).astype({"t": int})
    wide = long.pivot_table(index=["seed", "t"], columns="member", values="value")
    found = wide.reindex(columns=list(NAMES)).reset_index()
    return found[["seed", "t", *NAMES]].rename_axis(columns=None)


def present(table: pd.DataFrame, scenarios: Iterable[str] = SCENARIOS) -> list[str]:
    """Those of the scenarios that a table has rows of."""
    return [name for name in scenarios if len(table) and name in set(table["scenario"])]


def span(values: pd.Series) -> str:
    """The range of weights, ``0.05 .. 0.20``; one number if they agree to two digits."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} .. {high}"


def title(configuration: str) -> str:
    """A configuration, method or way in words."""
    if configuration in METHODS:
        return METHODS[configuration].title
    known = {**LABELS, "joint": "joint (plain sum)", "specialised": "specialised alone"}
    own = configuration.replace("finetuned: ", "fine-tuned, ").replace("smc", "SMC")
    return known.get(configuration, own)


def ways_view(table: pd.DataFrame, scenario: str, recipe: str = "tuned") -> pd.DataFrame:
    """Every way to choose weights: scores with intervals, and the weights over steps and seeds."""
    pooled = over_seeds(_judged(table, scenario, recipe))
    names = [way for way in (*BASELINES, *WAYS) if way in set(pooled["configuration"])]
    floors = pooled[pooled["metric"] == "total_variation_floor"].set_index("configuration")
    floor = floors["value"].map("{:.3f}".format)
    lines: dict[str, dict[str, str]] = {}
    for way in names:
        rows = pooled[pooled["configuration"] == way].set_index("metric")
        found = weights(table, scenario, way, recipe)
        if way in BASELINES:
            found = pd.DataFrame([PLACES[way]], columns=list(NAMES))
        lines[title(way)] = {
            **{
                metric: interval(*rows.loc[name, ["value", "low", "high"]])
                for name, metric in zip(BOTH, ("accuracy", "TV"), strict=True)
            },
            "floor of TV": floor[way],
            "w_g": span(found["general"]),
            "w_s": span(found["specialised"]),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis(WORLDS[scenario])


def against(value: float, other: float) -> str:
    """How two total variations compare: ``lower than``, or the same within :data:`SAME`."""
    if abs(value - other) <= SAME:
        return f"the same within {SAME} as"
    return f"{'lower' if value < other else 'higher'} than"


def _differences(values: Iterable[float]) -> str:
    return ", ".join(f"{value:+.3f}" for value in values)


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Every way against the specialised model alone, paired by seed.

    Columns ``scenario, configuration, accuracy, total_variation`` (mean differences to specialised
    alone), ``seeds`` (the difference of total variation in each), ``verdict``: ``lower`` or
    ``higher`` by more than :data:`EACH` in every seed, else ``neither``.
    """
    lines = []
    for scenario in present(table):
        each = {metric: by_seed(table, scenario, metric) for metric in BOTH}
        for way in [w for w in ("joint", *WAYS) if {w, "specialised"} <= {*each["accuracy"]}]:
            accuracy, variation = ((of[way] - of["specialised"]).dropna() for of in each.values())
            signs = {"lower": variation < -EACH, "higher": variation > EACH}
            (verdict,) = [sign for sign, where in signs.items() if where.all()] or ["neither"]
            means = accuracy.mean(), variation.mean()
            lines.append((scenario, way, *means, tuple(variation), verdict))
    names = ["scenario", "configuration", *BOTH, "seeds", "verdict"]
    return pd.DataFrame(lines, columns=names)


def gains_view(found: pd.DataFrame) -> pd.DataFrame:
    """The gains as a reader sees them."""
    view = pd.DataFrame(
        {
            "where": found["scenario"].map(WORLDS),
            "way": found["configuration"].map(title),
            "accuracy": found["accuracy"].map("{:+.3f}".format),
            "TV": found["total_variation"].map("{:+.3f}".format),
            "TV, seed by seed": found["seeds"].map(_differences),
        }
    )
    return view.set_index(["where", "way"])


def gain_sentence(table: pd.DataFrame) -> str:
    """Which ways have a lower total variation than the specialised model alone, by scenario."""
    found = gains(table)
    lines = []
    for scenario, rows in found.groupby("scenario", sort=False):
        alone, count = scores(table, str(scenario)).loc["specialised"], len(rows["seeds"].iloc[0])
        text = (
            f"- {WORLDS[str(scenario)].capitalize()}: specialised alone has TV "
            f"{alone['total_variation']:.3f} at accuracy {alone['accuracy']:.3f}"
        )
        for verdict in ("lower", "higher"):
            named = [
                f"{title(row['configuration'])} ({row['total_variation']:+.3f}, accuracy "
                f"{row['accuracy']:+.3f})"
                for _, row in rows[rows["verdict"] == verdict].iterrows()
            ]
            text += f"; {verdict}: {', '.join(named) or 'nothing'}"
        other = rows[rows["verdict"] == "neither"]["configuration"].map(title)
        text += f"; neither clearly: {', '.join(other) or 'nothing'}."
        lines.append(text)
    if not lines:
        return "Specialised alone is not in these tables."
    seeds = f"in all {count} seeds" if count > 1 else "in the one seed"
    return (
        f"Against the specialised model alone, with the same training seed (lower or higher: "
        f"{seeds}, by more than {EACH}, in brackets the mean change; oracles see the support):\n\n"
    ) + "\n".join(lines)


def stacking_sentence(table: pd.DataFrame) -> str:
    """Least squares against constants of the energy score, by scenario."""
    lines = []
    for scenario in present(table):
        found = scores(table, scenario)
        if not {"stacked", "learned constant"} <= set(found.index):
            continue
        squares, energy = (found.T[way] for way in ("stacked", "learned constant"))
        each = by_seed(table, scenario)
        better = each["learned constant"] < each["stacked"]
        verdict = against(*(float(of["total_variation"]) for of in (energy, squares)))
        lines.append(
            f"on the {WORLDS[scenario]} constants of the energy score have TV "
            f"{energy['total_variation']:.3f}, {verdict} stacking's "
            f"{squares['total_variation']:.3f} (lower in {better.sum()} of {len(better)} "
            f"seed{'s' * (len(better) > 1)}), and accuracy {energy['accuracy']:.3f} against "
            f"{squares['accuracy']:.3f}"
        )
    return "Energy score against least squares, means over seeds: " + "; ".join(lines) + "."


def ratios(table: pd.DataFrame, recipe: str = "tuned") -> pd.DataFrame:
    """Total variation of learned weights over the oracle's, like with like.

    One row per scenario or setting and shape (constant to constant, curve to curve, SMC to SMC);
    without :data:`AGAIN`, which is the round table. Columns ``learned, oracle, ratio, close``, of
    means over seeds; ``alone``, total variation of the specialised model; ``seeds``, every ratio.
    """
    lines = []
    for scenario in present(table, [name for name in WORLDS if name != AGAIN]):
        variation = scores(table, scenario, recipe)["total_variation"]
        each = by_seed(table, scenario, recipe=recipe)
        alone = variation.get("specialised", float("nan"))
        for shape in ("constant", "curve", "finetuned: smc"):
            method, _, kind = shape.rpartition(": ")
            before = f"{method}: " if method else ""
            pair = [f"{before}learned {kind}", f"{before}oracle {kind}"]
            if set(pair) <= set(variation.index):
                learned, oracle = variation[pair]
                seeds = tuple(each[pair[0]] / each[pair[1]])
                lines.append((scenario, shape, learned, oracle, learned / oracle, alone, seeds))
    names = ["scenario", "shape", "learned", "oracle", "ratio", "alone", "seeds"]
    found = pd.DataFrame(lines, columns=names)
    return found.assign(close=found["ratio"] <= CLOSE)


def ratios_view(found: pd.DataFrame) -> pd.DataFrame:
    """The ratios as a reader sees them."""
    over = (found["alone"] / found["oracle"]).map("{:.2f}".format).replace("nan", "–")
    view = pd.DataFrame(
        {
            "where": found["scenario"].map(WORLDS),
            "weights": found["shape"].map(title),
            "learned": found["learned"].map(lambda v: f"{v:.3f}"),
            "oracle": found["oracle"].map("{:.3f}".format),
            "learned / oracle": found["ratio"].map("{:.2f}".format),
            "within 10 %": found["close"].map({True: "yes", False: "no"}),
            "seed by seed": found["seeds"].map(lambda some: ", ".join(f"{r:.2f}" for r in some)),
            "specialised alone / oracle": over,
        }
    )
    return view.set_index(["where", "weights"])


def ratio_sentence(found: pd.DataFrame) -> str:
    """Learned constants over the oracle's, and the specialised model alone over the oracle's."""
    constants = found[found["shape"] == "constant"]
    own = constants[constants["scenario"].isin(SCENARIOS)]
    settings = constants[~constants["scenario"].isin(SCENARIOS)]
    each = []
    for _, row in own.iterrows():
        said = f"{WORLDS[row['scenario']]} {row['ratio']:.2f}"
        if len(row["seeds"]) > 1:
            said += f" (at most {max(row['seeds']):.2f} in a seed)"
        if not pd.isna(row["alone"]):
            said += f", specialised alone {row['alone'] / row['oracle']:.2f}"
        each.append(said)
    text = (
        f"TV of learned constants over the TV of the oracle's: {'; '.join(each)}. Learned "
        f"constants are within 10 % on {own['close'].sum()} of {len(own)} scenarios"
    )
    if settings.empty:
        return f"{text}; the settings of the overlap study are in the full-scale table only."
    worst = settings.sort_values("ratio").iloc[-1]
    return (
        f"{text} and, with one seed, on {settings['close'].sum()} of {len(settings)} overlap "
        f"settings; the largest ratio of these is {worst['ratio']:.2f} "
        f"(*{WORLDS[worst['scenario']]}*)."
    )


def settings_sentence(table: pd.DataFrame) -> str:
    """What the weights learned in the overlap settings have in common."""
    names = present(table, [name for name in WORLDS if name not in SCENARIOS])
    if not names:
        return "The settings of the overlap study are in the full-scale table only."
    choices = ("learned", "oracle")
    both = [pd.concat(weights(table, name, f"{w} constant") for name in names) for w in choices]
    said = ", ".join(
        f"{choice} $w_g$ {span(own['general'])} and $w_s$ {span(own['specialised'])}"
        for choice, own in zip(choices, both, strict=True)
    )
    seeds = ", ".join(map(str, sorted({int(seed) for own in both for seed in own["seed"]})))
    return (
        f"Over the {len(names)} settings (training seed {seeds}): {said}. Nothing but the place of "
        "the specialised disc differs between them, and where the general model's weight is near "
        "zero, it is that disc's own network with one weight that is measured again: near-repeats, "
        "not so many pieces of evidence. The *concentric subset* is the round table itself and not "
        "counted."
    )
