"""The overlap study: the round table with its specialised disc moved out of the general one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from scipy import stats
from scipy.optimize import brentq
from torch import Tensor

from dualdiff.denoisers import Denoiser
from dualdiff.experiments.diagnosis import HELD_OUT, Diagnosis
from dualdiff.experiments.members import RECIPES, Workshop
from dualdiff.experiments.study import ScenarioTrial, configuration, exact_configurations, trials
from dualdiff.experiments.trial import tidy
from dualdiff.lens import Lens, lens_area
from dualdiff.pooling import over_seeds
from dualdiff.profiles import PROFILES, Named, Profile
from dualdiff.randomness import stream
from dualdiff.regions import Disc, Region
from dualdiff.samplers import sample
from dualdiff.scenarios import Scenario, round_table
from dualdiff.store import Store

GENERAL_RADIUS, RADIUS = 3.0, 1.0
SETTINGS = {
    "far": 14.0,
    "close": 7.0,
    "below half": 3.2,
    "above half": 2.6,
    "subset at the edge": 2.0,
    "concentric subset": 0.0,
}
"""Distance of the two centres in the thesis's six settings. It gives the gap of the first (10
between the edges) and the shares of overlap in words; the other distances are our choice."""


SWEEP = (0.0, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 3.75, 4.25, 5, 7, 14)
"""Distances of the sweep: inside the general disc, across its rim, and away from it."""
TRAINED = 128 - HELD_OUT
"""Specialised pairs that are left to train with, of the thesis's 128."""
DIAGNOSTICS = ("energy_score_gain", "effective_share", "log_weight", "disagreement")


@dataclass(frozen=True)
class Scale:
    """How large the overlap study is at a profile: distances of the sweep, sizes, seeds."""

    distances: tuple[float, ...]
    conditions: int
    seeds: int


SCALES = Named(
    {
        "smoke": Scale((0.0, 3, 7), 40, 1),
        "quick": Scale((0.0, 2.5, 3.5, 7), 300, 1),
        "full": Scale(SWEEP, 500, 3),
    }
)


def shifted_table(distance: float, height_tolerance: float = 0.25) -> Scenario:
    """The round table with the centre of the specialised disc ``distance`` from the general one's.

    Raises
    ------
    ValueError
        If the distance is negative or not finite.
    """
    if not (distance >= 0 and math.isfinite(distance)):
        raise ValueError(f"distance must be at least 0 and finite, not {distance}")
    return Scenario(
        f"shifted by {distance:g}",
        general=Disc(GENERAL_RADIUS, height_tolerance=height_tolerance),
        specialised=Disc(RADIUS, (distance, 0.0), height_tolerance=height_tolerance),
    )


def overlap_fraction(distance: float) -> float:
    """Area of the intersection of the two discs over the area of the specialised one."""
    return lens_area(GENERAL_RADIUS, RADIUS, distance) / (math.pi * RADIUS**2)


def distance_for(fraction: float) -> float:
    """The distance of the centres at which the discs overlap by a fraction in (0, 1).

    By bisection of :func:`overlap_fraction`, to 1e-12.

    Raises
    ------
    ValueError
        If the fraction is not inside (0, 1).
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be above 0 and below 1, not {fraction}")
    distance: float = brentq(
        lambda d: overlap_fraction(d) - fraction,
        GENERAL_RADIUS - RADIUS,
        GENERAL_RADIUS + RADIUS,
        xtol=1e-12,
    )
    return distance


def targets(scenario: Scenario) -> dict[str, Region]:
    """What a sample can be judged against.

    ``specialised``: the setting's own disc. ``fixed``: the concentric disc of the round table,
    whatever the setting, which is what the thesis's constant row of the general model suggests.
    ``intersection``: what both laws allow, where there is such a place.
    """
    general, own = scenario.general, scenario.specialised
    assert isinstance(general, Disc) and isinstance(own, Disc)
    fixed = round_table(own.height_tolerance).specialised
    laws: dict[str, Region] = {"specialised": own, "fixed": fixed}
    if math.dist(general.centre, own.centre) < general.radius + own.radius:
        laws["intersection"] = Lens(general, own)
    return laws


def _size(profile: str) -> Profile:
    if profile not in SCALES:
        raise ValueError(f"profile must be one of {', '.join(SCALES)}, not {profile!r}")
    scale = SCALES[profile]
    return replace(PROFILES[profile], conditions=scale.conditions, draws=10, seeds=scale.seeds)


def setting_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """The thesis's six settings under recipe ``plain``, every configuration and target."""
    worlds = [shifted_table(distance) for distance in SETTINGS.values()]
    recipes = [RECIPES["plain"]]
    size = _size(profile)
    return [t for w in worlds for t in trials(w, recipes, size, seed, targets(w))]


