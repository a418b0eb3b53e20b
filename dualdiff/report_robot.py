"""What the robot chapter says of its scores: tables, and sentences that follow the numbers.

Differences are paired: configurations of one training seed share its special rows, its test rows
and its fresh scenes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dualdiff.members import progress_bar
from dualdiff.plots import LABELS
from dualdiff.pooling import Difference, over_common_seeds, over_seeds
from dualdiff.report import interval
from dualdiff.robot.members import Workshop
from dualdiff.robot.settings import REFERENCE
from dualdiff.robot.study import (
    CONFIGURATIONS,
    REFERENCES,
    THESIS,
    Drawn,
    RobotTrial,
    Unseen,
    draw,
)
from dualdiff.store import Store

TITLES = {
    **LABELS,
    "oracle": "oracle draw (ceiling)",
    "uniform": "uniform draw (floor)",
}
METRICS = {
    "success": "success rate",
    "geometry": "success without other objects",
    "collision": "collision rate",
    "out_of_reach": "out of reach",
    "energy_distance": "energy distance",
    "coverage": "coverage",
}
LOWER = ("collision", "out_of_reach", "energy_distance")
"""Scores of which less is better."""
SINGLE = ("general", "specialised", "finetuned", "told")
"""One network each; all other configurations are compositions."""
RIVALS = ("specialised", "finetuned")
"""What a composition has to beat."""
Which = tuple[str, str]
"""A setting and a configuration."""


# --- tables -----------------------------------------------------------------------------------


def run(trials: Sequence[RobotTrial], store: Store, quiet: bool = True) -> pd.DataFrame:
    """The tables of the trials as one, with one progress bar for all."""
    tables = []
    with progress_bar(len(trials), "configurations", quiet) as bar:
        for trial in trials:
            tables.append(trial.table(store))
            bar.update()
    return pd.concat(tables, ignore_index=True).drop(columns="seconds")


def draws(
    workshops: Mapping[str, Workshop], configurations: Sequence[str], test: Unseen, quiet: bool
) -> dict[str, dict[str, Drawn]]:
    """Samples of every configuration in every workshop, with one progress bar for all."""
    found: dict[str, dict[str, Drawn]] = {}
    with progress_bar(len(workshops) * len(configurations), "samples", quiet) as bar:
        for frame, workshop in workshops.items():
            found[frame] = {}
            for name in configurations:
                found[frame][name] = draw(workshop, name, test)
                bar.update()
    return found


def size_of(record: Mapping[str, Any]) -> str:
    """How large the study of a committed table was, in words."""
    size = f"{record['tasks']:,} tasks per environment"
    if record["part"] == "robot_data":
        return size
    seeds = ", ".join(map(str, record["seeds"]))
    return (
        f"{size}, general networks of {record['general_steps']:,} steps of {record['batch']:,} "
        f"rows, training seed{'s' * (len(record['seeds']) > 1)} {seeds}, at least "
        f"{record['conditions']:,} test rows with a sample each, and {record['draws']} samples "
        f"at each of {record['law_conditions']} of them"
    )


def settings_of(table: pd.DataFrame) -> list[str]:
    """The settings of a table, in its order, without the one that stands for the simulator."""
    return [name for name in table["recipe"].unique() if name != REFERENCE.name]


def pooled(table: pd.DataFrame, recipe: str, metric: str) -> pd.DataFrame:
    """One score by configuration, pooled over seeds; the references belong to every setting."""
    rows = table[table["recipe"].isin([recipe, REFERENCE.name]) & (table["metric"] == metric)]
    found = over_seeds(rows.drop(columns=["n_specialised", "finetune_epochs"], errors="ignore"))
    order = [*CONFIGURATIONS, *REFERENCES]
    found = found.sort_values("configuration", key=lambda c: c.map(order.index), kind="stable")
    return found.set_index("configuration")


def scores_view(
    table: pd.DataFrame, recipe: str, metrics: Iterable[str] = tuple(METRICS)
) -> pd.DataFrame:
    """Scores of every configuration of a setting and of the references, with intervals."""
    columns = {}
    for metric in metrics:
        rows = pooled(table, recipe, metric)[["value", "low", "high"]]
        texts = [interval(*numbers) for numbers in rows.itertuples(index=False)]
        columns[METRICS[metric]] = pd.Series(texts, rows.index)
    view = pd.DataFrame(columns)
    order = [name for name in (*CONFIGURATIONS, *REFERENCES) if name in view.index]
    return view.loc[order].fillna("–").rename(index=TITLES).rename_axis(f"setting: {recipe}")


def bars(table: pd.DataFrame, recipes: Sequence[str], metric: str = "success") -> pd.DataFrame:
    """Rows for :func:`dualdiff.plots.robot_results.success_bars`, a frame per setting."""
    found = []
    for recipe in recipes:
        rows = pooled(table, recipe, metric).reset_index()
        found.append(rows[rows["configuration"].isin(CONFIGURATIONS)].assign(frame=recipe))
    return pd.concat(found, ignore_index=True)


def level(table: pd.DataFrame, name: str, metric: str = "success") -> tuple[float, float] | None:
    """The interval of a reference, None where a table lacks it."""
    rows = pooled(table, REFERENCE.name, metric)
    if name not in rows.index:
        return None
    low, high = rows.loc[[name], ["low", "high"]].to_numpy()[0].tolist()
    return low, high


def outcome_shares(table: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Rows for :func:`dualdiff.plots.robot_results.outcomes`: shares that sum to 1."""
    wide = pd.DataFrame(
        {
            name: pooled(table, recipe, name)["value"]
            for name in ("success", "collision", "out_of_reach", "invalid")
        }
    )
    rest = 1 - wide["success"] - wide["invalid"]
    found = pd.DataFrame(
        {
            "success": wide["success"],
            "out_of_reach": rest - wide["collision"],
            "collision": rest - wide["out_of_reach"],
            "both": wide["collision"] + wide["out_of_reach"] - rest,
            "invalid": wide["invalid"],
        }
    )
    return found.clip(lower=0).rename_axis("configuration").reset_index()


