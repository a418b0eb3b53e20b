"""The study of corrected and learned compositions of trained members: trials for the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments import sizes
from dualdiff.experiments.composition import seen
from dualdiff.experiments.definitions import digest
from dualdiff.experiments.members import RECIPES, Networks, Recipe
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.overlap import targets
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import BOOK, Scenario, make_scenario
from dualdiff.experiments.shifted import SETTINGS, shifted_table
from dualdiff.experiments.study import ScenarioTrial, exact_configurations, trials
from dualdiff.experiments.trained import progress_bar, train_together
from dualdiff.metrics import total_variation
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample
from dualdiff.weights import Curve, Draw, Fold, held_out_score, learn, plain, stacked


def by_smc(rule: Weighted, c: Tensor, generator: torch.Generator, draws: int) -> Tensor:
    """Feynman-Kac SMC with the draws of a condition in groups of at most 50; constant weights.

    Raises
    ------
    ValueError
        If the draws cannot be split into groups of 2 to 50.
    """
    group = max(k for k in range(1, 51) if draws % k == 0)
    if group < 2:
        raise ValueError(f"draws must be divisible by a number from 2 to 50 for SMC, not {draws}")
    return product(rule, c, generator, draws=draws, resampling=Resampling(group)).samples


FOLDS = 4
NAMES = ("general", "specialised")
STARTS = ((1.0, 1.0), (0.25, 1.0), (0.0, 1.0), (0.5, 0.5), (1.0, 2.0), (0.0, 2.0))
KNOTS = {"constant": 1, "curve": 3, "smc": 1}
DRAWS = {"constant": plain, "curve": plain, "smc": by_smc}
WAYS = {
    "stacked": ("specialised", "stacked", "curve"),
    "learned constant": ("specialised", "learned", "constant"),
    "learned curve": ("specialised", "learned", "curve"),
    "oracle constant": ("specialised", "oracle", "constant"),
    "oracle curve": ("specialised", "oracle", "curve"),
    "finetuned: learned constant": ("finetuned", "learned", "constant"),
    "finetuned: learned smc": ("finetuned", "learned", "smc"),
    "finetuned: oracle smc": ("finetuned", "oracle", "smc"),
}
"""How the special network is made, how weights are chosen, and their shape. They are chosen by
least squares per step (stacked), by the energy score on held-out pairs, and by total variation to
the true law, which no user can see."""
WEIGHTINGS, FINETUNED = (*WAYS,)[:5], (*WAYS,)[5:]
"""With the specialised network, and with the fine-tuned one in its place."""
ORACLES = [name for name, (_, choice, _) in WAYS.items() if choice == "oracle"]
CORRECTED = ("sum", "smc", "mala", "hmc", "smc_mala", "amdm", "superdiff_and")
CHEAP = ("sum", "smc", "smc_mala", "amdm")
"""Those that a chapter runs itself; all of them are in the full-scale table."""
MAP = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Weights of the map, of either model."""


def sized(profile: str) -> Profile:
    """The profile of this study: fine-tuning takes the epochs that a specialised network trains."""
    size = sizes.sized("weighting", profile)
    return replace(size, finetune_epochs=size.specialised_epochs)


def members(
    scenario: Scenario, networks: Networks | None, method: str = "specialised"
) -> dict[str, Denoiser]:
    """General and specialised: the networks, or exact without them.

    ``method`` is how the specialised network was made, of
    :data:`dualdiff.experiments.members.METHODS`.
    """
    if networks is None:
        exact = exact_configurations(scenario)
        return {name: exact[name] for name in NAMES}
    small = networks.specialised(method).network
    return {"general": networks.general.network, "specialised": small}


class Composed(ScenarioTrial):
    """A trial whose configuration is a way to compose a general and a specialised model."""

    kind: ClassVar[str]

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {**super().config(device), "kind": self.kind}


class MethodTrial(Composed):
    """A method of :data:`~dualdiff.experiments.methods.METHODS`: its name is the configuration."""

    kind = "method"

    def code(self) -> dict[str, Any]:
        """Versions of the code that makes the result: a method may be the user's own."""
        return {**super().code(), "method": digest(METHODS.get(self.configuration))}

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        own = members(self.scenario, networks)
        device = torch.device("cpu" if networks is None else networks.device)
        run = METHODS[self.configuration].make(own)
        result = run(
            conditions.to(device),
            stream(self.seed, "test samples", device=device),
            draws=self.profile.draws,
        )
        return result.samples.cpu(), seen(result)


