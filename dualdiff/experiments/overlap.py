"""The overlap study: the round table with its specialised disc moved out of the general one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from dualdiff.compose import joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.lens import Lens
from dualdiff.experiments.members import RECIPES, Networks, Recipe
from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.scenarios import Scenario, round_table
from dualdiff.experiments.shifted import SETTINGS, shifted_table
from dualdiff.experiments.sizes import size_of, sized
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import ScenarioTrial, configuration, exact_configurations, trials
from dualdiff.experiments.trial import Scores, tidy
from dualdiff.metrics import Estimate, energy_score
from dualdiff.randomness import stream
from dualdiff.regions import Disc, Region
from dualdiff.resampling import effective_share
from dualdiff.samplers import sample

HELD_OUT = 32
"""Specialised pairs kept aside to ask whether joint sampling helps."""
TRAINED = 128 - HELD_OUT
"""Specialised pairs that are left to train with, of the thesis's 128."""
DIAGNOSTICS = ("energy_score_gain", "effective_share", "log_weight", "disagreement")


class Diagnosis(ScenarioTrial):
    """What can be known about joint sampling without the truth: from 32 held-out pairs.

    ``energy_score_gain``: energy score of the specialised model minus that of joint sampling, on
    the same pairs (positive: joint predicts them better). ``effective_share``: effective sample
    size of the Feynman-Kac weights of 50 joint samples per pair's condition, as a share.
    ``log_weight``: their mean log weight. ``disagreement``: how far the two noise predictions are
    apart on the way (:func:`dualdiff.correct.product`). Intervals are over the pairs.
    """

    DRAWS = 50

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        asked = {"pairs": HELD_OUT, "draws": self.DRAWS}
        return {**super().config(device), "diagnosis": asked}

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """The diagnostics, of target ``held out``."""
        networks = self.networks(store, device, quiet)
        assert networks is not None
        source = stream(self.seed, "rows", "held out")
        y, c = (x.to(device) for x in self.scenario.pairs("specialised", HELD_OUT, source))
        members = networks.general.network, networks.specialised().network
        return diagnosed(*members, y, c, self.seed, self.DRAWS)


def diagnosed(
    general: Denoiser,
    specialised: Denoiser,
    y: Tensor,
    c: Tensor,
    seed: int,
    draws: int,
    scale: Tensor | float = 1.0,
) -> Scores:
    """What :class:`Diagnosis` says of two models by pairs that they have not seen; energy scores
    are of targets divided by ``scale``."""

    def noise() -> torch.Generator:  # the same for both, so that they differ by the model alone
        return stream(seed, "diagnosis", device=c.device)

    alone = sample(specialised, c, noise(), draws=draws)
    run = product(joint(general, specialised), c, noise(), draws=draws, start_std=1.0)
    pairs = [score_each(samples.cpu() / scale, y.cpu() / scale) for samples in (alone, run.samples)]
    seen = {
        "energy_score_gain": pairs[0] - pairs[1],
        "energy_score_specialised": pairs[0],
        "energy_score_joint": pairs[1],
        "effective_share": effective_share(run.log_weights),
        "log_weight": run.log_weights.mean(1),
        "disagreement": run.disagreement.mean(1),
    }
    return {("held out", name): _mean(values) for name, values in seen.items()}


def score_each(samples: Tensor, y: Tensor) -> Tensor:
    """The energy score of every pair: ``samples [n, k, dy]``, ``y [n, dy]`` to ``[n]``."""
    return torch.tensor(
        [energy_score(s[None], target[None]).value for s, target in zip(samples, y, strict=True)]
    )


def _mean(values: Tensor) -> Estimate:
    mean, error = float(values.double().mean()), float(stats.sem(values.double().cpu().numpy()))
    half = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Estimate(mean, mean - half, mean + half)


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


def setting_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """The thesis's six settings under recipe ``plain``, every configuration and target."""
    worlds = [shifted_table(distance) for distance in SETTINGS.values()]
    recipes = [RECIPES["plain"]]
    size = sized("overlap", profile)
    return [t for w in worlds for t in trials(w, recipes, size, seed, targets(w))]


