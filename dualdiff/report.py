"""From tidy tables to what a reader sees: intervals, the thesis's columns beside ours."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff import results
from dualdiff.members import RECIPES
from dualdiff.networks import MLP
from dualdiff.plots import LABELS
from dualdiff.pooling import over_common_seeds
from dualdiff.profiles import Profile
from dualdiff.regions import Disc
from dualdiff.scenarios import Scenario
from dualdiff.thesis import thesis_table

TITLES = {
    "accuracy": "accuracy",
    "miss_distance": "distance of misses to c",
    "centre_distance": "distance of misses to the centre",
    "support_distance": "distance to support",
    "total_variation": "total variation",
    "total_variation_floor": "floor of TV",
    "energy_distance": "energy distance",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
    "frechet_distance": "Fréchet distance",
    "memorisation": "memorisation",
}


def size_of(record: Mapping[str, Any]) -> str:
    """Seeds, conditions and draws of a committed table, in words."""
    seeds = ", ".join(map(str, record["seeds"]))
    return (
        f"training seed{'s' * (len(record['seeds']) > 1)} {seeds}, {record['conditions']:,} "
        f"conditions with {record['draws']} draws each"
    )


def shown(
    *parts: str,
    own: pd.DataFrame | None = None,
    size: Callable[[Mapping[str, Any]], str] = size_of,
    folder: Path = results.FOLDER,
) -> tuple[pd.DataFrame, str]:
    """The committed table of one or several parts where there is one, else this run's; and which.

    Without either the table is empty, and the sentence names the command that makes it. A table
    that is out of date is shown like any other; the sentence says so.
    """
    command = f"`dualdiff results --profile thesis {' '.join(parts)}`"
    try:
        table, record, state = results.together(*parts, folder=folder)
    except FileNotFoundError:
        if own is None:
            names = " and ".join(f"`{part}`" for part in parts)
            return pd.DataFrame(), f"The table {names} has not been made yet; {command} makes it."
        return own, f"What follows is of **this run**; {command} makes the full-scale table."
    return table, (
        f"What follows is the **committed** table of {record['date']} ({command}): "
        f"{size(record)}; state: {state}."
    )


def interval(value: float, low: float, high: float) -> str:
    """A value with the half-width of its interval, to its precision: ``0.552 ± 0.011``."""
    if math.isnan(value):
        return "–"
    half = max(high - value, value - low)
    if not half > 0:
        return f"{value:.3f}"
    # Two digits of the interval, at most three decimals unless it would vanish.
    digits = max(0, min(3 if half >= 5e-4 else 4, 1 - math.floor(math.log10(half))))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def comparison(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A thesis metric by configuration: the thesis's number, then every recipe of ``table``.

    Parameters
    ----------
    table : DataFrame
        Rows of :func:`dualdiff.pooling.over_seeds` for one scenario.
    metric : {"accuracy", "miss_distance"}
    """
    (scenario,) = table["scenario"].unique()
    reference = thesis_table(scenario)
    rows = table[table["metric"] == metric]
    columns = {"thesis (printed)": reference[metric].map("{:.4f}".format)}
    for recipe, part in rows.groupby("recipe", sort=False):
        columns[f"ours, {recipe}"] = part.set_index("configuration").apply(
            lambda r: interval(r["value"], r["low"], r["high"]), axis=1
        )
    wide = pd.DataFrame(columns).reindex(reference.index).fillna("–")
    return wide.rename(index=LABELS).rename_axis(TITLES[metric])


def all_metrics(table: pd.DataFrame, recipe: str) -> pd.DataFrame:
    """Every metric of one recipe by configuration, with intervals."""
    rows = table[table["recipe"] == recipe]
    text = rows.assign(
        text=[interval(*v) for v in rows[["value", "low", "high"]].itertuples(index=False)]
    )
    wide = text.pivot(index="metric", columns="configuration", values="text")
    metrics = [m for m in TITLES if m in wide.index]
    wide = wide.loc[metrics, rows["configuration"].unique()]
    named = wide.rename(index=TITLES, columns=LABELS)
    return named.rename_axis(f"recipe {recipe}").rename_axis(None, axis="columns")


def order(values: pd.Series) -> list[str]:
    """Configurations from the lowest to the highest value."""
    return list(values.sort_values().index)


class Ranking(NamedTuple):
    """How two orders agree: Kendall's tau-b, and the pairs ``(lower, higher)`` in our order that
    the thesis has the other way round, clear or not (:attr:`Difference.better`: in every training
    seed, or beyond the interval of the only one)."""

    tau: float
    clear: list[tuple[Any, Any]]
    unclear: list[tuple[Any, Any]]