class MapTrial(Composed):
    """A weighted sum with constants, whose configuration is ``"general, specialised"``."""

    kind = "map"

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        weights = dict(zip(NAMES, map(float, self.configuration.split(", ")), strict=True))
        rule = Weighted(members(self.scenario, networks), weights)
        device = torch.device("cpu" if networks is None else networks.device)
        source = stream(self.seed, "test samples", device=device)
        return sample(rule, conditions.to(device), source, draws=self.profile.draws).cpu(), {}


class WeightTrial(Composed):
    """Weights chosen in a way of :data:`WAYS`, and their samples.

    The weights are stored like a model. For the choices without the support, the specialised pairs
    are split into :data:`FOLDS`, and the networks that judge a pair have never seen it; the
    composition that is sampled has the network of all pairs.
    """

    kind = "weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.configuration not in WAYS:
            raise ValueError(
                f"configuration must be one of {', '.join(WAYS)}, not {self.configuration!r}"
            )

    @property
    def small(self) -> str:
        """How its specialised network is made."""
        return WAYS[self.configuration][0]

    @property
    def scale(self) -> sizes.Size:
        """Budgets of the trial's profile."""
        return sizes.size_of("weighting", self.profile.name)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        asked = [self.scale.budget, self.scale.score_draws, self.scale.oracle, FOLDS]
        return {**super().config(device), "search": asked}

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        if networks is None:
            raise ValueError("weights are learned for trained members, not for exact ones")
        method, _, shape = WAYS[self.configuration]
        table = self.weights(networks)
        own = members(self.scenario, networks, method)
        rule = Weighted(own, {name: table[name] for name in NAMES})
        notes = {
            f"{name} at {t}": float(table[name][t])
            for name in NAMES
            for t in range(0, rule.process.steps, 11)
        }
        source = stream(self.seed, "test samples", device=networks.device)
        there = conditions.to(networks.device)
        return DRAWS[shape](rule, there, source, self.profile.draws).cpu(), notes

    def weights(self, networks: Networks) -> dict[str, Tensor]:
        """The weights per timestep by member, learned or loaded."""
        config = self.whole(networks.device)
        # Sampling and scoring of the trial do not change what was learned.
        config["profile"] = {
            k: v for k, v in config["profile"].items() if k not in ("conditions", "draws")
        }
        return networks.store.tensors("weights", config, partial(self._learn, networks))

    def _learn(self, networks: Networks) -> dict[str, Tensor]:
        label = f"{self.scenario.name}, {self.recipe_name}: {self.configuration}"
        seed, device = self.seed, networks.device
        method, choice, shape = WAYS[self.configuration]
        own = members(self.scenario, networks, method)
        total = own["general"].process.steps if choice == "stacked" else self.scale.budget
        with progress_bar(total, label, networks.quiet) as bar:
            if choice == "stacked":
                source = stream(seed, "stacking", device=device)
                return stacked(folds(networks, method), source, progress=bar.update)
            if choice == "learned":
                objective = held_out_score(
                    folds(networks, method),
                    partial(stream, seed, "weights", device=device),
                    draws=self.scale.score_draws,
                    draw=DRAWS[shape],
                )
            else:
                objective = self._oracle(own, networks, DRAWS[shape])
            knots = KNOTS[shape]
            best = learn(
                objective,
                NAMES,
                knots=knots,
                starts=STARTS,
                budget=self.scale.budget,
                progress=bar.update,
            )
        return best.curve.weights(own["general"].process)

    def _oracle(
        self, own: Mapping[str, Denoiser], networks: Networks, draw: Draw
    ) -> Callable[[Curve], float]:
        """Total variation to the true law, at conditions of its own."""
        n = self.scale.oracle // 20
        conditions = self.scenario.conditions(n, stream(self.seed, "oracle conditions"))

        def score(curve: Curve) -> float:
            source = stream(self.seed, "oracle", device=networks.device)
            y = draw(curve.rule(own), conditions.to(networks.device), source, 20).cpu()
            bootstrap = stream(self.seed, "oracle bootstrap")
            law = self.scenario.specialised
            return total_variation(y, conditions, law, bootstrap, replicates=2).value

        return score