def sweep_trials(
    profile: str, seed: int, recipes: Sequence[str] = ("exact", *RECIPES)
) -> list[ScenarioTrial]:
    """Specialised and joint over the sweep of distances, for exact members and networks.

    The networks learn from 96 specialised pairs, so that 32 are left to ask the diagnostics with.
    """
    size = sized("overlap", profile, n_specialised=TRAINED)
    found: list[ScenarioTrial] = []
    for distance in size_of("overlap", profile).distances:
        world = shifted_table(distance)
        laws = targets(world)
        for name in recipes:
            recipe: Recipe | Literal["exact"] = "exact" if name == "exact" else RECIPES[name]
            own = replace(size, seeds=1) if name == "exact" else size
            found += trials(world, [recipe], own, seed, laws, ("specialised", "joint"))
        found += [
            Diagnosis(world, RECIPES[name], size, s, "diagnosis", laws)
            for name in recipes
            if name != "exact"
            for s in range(seed, seed + size.seeds)
        ]
    return found


class Kept(Diagnosis):
    """The diagnostics where a quarter of the pairs is kept aside for them, four at least."""

    @property
    def held_out(self) -> int:
        """How many are kept aside."""
        return max(4, self.profile.n_specialised // 3)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        asked = {"pairs": self.held_out, "draws": self.DRAWS}
        return {**super().config(device), "diagnosis": asked}

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """The diagnostics, of target ``held out``."""
        networks = self.networks(store, device, quiet)
        assert networks is not None
        source = stream(self.seed, "rows", "held out")
        y, c = self.scenario.pairs("specialised", self.held_out, source)
        members = networks.general.network, networks.specialised().network
        return diagnosed(*members, y, c, self.seed, self.DRAWS)


BORDER_SIZES, BORDER_DISTANCES = (6, 12, 24, 48, 96, 192), (0.0, 2.0, 2.5, 3.0)


def border_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Specialists of growing quality within a recipe: whether the sum helps turns on the way."""
    found: list[ScenarioTrial] = []
    for n in BORDER_SIZES if profile == "full" else BORDER_SIZES[:2]:
        size = sized("overlap", profile, n_specialised=n)
        for world in map(shifted_table, BORDER_DISTANCES if profile == "full" else (0.0,)):
            laws = {"specialised": world.specialised}
            for recipe in RECIPES.values():
                found += trials(world, [recipe], size, seed, laws, ("specialised", "joint"))
                for s in range(seed, seed + size.seeds):
                    found.append(Kept(world, recipe, size, s, "diagnosis", laws))
    return found


def diagnose(distance: float, recipe: str, profile: str, seed: int, **options: Any) -> pd.DataFrame:
    """The diagnostics of one setting, a row each; ``options`` go to :func:`tidy`."""
    size = sized("overlap", profile, n_specialised=TRAINED)
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
    size = sized("overlap", profile, n_specialised=TRAINED)
    found: dict[str, dict[str, Tensor]] = {}
    for recipe in recipes:
        found[recipe] = {}
        for distance in distances:
            world = shifted_table(distance)
            if recipe == "exact":
                rule: Denoiser = exact_configurations(world)["joint"]
            else:
                networks = Networks(world, RECIPES[recipe], size, seed, store, device, quiet)
                rule = configuration(networks, "joint")
            source = stream(seed, "one condition", device=device)
            y = sample(rule, c.to(device), source, draws=draws)[0].cpu()
            found[recipe][f"{distance:g}"] = y - c
    return found


def benefits(table: pd.DataFrame) -> pd.DataFrame:
    """One row per trained setting and recipe: the diagnostics and the true benefit of joint.

    The benefits look at the truth: ``energy_distance_gain`` (of the specialised model minus of
    joint, to the setting's own law) and ``accuracy_gain`` (of joint minus of the specialised one).
    """
    means = over_seeds(table)
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
    means = over_seeds(table)
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