# --- comparisons ------------------------------------------------------------------------------


def _scores(table: pd.DataFrame, which: Which, metric: str) -> pd.DataFrame:
    rows = table[(table["recipe"] == which[0]) & (table["configuration"] == which[1])]
    return rows[rows["metric"] == metric].set_index("seed")[["value", "low", "high"]]


def difference(
    table: pd.DataFrame, ours: Which, theirs: Which, metric: str = "success"
) -> Difference | None:
    r"""Ours minus theirs; None where a table lacks one of them.

    The 95 % interval is a t interval over the seeds' differences; with one seed
    :math:`\sqrt{h_1^2 + h_2^2}` of the half-widths over test tasks, which is too wide rather than
    too narrow since both were tried in the same scenes.
    """
    a, b = (_scores(table, which, metric) for which in (ours, theirs))
    return None if a.index.intersection(b.index).empty else over_common_seeds(a, b, metric in LOWER)


def contest(table: pd.DataFrame, metric: str = "success") -> pd.DataFrame:
    """Every composition against each of :data:`RIVALS` in its own setting.

    Columns ``recipe, configuration, value``, a :class:`Difference` per rival, ``beats``: better
    than both.
    """
    lines = []
    for recipe in settings_of(table):
        values = pooled(table, recipe, metric)["value"]
        for name in (n for n in CONFIGURATIONS if n in values and n not in SINGLE):
            found = [difference(table, (recipe, name), (recipe, r), metric) for r in RIVALS]
            if None not in found:
                beats = all(d is not None and d.better == 1 for d in found)
                lines.append((recipe, name, values[name], *found, beats))
    return pd.DataFrame(lines, columns=["recipe", "configuration", "value", *RIVALS, "beats"])


def contest_view(found: pd.DataFrame) -> pd.DataFrame:
    """The contest as a reader sees it."""
    view = pd.DataFrame(
        {
            "setting": found["recipe"],
            "composition": found["configuration"].map(TITLES),
            "score": found["value"].map("{:.3f}".format),
            **{f"minus {TITLES[rival]}": found[rival].map(lambda d: d.short) for rival in RIVALS},
            "beats both": found["beats"].map({True: "yes", False: "no"}),
        }
    )
    return view.set_index(["setting", "composition"])


def _seeds_phrase(count: int) -> str:
    return f"in all {count} seeds" if count > 1 else "by more than the interval of the one seed"