def ranking(theirs: pd.Series, ours: pd.DataFrame) -> Ranking:
    """Compare the order of the thesis's numbers with that of ours, both by the same index.

    ``ours`` has a row per training seed, columns ``seed, value, low, high``: which of two is the
    higher one is asked seed by seed, since runs of one seed share data and test conditions.
    """
    rows = ours.dropna(subset="value")
    known = set(rows.index)
    seeds = {n: rows.loc[[n]].set_index("seed") for n in theirs.index if n in known}
    mean = pd.Series({n: own["value"].mean() for n, own in seeds.items()}).sort_values()
    tau = float(stats.kendalltau(theirs[[*seeds]], mean[[*seeds]]).statistic)
    clear: list[tuple[Any, Any]] = []
    unclear: list[tuple[Any, Any]] = []
    for a, b in combinations(mean.index, 2):
        if theirs[a] > theirs[b] and mean[a] < mean[b]:
            found = over_common_seeds(seeds[b], seeds[a], lower=False)
            (clear if found.better == 1 else unclear).append((a, b))
    return Ranking(tau, clear, unclear)


def order_sentence(table: pd.DataFrame, recipe: str) -> str:
    """The order by accuracy of the thesis and ours, and every clear disagreement, in words.

    ``table`` has a row per training seed.
    """
    (scenario,) = table["scenario"].unique()
    ours = table[table["recipe"] == recipe]
    accuracy = ours[ours["metric"] == "accuracy"].set_index("configuration")
    theirs = thesis_table(scenario)["accuracy"]
    count = accuracy["seed"].nunique()
    how = (
        f"in each of {count} training seeds" if count > 1 else "intervals apart, one training seed"
    )

    def chain(names: list[str]) -> str:
        return " < ".join(LABELS[n] for n in names)

    text = (
        f"Order by accuracy. Thesis: {chain(order(theirs))}. "
        f"Recipe `{recipe}`: "
        f"{chain(order(accuracy.groupby(level=0)['value'].mean()))}. "
    )
    different = ranking(theirs, accuracy).clear
    if not different:
        return text + f"No pair is clearly ({how}) in another order than in the thesis."
    pairs = "; ".join(f"{LABELS[b]} beats {LABELS[a]}" for a, b in different)
    return text + f"Clearly ({how}) in another order than in the thesis: {pairs}."


def _by_configuration(table: pd.DataFrame, recipe: str, metric: str) -> dict[str, float]:
    rows = table[(table["recipe"] == recipe) & (table["metric"] == metric)]
    return dict(zip(rows["configuration"], rows["value"], strict=True))


def frontier_sentence(table: pd.DataFrame) -> str:
    """Which configuration leads by accuracy and which by total variation, per recipe."""
    lines = []
    for recipe in table["recipe"].unique():
        accuracy = _by_configuration(table, recipe, "accuracy")
        tv = _by_configuration(table, recipe, "total_variation")
        best, spread = max(accuracy, key=accuracy.__getitem__), min(tv, key=tv.__getitem__)
        lines.append(
            f"- Recipe `{recipe}`: {LABELS[best]} has the highest accuracy "
            f"({accuracy[best]:.3f}, at TV {tv[best]:.3f}); {LABELS[spread]} has the lowest TV "
            f"({tv[spread]:.3f}, at accuracy {accuracy[spread]:.3f})."
        )
    floor = _by_configuration(table, "exact", "total_variation_floor")["joint"]
    return "\n".join([*lines, f"- The floor of TV at this number of samples is {floor:.3f}."])


def misses_sentence(places: pd.DataFrame) -> str:
    """Whether misses stay inside the general support, per configuration, in words.

    ``places`` is the table of :func:`dualdiff.plots.regions.miss_figure`.
    """
    misses = places["general only"] + places["outside both"]
    inside = (places["general only"] / misses).where(misses > 0)
    parts = [f"{LABELS[str(n)]} {share:.0%}" for n, share in inside.dropna().items()]
    return "Of the misses, this share lies inside the general support: " + ", ".join(parts) + "."


