"""The study: a scenario, the five configurations, a recipe and a seed give one tidy table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualdiff import metrics
from dualdiff.compose import joint
from dualdiff.denoisers import Denoiser
from dualdiff.exact import EXACT, exact_denoiser
from dualdiff.experiments.definitions import added, digest, own
from dualdiff.experiments.members import ADAPTATIONS, METHODS, Networks, Recipe
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import Scenario, law
from dualdiff.experiments.store import Store
from dualdiff.experiments.trained import Asked, progress_bar
from dualdiff.experiments.trial import Scores, Trial, known, tidy
from dualdiff.metrics import Estimate
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.regions import Box, Disc, Region
from dualdiff.samplers import DDPM, sample

CONFIGURATIONS = ("general", "specialised", "finetuned", "joint", "finetuned_joint")
EXACT_CONFIGURATIONS = ("general", "specialised", "joint")
SUMS = {"joint": "specialised", **{f"{method}_joint": method for method in ADAPTATIONS}}
"""Sums with the general network, and how the other one is made."""
UNUSED = ("name", "seeds", "theory_samples")  # of a profile: one trial does not depend on them


def evaluate(
    y: Tensor,
    c: Tensor,
    region: Region,
    generator: torch.Generator,
    train_offsets: Tensor | None = None,
) -> dict[str, Estimate]:
    """All :data:`dualdiff.metrics.METRICS` of samples against a region, in that order.

    Parameters
    ----------
    y, c, region
        As in :func:`dualdiff.metrics.accuracy`.
    generator : torch.Generator
        Draws the bootstrap, the groups and the true points; the global generator is not touched.
    train_offsets : Tensor [n_train, d], optional
        ``y - c`` of the training pairs; without it there is no 'memorisation'.
    """

    def statistics(x: np.ndarray, z: np.ndarray) -> dict[str, float]:
        scores = {
            "energy_distance": metrics.energy_distance(x, z),
            **metrics.neighbour_scores(x, z),
        }
        scores["frechet_distance"] = metrics.frechet_distance(x, z)
        if train_offsets is not None:
            scores["memorisation"] = metrics.memorisation(x, z, train_offsets)
        return scores

    found = {
        "accuracy": metrics.accuracy(y, c, region),
        "miss_distance": metrics.miss_distance(y, c, region),
        "centre_distance": metrics.miss_distance(y, c, region, region.middle),
        "support_distance": metrics.support_distance(y, c, region),
        "total_variation": metrics.total_variation(y, c, region, generator),
    }
    floor = metrics.total_variation_floor(y.shape[0] * y.shape[1], region.n_cells)
    found["total_variation_floor"] = Estimate(floor, floor, floor)
    return found | metrics.over_groups(statistics, y, c, region, generator)


def configuration(networks: Networks, name: str) -> Denoiser:
    """A configuration by name, its networks trained or loaded.

    ``general``; a method of :data:`dualdiff.experiments.members.METHODS` alone; or one of
    :data:`SUMS`: ``joint``, the general network with the specialised one, or ``METHOD_joint``.
    """
    if name == "general":
        return networks.general.network
    small = networks.specialised(SUMS.get(name, name)).network
    return joint(networks.general.network, small) if name in SUMS else small


def exact_configurations(scenario: Scenario) -> dict[str, Denoiser]:
    """General, specialised and joint with exact noise predictions: what no training can beat."""
    process = Process.linear(dy=scenario.general.dim, dc=scenario.general.dc)
    general = exact_denoiser(scenario.general, process)
    specialised = exact_denoiser(scenario.specialised, process)
    return {
        "general": general,
        "specialised": specialised,
        "joint": joint(general, specialised),
    }


def fresh_samples(
    denoiser: Denoiser,
    scenario: Scenario,
    n: int,
    draws: int,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int], object] | None = None,
) -> tuple[Tensor, Tensor]:
    """Samples ``[n, draws, dy]`` at ``n`` fresh conditions ``[n, dc]``, with the thesis's sampler.

    The conditions depend on the seed alone: every configuration is judged at the same ones.
    """
    conditions = scenario.conditions(n, stream(seed, "test conditions"))
    return _samples(denoiser, conditions, draws, seed, device, progress), conditions


def _samples(
    denoiser: Denoiser,
    conditions: Tensor,
    draws: int,
    seed: int,
    device: torch.device | str,
    progress: Callable[[int], object] | None,
) -> Tensor:
    generator, there = stream(seed, "test samples", device=device), conditions.to(device)
    return sample(denoiser, there, generator, sampler=DDPM(), draws=draws, progress=progress).cpu()


@dataclass(frozen=True)
class ScenarioTrial(Trial):
    """One configuration of one recipe and seed, sampled once and judged.

    Parameters
    ----------
    scenario : Scenario
    recipe : Recipe or "exact"
        With ``"exact"`` the members are exact and nothing is trained.
    profile : Profile
    seed : int
    configuration : str
        A name that :func:`configuration` knows.
    targets : dict of Region, optional
        The laws to judge against, by name; by default the specialised one alone.
    """

    scenario: Scenario
    recipe: Recipe | Literal["exact"]
    profile: Profile
    seed: int
    configuration: str
    targets: Mapping[str, Region] | None = None

    store_kind: ClassVar = "study"

    def __post_init__(self) -> None:
        if isinstance(self.recipe, str) and self.recipe != "exact":
            raise ValueError(f"recipe must be a Recipe or 'exact', not {self.recipe!r}")

    @property
    def roots(self) -> tuple[type, ...]:
        """The definitions of which the result is made, with all that they reach."""
        laws = (self.scenario.general, self.scenario.specialised, *(self.targets or {}).values())
        return (type(self), *map(type, laws))

    @property
    def scenario_name(self) -> str:
        """Name of the scenario."""
        return self.scenario.name

    @property
    def recipe_name(self) -> str:
        """Name of the recipe."""
        return self.recipe if isinstance(self.recipe, str) else self.recipe.name

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        scenario = self.scenario
        return {
            "scenario": {
                "name": scenario.name,
                "general": law(scenario.general),
                "specialised": law(scenario.specialised),
                "conditions": [scenario.condition_low, scenario.condition_high],
                **own(scenario),
            },
            "targets": {name: law(region) for name, region in (self.targets or {}).items()},
            "recipe": self.recipe if isinstance(self.recipe, str) else self.recipe.described(),
            "profile": {k: v for k, v in asdict(self.profile).items() if k not in UNUSED},
            "seed": self.seed,
            "configuration": self.configuration,
            "device": torch.device(device).type,
            **added(self, ScenarioTrial),
        }

    def code(self) -> dict[str, Any]:
        """Versions of the code that makes the result: exact members may be the user's own."""
        laws = {type(self.scenario.general), type(self.scenario.specialised)} - {Box, Disc}
        makers = [EXACT.get(kind) for kind in sorted(laws, key=str) if self.recipe == "exact"]
        return {**super().code(), **({"exact": digest(makers)} if makers else {})}

    @property
    def cost(self) -> float:
        """Relative work: samples times calls of a network, and a share for training."""
        width, steps = 128, 100
        if not isinstance(self.recipe, str):
            width, steps = self.recipe.architecture.width, self.recipe.steps
        calls = 1 + (self.configuration in SUMS)
        sampling = calls * self.profile.conditions * self.profile.draws * steps / 100
        training = {"general": 200_000, "specialised": 50_000, "finetuned": 10_000}
        return (width / 128) ** 2 * (sampling + training.get(self.configuration, 0))

    def networks(
        self, store: Store, device: torch.device | str, quiet: bool = True
    ) -> Networks | None:
        """Where its networks come from; None where members are exact."""
        if isinstance(self.recipe, str):
            return None
        same = (self.scenario, self.recipe, self.profile, self.seed)
        return Networks(*same, store, device, quiet)

    @property
    def small(self) -> str:
        """How its specialised network is made."""
        name = SUMS.get(self.configuration, self.configuration)
        return name if name in METHODS else "specialised"

    def asked(self, store: Store, device: torch.device | str = "cpu") -> list[Asked]:
        """Its specialised network, if it has one."""
        networks = self.networks(store, device)
        if networks is None or self.configuration == "general":
            return []
        return [networks.asked(self.small)]

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """All metrics of its samples by target; what else the run has to say under ``run``."""
        scenario, offsets = self.scenario, None
        networks = self.networks(store, device, quiet)
        if networks is not None:
            offsets = scenario.specialised.offsets(*networks.rows("specialised"))
        source = stream(self.seed, "test conditions")
        conditions = scenario.conditions(self.profile.conditions, source)
        samples, notes = self.sampled(networks, conditions)
        found: dict[tuple[str, str], Estimate] = {}
        for target, region in (self.targets or {"specialised": scenario.specialised}).items():
            own = offsets if target == "specialised" else None
            source = stream(self.seed, "metrics")
            scores = evaluate(samples, conditions, region, source, train_offsets=own)
            found |= {(target, metric): estimate for metric, estimate in scores.items()}
        return found | {("run", metric): known(value) for metric, value in notes.items()}

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples ``[n, draws, dy]`` at the conditions, and what else the run has to say.

        Without networks the members are exact.
        """
        if networks is None:
            denoiser = exact_configurations(self.scenario)[self.configuration]
            device, quiet = torch.device("cpu"), True
        else:
            denoiser = configuration(networks, self.configuration)
            device, quiet = torch.device(networks.device), networks.quiet
        label = f"{self.scenario.name}, {self.recipe_name}: sample {self.configuration}"
        draws = self.profile.draws
        with progress_bar(len(conditions) * draws, label, quiet) as bar:
            return _samples(denoiser, conditions, draws, self.seed, device, bar.update), {}


def trials(
    scenario: Scenario,
    recipes: Sequence[Recipe | Literal["exact"]],
    profile: Profile,
    seed: int,
    targets: Mapping[str, Region] | None = None,
    names: Sequence[str] | None = None,
) -> list[ScenarioTrial]:
    """The trials of a study: every recipe, every seed of the profile, every configuration.

    These are ``names``, by default all that the thesis has.
    """
    return [
        ScenarioTrial(scenario, recipe, profile, s, name, targets)
        for recipe in recipes
        for s in range(seed, seed + profile.seeds)
        for name in names or (EXACT_CONFIGURATIONS if recipe == "exact" else CONFIGURATIONS)
    ]


def study(
    scenario: Scenario,
    recipes: Sequence[Recipe | Literal["exact"]],
    profile: Profile,
    seed: int,
    *,
    store: Store,
    targets: Mapping[str, Region] | None = None,
    device: torch.device | str = "cpu",
    quiet: bool = True,
) -> pd.DataFrame:
    """The tidy table of a scenario under one or several recipes, for every seed of the profile.

    One row per recipe, seed, configuration, target and metric, as :func:`tidy` gives it, with a
    95 % interval over test conditions. Arguments as in :class:`ScenarioTrial`.
    """
    return tidy(trials(scenario, recipes, profile, seed, targets), store, device, quiet)