def verdict_sentence(table: pd.DataFrame, metric: str = "success") -> str:
    """Which compositions beat both the specialised and the fine-tuned model, setting by setting."""
    found = contest(table, metric)
    if found.empty:
        return "No composition is in this table beside both of its rivals."
    count = max(len(d.seeds) for d in found[RIVALS[0]])
    lines = []
    for recipe, rows in found.groupby("recipe", sort=False):
        winners = rows[rows["beats"]].sort_values("value", ascending=metric in LOWER)
        said = [
            f"{TITLES[row['configuration']]} ({row['value']:.3f}; "
            + ", ".join(f"{row[rival]} against {TITLES[rival]}" for rival in RIVALS)
            + ")"
            for _, row in winners.iterrows()
        ]
        lines.append(f"- Setting *{recipe}*: {'; '.join(said) or 'none'}.")
    return (
        f"By {METRICS[metric]}, these compositions are better than both the specialised and the "
        f"fine-tuned model, {_seeds_phrase(count)}:\n\n" + "\n".join(lines)
    )


def best_sentence(table: pd.DataFrame, metric: str = "success") -> str:
    """The best composition and the best single network of a table, beside floor and ceiling."""
    rows = pd.concat(
        [pooled(table, recipe, metric).assign(recipe=recipe) for recipe in settings_of(table)]
    )
    rows = rows[rows.index.isin(CONFIGURATIONS)]
    single = rows.index.isin(SINGLE)
    said = []
    for what, own in (("composition", rows[~single]), ("single network", rows[single])):
        if len(own):
            top = own.reset_index().sort_values("value", ascending=metric in LOWER).iloc[0]
            text = interval(top["value"], top["low"], top["high"])
            said.append(
                f"best {what}: {TITLES[top['configuration']]} in setting *{top['recipe']}*, {text}"
            )
    simulator = pooled(table, REFERENCE.name, metric)
    for name, word in (("uniform", "floor"), ("oracle", "ceiling")):
        if name in simulator.index:
            said.append(f"{word} {float(simulator.loc[[name], 'value'].iloc[0]):.3f}")
    return f"By {METRICS[metric]}: {'; '.join(said)}."


def ceiling_sentence(table: pd.DataFrame) -> str:
    """Whether any configuration succeeds more often than a draw from the true conditional."""
    above: list[tuple[str, str, Difference]] = []
    under: list[tuple[str, str, Difference]] = []
    ceiling = (REFERENCE.name, "oracle")
    for recipe in settings_of(table):
        for name in map(str, pooled(table, recipe, "success").index):
            own = difference(table, (recipe, name), ceiling) if name in CONFIGURATIONS else None
            if own is not None:
                (above if own.better == 1 else under).append((recipe, name, own))
    if not above and not under:
        return "The ceiling is not in this table."
    if above:
        said = ", ".join(f"{TITLES[name]} in *{recipe}* ({own})" for recipe, name, own in above)
        return f"More often than an oracle draw for other obstacles succeed: {said}."
    recipe, name, own = max(under, key=lambda line: line[2].value)
    return (
        f"No configuration succeeds more often than an oracle draw for other obstacles; the "
        f"nearest is {TITLES[name]} in *{recipe}* ({own})."
    )


def thesis_sentence(table: pd.DataFrame, recipe: str) -> str:
    """The thesis's five in the order of their success rates, and its three observations."""
    values = pooled(table, recipe, "success")["value"].reindex(list(THESIS)).dropna()
    order = values.sort_values(ascending=False)
    chain = " > ".join(f"{TITLES[str(n)]} {v:.3f}" for n, v in order.items())
    joints = []
    for name in ("joint", "finetuned_joint"):
        rival = "specialised" if name == "joint" else "finetuned"
        own = difference(table, (recipe, name), (recipe, rival))
        if own is not None:
            joints.append(f"{TITLES[name]} is {own.word} {TITLES[rival]} ({own})")
    first = (
        "the specialised model leads"
        if order.index[0] == "specialised"
        else (f"{TITLES[str(order.index[0])]} leads, not the specialised model")
    )
    return (
        f"Setting *{recipe}*, success rate: {chain}. By the thesis's pictures the specialised "
        f"model was best and both sums failed; here {first}, {' and '.join(joints)}."
    )