def folds(networks: Networks, method: str) -> list[Fold]:
    """The general network and a specialised one per fold, with the pairs that it has not seen."""
    found, parts = [], [replace(networks, fold=(k, FOLDS)) for k in range(FOLDS)]
    train_together(networks.store, [own.asked(method) for own in parts], networks.quiet)
    for own in parts:
        y, c = (rows.to(networks.device) for rows in own.held_out())
        small = own.specialised(method).network
        found.append(Fold({"general": networks.general.network, "specialised": small}, y, c))
    return found


def method_trials(profile: str, seed: int, recipes: list[Recipe | str]) -> list[ScenarioTrial]:
    """Correctors on both scenarios, for exact members and recipes: :data:`CORRECTED` or fewer."""
    size = sized(profile)
    methods = CORRECTED if size.name == "full" else CHEAP
    return [
        MethodTrial(make_scenario(name), recipe, size, s, method)  # type: ignore[arg-type]
        for recipe in recipes
        for name in BOOK
        for s in range(seed, seed + (1 if recipe == "exact" else size.seeds))
        for method in methods
    ]


def overlap_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Correctors on exact members over the distances of the overlap study."""
    size = sized(profile)
    worlds = [shifted_table(distance) for distance in sizes.size_of("overlap", profile).distances]
    return [
        MethodTrial(world, "exact", size, seed, method, targets(world))
        for world in worlds
        for method in ("sum", "smc", "rne", "mala", "hmc")
    ]


def map_trials(profile: str, seed: int, recipes: list[Recipe]) -> list[ScenarioTrial]:
    """The weight plane of :data:`MAP` on both scenarios, one seed."""
    size = sized(profile)
    return [
        MapTrial(make_scenario(name), recipe, size, seed, f"{g:g}, {s:g}")
        for recipe in recipes
        for name in BOOK
        for g in MAP
        for s in MAP
        if g + s > 0
    ]


def weight_trials(profile: str, seed: int, recipes: list[Recipe]) -> list[ScenarioTrial]:
    """Learned weights beside the oracle's: both scenarios, all seeds, and the overlap settings.

    On the overlap settings only constants are learned, with one seed.
    """
    size = sized(profile)
    found: list[ScenarioTrial] = []
    for recipe in recipes:
        for name in BOOK:
            for s in range(seed, seed + size.seeds):
                for way in WAYS:
                    found.append(WeightTrial(make_scenario(name), recipe, size, s, way))
        for distance in SETTINGS.values():
            for way in ("learned constant", "oracle constant"):
                found.append(WeightTrial(shifted_table(distance), recipe, size, seed, way))
    return found


def ablation_recipes() -> list[Recipe]:
    """Recipe ``tuned`` first, then without one of its parts at a time."""

    base = RECIPES["tuned"]

    def network(name: str, **changes: Any) -> Recipe:
        return replace(base, name=name, architecture=replace(base.architecture, **changes))

    how = base.optimisation
    return [
        base,
        network("no Fourier features", fourier=0),
        network("five octaves", fourier=5),
        network("default start", init="uniform"),
        network("no object frame", object_frame=False),
        network("no preconditioning", preconditioned=False),
        network("width 64", width=64),
        replace(base, name="log-SNR 8 .. -6", log_snr=(8.0, -6.0)),
        replace(base, name="linear betas", schedule="linear"),
        replace(base, name="no average", optimisation=replace(how, ema=None)),
    ]


def ablation_trials(profile: str, seed: int) -> list[ScenarioTrial]:
    """Every recipe of :func:`ablation_recipes` on both scenarios; fine-tuning as in the thesis."""
    size = sizes.sized("weighting", profile)
    names = ("general", "specialised", "finetuned", "joint")
    worlds = [make_scenario(name) for name in BOOK]
    recipes = ablation_recipes()
    return [t for r in recipes for w in worlds for t in trials(w, [r], size, seed, None, names)]