def sweep_trials(
    profile: str, seed: int, recipes: Sequence[str] = ("exact", *RECIPES)
) -> list[ScenarioTrial]:
    """Specialised and joint over the sweep of distances, for exact members and networks.

    The networks learn from 96 specialised pairs, so that 32 are left to ask the diagnostics with.
    """
    size = replace(_size(profile), n_specialised=TRAINED)
    found: list[ScenarioTrial] = []
    for distance in SCALES[profile].distances:
        world = shifted_table(distance)
        laws = targets(world)
        some: list[ScenarioTrial] = []
        for name in recipes:
            if name == "exact":
                some += trials(world, ["exact"], replace(size, seeds=1), seed, laws)
            else:
                some += trials(world, [RECIPES[name]], size, seed, laws)
        found += [t for t in some if t.configuration in ("specialised", "joint")]
        found += [
            Diagnosis(world, RECIPES[name], size, s, "diagnosis", laws)
            for name in recipes
            if name != "exact"
            for s in range(seed, seed + size.seeds)
        ]
    return found


def diagnose(distance: float, recipe: str, profile: str, seed: int, **options: Any) -> pd.DataFrame:
    """The diagnostics of one setting, a row each; ``options`` go to :func:`tidy`."""
    size = replace(_size(profile), n_specialised=TRAINED)
    trial = Diagnosis(shifted_table(distance), RECIPES[recipe], size, seed, "diagnosis")
    return tidy([trial], **options).set_index("metric")[["value", "low", "high"]]


def clouds(
    profile: str,
    seed: int,
    distances: Sequence[float],
    recipes: Sequence[str],
    *,
    store: Store,
    device: torch.device | str = "cpu",
    quiet: bool = True,
    draws: int = 400,
) -> dict[str, dict[str, Tensor]]:
    """Joint samples at one condition as offsets ``[draws, 3]``, by recipe and by distance.

    The networks are those of the sweep. ``"exact"`` is a recipe too.
    """
    c = torch.tensor([[1.0, 2.0, 1.5]])
    size = replace(_size(profile), n_specialised=TRAINED)
    found: dict[str, dict[str, Tensor]] = {}
    for recipe in recipes:
        found[recipe] = {}
        for distance in distances:
            world = shifted_table(distance)
            if recipe == "exact":
                rule: Denoiser = exact_configurations(world)["joint"]
            else:
                shop = Workshop(world, RECIPES[recipe], size, seed, store, device, quiet)
                rule = configuration(shop, "joint")
            source = stream(seed, "one condition", device=device)
            y = sample(rule, c.to(device), source, draws=draws)[0].cpu()
            found[recipe][f"{distance:g}"] = y - c
    return found


def with_distance(table: pd.DataFrame) -> pd.DataFrame:
    """The table with columns ``distance`` of the centres and ``overlap``, the fraction."""
    distance = table["scenario"].str.removeprefix("shifted by ").astype(float)
    return table.assign(distance=distance, overlap=distance.map(overlap_fraction))


def benefits(table: pd.DataFrame) -> pd.DataFrame:
    """One row per trained setting and recipe: the diagnostics and the true benefit of joint.

    The benefits look at the truth: ``energy_distance_gain`` (of the specialised model minus of
    joint, to the setting's own law) and ``accuracy_gain`` (of joint minus of the specialised one).
    """
    means = over_seeds(with_distance(table))
    own = means[(means["target"] == "specialised") & (means["recipe"] != "exact")]
    names = ["recipe", "distance", "overlap"]
    wide = own.pivot(index=names, columns=["metric", "configuration"], values="value")
    asked = means[means["target"] == "held out"]
    result = asked.pivot(index=names, columns="metric", values="value")[list(DIAGNOSTICS)]
    distance, accuracy = wide["energy_distance"], wide["accuracy"]
    result["energy_distance_gain"] = distance["specialised"] - distance["joint"]
    result["accuracy_gain"] = accuracy["joint"] - accuracy["specialised"]
    return result.reset_index().rename_axis(None, axis="columns")


def spearman(x: pd.Series, y: pd.Series) -> float:
    """Spearman's rank correlation; nan where one of the two does not vary."""
    varies = x.nunique() > 1 and y.nunique() > 1
    return float(stats.spearmanr(x, y).statistic) if varies else math.nan


def rank_correlations(gains: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of every diagnostic with every benefit, pooled and by recipe.

    ``gains`` are rows of :func:`benefits`. Disagreement should fall where joint helps: its sign is
    turned, so that 1 always means that the diagnostic ranks the settings perfectly.
    """
    groups = {"all": gains, **{str(name): part for name, part in gains.groupby("recipe")}}
    rows = []
    for name in DIAGNOSTICS:
        sign = -1 if name == "disagreement" else 1
        for benefit in ("energy_distance_gain", "accuracy_gain"):
            for which, part in groups.items():
                rho = spearman(sign * part[name], part[benefit])
                rows.append((name, benefit, which, len(part), rho))
    columns = ["diagnostic", "benefit", "recipe", "settings", "correlation"]
    return pd.DataFrame(rows, columns=columns)


def trend(table: pd.DataFrame, metric: str) -> dict[str, float]:
    """Spearman's correlation with the overlap of a score of joint on the own disc, by recipe.

    ``metric`` is ``accuracy`` or ``total_variation``, whose sign is turned: 1 always means that the
    score gets better with every bit of overlap.
    """
    means = over_seeds(with_distance(table))
    rows = means[
        (means["configuration"] == "joint")
        & (means["target"] == "specialised")
        & (means["metric"] == metric)
    ]
    sign = -1 if metric == "total_variation" else 1
    return {
        str(recipe): spearman(part["overlap"], sign * part["value"])
        for recipe, part in rows.groupby("recipe", sort=False)
    }