def tolerance_sentence(
    samples: Mapping[str, Tensor], conditions: Tensor, scenario: Scenario
) -> str:
    """Accuracy as judged in the tables against the most lenient check that makes sense, in words.

    For a flat disc that is the planar check alone; for a box a distance of 0.1 is forgiven.
    ``samples`` are ``[n, k, 3]`` by configuration at ``conditions [n, 3]``.
    """
    region, c = scenario.specialised, conditions[:, None]
    planar = isinstance(region, Disc)
    strict, lenient = {}, {}
    for name, y in samples.items():
        strict[name] = float(region.contains(y, c).float().mean())
        if isinstance(region, Disc):
            forgiving = replace(region, height_tolerance=math.inf).contains(y, c)
        else:
            forgiving = region.distance(y, c) <= 0.1
        lenient[name] = float(forgiving.float().mean())
    what = "by the planar check alone" if planar else "with a distance of 0.1 forgiven"
    parts = ", ".join(f"{LABELS[n]} {strict[n]:.3f} becomes {lenient[n]:.3f}" for n in samples)
    before, after = ([*sorted(s, key=s.__getitem__)] for s in (strict, lenient))
    verdict = "does not change" if before == after else "changes"
    return f"Accuracy {what}: {parts}. The order of the configurations {verdict}."


def summary_sentence(table: pd.DataFrame) -> str:
    """What joint sampling gained over its specialised member, and the rule's own error."""
    (scenario,) = table["scenario"].unique()
    lines = []
    for recipe in (r for r in table["recipe"].unique() if r != "exact"):
        accuracy = _by_configuration(table, recipe, "accuracy")
        tv = _by_configuration(table, recipe, "total_variation")
        change = "falls" if tv["joint"] < tv["specialised"] else "rises"
        lines.append(
            f"- {scenario.replace('_', ' ').capitalize()}, recipe `{recipe}`: adding the general "
            f"model takes the specialised one from accuracy {accuracy['specialised']:.3f} to "
            f"{accuracy['joint']:.3f}, and its TV {change} from {tv['specialised']:.3f} to "
            f"{tv['joint']:.3f}."
        )
    exact = _by_configuration(table, "exact", "total_variation")
    lines.append(
        f"- With exact members the plain sum has TV {exact['joint']:.3f} where the specialised law "
        f"itself scores {exact['specialised']:.3f}: that gap is the rule's own error."
    )
    return "\n".join(lines)


def recipes_view(networks: Mapping[str, MLP], size: Profile) -> pd.DataFrame:
    """Every value of the recipes, for whoever wants to build the same: a column per recipe.

    Parameters
    ----------
    networks : dict
        The general network of each recipe, by its name in :data:`dualdiff.members.RECIPES`.
    size : Profile
    """
    columns = {}
    for name, network in networks.items():
        recipe, shape, process = RECIPES[name], network.architecture, network.process
        how, beta = recipe.optimisation, process.beta
        snr = torch.logit(process.alpha_bar.double())
        layers = [p.shape[1] for p in network.parameters() if p.ndim == 2]
        decay = {"step": "times 0.9 every 10 epochs", "cosine": "half a cosine to zero"}
        columns[f"recipe {name}"] = {
            "steps T": f"{process.steps}",
            "betas, from clean to noisy": f"{beta[0]:.3g} .. {beta[-1]:.3g}"
            + " (linear)" * (recipe.schedule == "linear"),
            "log-SNR, from clean to noisy": f"{snr[0]:.3g} .. {snr[-1]:.3g}"
            + " (linear)" * (recipe.schedule == "log_snr"),
            "units of targets and conditions": "standardised" if recipe.standardised else "raw",
            "layers": "-".join(map(str, (*layers, process.dy))),
            "weights": f"{sum(p.numel() for p in network.parameters()):,}",
            "activation": {"relu": "ReLU", "silu": "SiLU"}[shape.activation],
            "time at the input": shape.time,
            "sees the condition as": "frame of the object" if shape.object_frame else "numbers",
            "Fourier octaves": f"{shape.fourier}",
            "preconditioned": "yes" if shape.preconditioned else "no",
            "first weights": {"uniform": "PyTorch's own", "kaiming": "He et al."}[shape.init],
            "optimiser": {"adam": "Adam", "adamw": "AdamW"}[how.optimiser],
            "learning rate": f"{how.learning_rate:g}, {decay[how.decay]}",
            "average of the weights": f"over {how.ema:.0%} of the run" if how.ema else "none",
            "batch (general; specialised, fine-tuned)": f"{recipe.general_batch:,}; "
            f"{recipe.specialised_batch}",
            "epochs (general; specialised; fine-tuned)": f"{size.general_epochs}; "
            f"{size.specialised_epochs:,}; {size.finetune_epochs}",
        }
    return pd.DataFrame(columns)


def environment(**run: object) -> str:
    """Versions and parameters of a run, for the foot of a chapter."""
    packages = ("dualdiff", "torch", "numpy", "matplotlib")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    settings = ", ".join(f"{name}={value}" for name, value in run.items())
    return f"Python {platform.python_version()}, {versions}; {settings}"
