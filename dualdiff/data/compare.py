"""Ways to use two tables, judged by held-out rows, and which of them to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff.compose import Weighted, joint
from dualdiff.data.pairs import Networks, Pairs, sized
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.definitions import digest
from dualdiff.experiments.members import RECIPES, Recipe
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.overlap import diagnosed, score_each
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.sizes import size_of
from dualdiff.experiments.store import Store, versions
from dualdiff.experiments.study import UNUSED
from dualdiff.experiments.trained import progress_bar
from dualdiff.experiments.weighting import NAMES, STARTS, folds
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream
from dualdiff.samplers import sample
from dualdiff.training import checked_pairs
from dualdiff.weights import held_out_score, learn, stacked

FLOOR = "resampled"
"""The special training rows drawn again whatever the condition: a model must beat that."""
ALONE = ("specialised", "general", "finetuned")
WEIGHTS = ("average", "stacked", "learned")
RULES = (FLOOR, *ALONE, *WEIGHTS)
CORRECTED = ("sum", "smc")
"""Of :data:`dualdiff.experiments.methods.METHODS`."""


def model(networks: Networks, way: str) -> Denoiser:
    """What a way of :func:`compare` samples: a network, or a weighted sum of two.

    For a method of :data:`dualdiff.experiments.methods.METHODS` it is the plain sum, which the
    method corrects.

    Raises
    ------
    ValueError
        For a way that has no model.
    """
    if way == "general":
        return networks.general.network
    if way in ALONE:
        return networks.specialised(way).network
    members = networks.general.network, networks.specialised().network
    if way in METHODS:
        return joint(*members)
    if way not in WEIGHTS:
        raise ValueError(f"way must be one of {', '.join(known())}, not {way!r}")
    return Weighted(dict(zip(NAMES, members, strict=True)), weights(networks, way))


def known() -> list[str]:
    """The ways with a model."""
    return [*ALONE, *WEIGHTS, *METHODS]


def weights(networks: Networks, way: str) -> dict[str, Any]:
    """Weights of the general and the specialised network: a half each, or chosen on the special
    training rows that the networks of a fold have not seen, and kept in the store."""
    if way == "average":
        return dict.fromkeys(NAMES, 0.5)
    budget = size_of("weighting", networks.profile.name)
    config = _config(networks, way, budget.budget, budget.score_draws)

    def make() -> dict[str, Tensor]:
        parts, process = folds(networks, "specialised"), networks.general.network.process
        total = process.steps if way == "stacked" else budget.budget
        with progress_bar(total, f"{networks.scenario.name}: {way} weights", networks.quiet) as bar:
            source = partial(stream, networks.seed, way, device=networks.device)
            if way == "stacked":
                return stacked(parts, source(), progress=bar.update)
            score = held_out_score(parts, source, draws=budget.score_draws)
            options = {"budget": budget.budget, "progress": bar.update}
            found = learn(score, NAMES, starts=((1, 0), *STARTS), **options)
        return found.curve.weights(process)

    return dict(networks.store.tensors("weights", config, make))


def _config(networks: Networks, way: str, *asked: Any) -> dict[str, Any]:
    pairs, profile = networks.scenario, networks.profile
    return {
        **pairs.described("general"),
        **pairs.described("specialised"),
        "recipe": networks.recipe.described(),
        "profile": {k: v for k, v in asdict(profile).items() if k not in UNUSED},
        "seed": networks.seed,
        "way": way,
        "method": digest(METHODS.get(way)),
        "asked": asked,
        "device": torch.device(networks.device).type,
        "code": version_of(type(networks), model, scored, diagnosis),
        **versions(),
    }


def draw(denoiser: Denoiser, method: str = "") -> Callable[..., Tensor]:
    """Samples ``[n, draws, dy]`` of a model, or of the members of a sum by a method, as a function
    of conditions and generator."""
    if not method:
        return partial(sample, denoiser)
    assert isinstance(denoiser, Weighted)
    run = METHODS[method].make(denoiser.members)
    return lambda c, generator, **options: run(c, generator, **options).samples


def judged(samples: Tensor, y: Tensor) -> pd.DataFrame:
    """How samples ``[n, draws, dy]`` predict targets ``[n, dy]``: columns ``row, value, covered``.

    ``value`` is the energy score, ``covered`` the share of a row's targets between the quantiles
    0.1 and 0.9 of their samples: 0.8 on average if these are as wide as they should be.
    """
    samples, y = samples.cpu(), y.cpu()
    # Weibull's quantiles: between those of k draws a new one lies as often as they say.
    low, high = np.quantile(samples.numpy(), [0.1, 0.9], axis=1, method="weibull")
    covered = ((low <= y.numpy()) & (y.numpy() <= high)).mean(1)
    scores = {"value": score_each(samples, y).numpy(), "covered": covered}
    return pd.DataFrame({"row": range(len(y)), **scores})


def scored(networks: Networks, way: str) -> pd.DataFrame:
    """:func:`judged` of one way at every held-out row.

    In standard deviations of the general targets, so that targets of other units count alike.
    """
    pairs, profile, device = networks.scenario, networks.profile, networks.device
    judge = pairs.held_out
    y, c = judge.y[: profile.conditions], judge.c[: profile.conditions]

    def make() -> pd.DataFrame:
        source, k = stream(networks.seed, "test samples", device=device), profile.draws
        if way == FLOOR:
            rows = pairs.special.y.to(device)
            found = rows[torch.randint(len(rows), (len(c), k), generator=source, device=device)]
        else:
            how = draw(model(networks, way), way if way in METHODS else "")
            found = how(c.to(device), source, draws=k)
        return judged(found.cpu() / pairs.scale, y / pairs.scale)

    return networks.store.table("rows", _config(networks, way, judge.digest), make)


def compare(
    pairs: Pairs,
    recipe: Recipe | str,
    profile: Profile | str,
    seed: int,
    *,
    store: Store,
    rules: Sequence[str] = RULES,
    methods: Sequence[str] = CORRECTED,
    device: torch.device | str = "cpu",
    quiet: bool = True,
) -> pd.DataFrame:
    r"""Train, sample and judge by the held-out rows all ways to use the two tables.

    Epochs and weights are chosen on training rows; the rows that judge are sampled for once, at the
    end. What is done already is in the store.

    Parameters
    ----------
    pairs : Pairs
    recipe : Recipe or str
        Of :data:`dualdiff.experiments.members.RECIPES`; without the frame ``y - c``, see
        :class:`Networks`.
    profile : Profile or str
        Of :func:`dualdiff.data.pairs.sized`; ``draws`` a multiple of 50 for SMC.
    seed : int
        The first of the profile's training seeds.
    store : Store
    rules : sequence of str
        Of :data:`RULES`: special rows drawn again, networks alone, weighted sums.
    methods : sequence of str
        Of :data:`dualdiff.experiments.methods.METHODS`, your own entries too, on both networks.
    device, quiet
        As everywhere.

    Returns
    -------
    DataFrame
        ``configuration, metric, value, low, high, seeds, rows``: ``energy_score`` (lower is
        better), and differences to others row by row: ``minus_specialised``, ``minus_resampled``,
        and ``minus_best``, the best being the way of the lowest mean (below zero: better than
        they); ``coverage`` of the samples' central 80 % intervals, below 0.8 where they are too
        narrow. Intervals: :func:`over_rows`.

    Raises
    ------
    ValueError
        For ways that are not known, before anything is trained.
    """
    recipe = RECIPES[recipe] if isinstance(recipe, str) else recipe
    profile = sized(profile) if isinstance(profile, str) else profile
    ways = [*dict.fromkeys([*rules, *methods])]
    wrong = {*rules} - {*RULES} | {*methods} - {*METHODS}
    if wrong or not ways:
        raise ValueError(
            f"rules must be of {', '.join(RULES)} and methods of {', '.join(METHODS)}, at least "
            f"one of them, not {', '.join(sorted(wrong)) or 'none'}"
        )
    seeds = range(seed, seed + profile.seeds)
    found: dict[str, list[pd.DataFrame]] = {way: [] for way in ways}
    with progress_bar(len(ways) * len(seeds), f"{pairs.name}: compare", quiet) as bar:
        for one in seeds:
            networks = Networks(pairs, recipe, profile, one, store, device, quiet)
            for way in ways:
                found[way].append(scored(networks, way))
                bar.update()
    return _summarised(found, ("specialised", FLOOR))


def compare_models(
    members: Mapping[str, Denoiser],
    y: Any,
    c: Any,
    seed: int,
    *,
    ways: Sequence[str] = ("average", *CORRECTED),
    draws: int = 50,
    quiet: bool = True,
) -> pd.DataFrame:
    """Judge models of your own, and what can be made of them, by held-out pairs; nothing is
    trained.

    Parameters
    ----------
    members : mapping of names to Denoiser
        Two or more that share a process.
    y, c : array, frame or Tensor [n, dy], [n, dc]
        Pairs in original units that no member has learned from, and that chose nothing.
    seed : int
        Of the samples.
    ways : sequence of str
        ``average`` and names of :data:`dualdiff.experiments.methods.METHODS`, beside the members.
    draws : int
        At every condition; a multiple of 50 for SMC.
    quiet : bool
        No progress bar.

    Returns
    -------
    DataFrame
        As :func:`compare`, with a difference to each of the members; scores in standard deviations
        of ``y``. Intervals are over rows: the members are as they are.

    Raises
    ------
    ValueError
        For fewer than two members, one named like a way, ways that are not known, pairs of other
        shapes, fewer than two of them, targets that do not vary.
    """
    known = ("average", *METHODS)
    if len(members) < 2 or {*members} & {*known} or {*ways} - {*known}:
        raise ValueError(
            f"members must be two or more with names of their own and ways of {', '.join(known)}, "
            f"not {', '.join(members) or 'none'} and {', '.join(ways) or 'none'}"
        )
    total = joint(**members)  # refuses members of different processes
    y, c = checked_pairs(total.process, y, c)
    if len(y) < 2 or not bool((y != y[0]).any(0).all()):
        raise ValueError("y must have two rows or more, and vary in every column")
    share = Weighted(dict(members), dict.fromkeys(members, 1 / len(members)))
    table = {}
    with progress_bar(len(members) + len(ways), "compare models", quiet) as bar:
        for way in (*members, *ways):
            denoiser = members.get(way, share if way == "average" else total)
            run, source = draw(denoiser, way if way in METHODS else ""), stream(seed, "samples")
            table[way] = [judged(run(c, source, draws=draws).cpu() / y.std(0), y / y.std(0))]
            bar.update()
    return _summarised(table, [*members])


def _summarised(found: dict[str, list[pd.DataFrame]], against: Sequence[str]) -> pd.DataFrame:
    scores, covered = (
        {way: np.stack([one[name].to_numpy() for one in some]) for way, some in found.items()}
        for name in ("value", "covered")
    )
    return summary(scores, covered, against)


def summary(
    scores: dict[str, np.ndarray],
    covered: dict[str, np.ndarray],
    against: Sequence[str] = ("specialised", FLOOR),
) -> pd.DataFrame:
    """The table of :func:`compare` from scores and coverage ``[seeds, rows]`` of every way."""
    best = min((w for w in scores if w != FLOOR), key=lambda w: scores[w].mean(), default=FLOOR)
    others = {name: scores[name] for name in against if name in scores}
    lower = {"energy_score": 0.0, **{f"minus_{name}": s for name, s in others.items()}}
    lower["minus_best"] = scores[best]
    lines = [
        (way, metric, *over_rows(own - other), *own.shape)
        for way, own in scores.items()
        for metric, other in lower.items()
    ]
    for way, own in covered.items():
        value, low, high = over_rows(own)  # of few seeds an interval may reach beyond all shares
        lines.append((way, "coverage", value, max(low, 0.0), min(high, 1.0), *own.shape))
    columns = ["configuration", "metric", "value", "low", "high", "seeds", "rows"]
    return pd.DataFrame(lines, columns=columns)


def over_rows(values: np.ndarray) -> Estimate:
    r"""Mean of values ``[seeds, rows]`` with a 95 % interval over rows and training seeds.

    .. math:: \mathrm{se}^2 = \frac{s_r^2}{n} + \frac{s_t^2}{m}

    with the variance over the n rows of their means over seeds and that over the m seeds of their
    means over rows, and Satterthwaite's degrees of freedom (1946). Of one seed: rows alone.
    """
    parts = []
    for means in (values.mean(0), values.mean(1)):
        if len(means) > 1:
            parts.append((means.var(ddof=1) / len(means), len(means) - 1))
    total, mean = sum(part for part, _ in parts), float(values.mean())
    if not total > 0:
        return Estimate(mean, mean, mean)
    freedom = total**2 / sum(part**2 / df for part, df in parts)
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(total)
    return Estimate(mean, mean - half, mean + half)


class Recommendation(NamedTuple):
    """Which way to take, what speaks for it, and what is left open.

    Parameters
    ----------
    way : str
        The way with a model of the lowest mean score.
    score : Estimate
    gain : Estimate or None
        Its score minus that of the specialised network alone, row by row: below zero it is better.
    floor : Estimate or None
        Its score minus that of the special rows drawn again: if ``high`` is not below zero, it is
        not shown that any network is worth having.
    open : tuple of str
        Ways that these rows and seeds do not tell apart from it.
    """

    way: str
    score: Estimate
    gain: Estimate | None
    floor: Estimate | None
    open: tuple[str, ...]


def recommend(table: pd.DataFrame) -> Recommendation:
    """The best way of a table of :func:`compare`, with its evidence and its doubt.

    It is chosen on the rows that judge it: among ways that are told apart that hardly matters, and
    among those in ``open`` any could have been the first.
    """
    wide = {
        metric: {name: Estimate(*numbers) for name, *numbers in part.itertuples(index=False)}
        for metric, part in table.groupby("metric")[["configuration", "value", "low", "high"]]
    }
    ways = {way: score for way, score in wide["energy_score"].items() if way != FLOOR}
    if not ways:
        raise ValueError("the table has no way with a model: compare more than resampled rows")
    best = min(ways, key=lambda way: ways[way].value)
    gain, floor = (wide.get(f"minus_{name}", {}).get(best) for name in ("specialised", FLOOR))
    behind = wide["minus_best"]
    undecided = tuple(way for way in ways if way != best and behind[way].low <= 0)
    return Recommendation(
        best, ways[best], gain if best != "specialised" else None, floor, undecided
    )


def diagnosis(networks: Networks) -> pd.DataFrame:
    """What chapter 03 asks of joint sampling, by special training rows: columns ``metric, value,
    low, high``. The specialised network is that of a fold, and the rows those it has not seen; the
    scores are in standard deviations of the general targets."""
    fold = next(networks.folds())
    y, c = (rows.to(networks.device) for rows in fold.held_out())

    def make() -> pd.DataFrame:
        pair = networks.general.network, fold.specialised().network
        scale = networks.scenario.scale
        found = diagnosed(*pair, y, c, networks.seed, networks.profile.draws, scale)
        lines = [(name, *estimate) for (_, name), estimate in found.items()]
        return pd.DataFrame(lines, columns=["metric", "value", "low", "high"])

    return networks.store.table("diagnosis", _config(networks, "diagnosis"), make)
