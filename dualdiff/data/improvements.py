"""From the thesis's specialist to ours, one step after the other, and on to second order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.correct import product
from dualdiff.data import pairs
from dualdiff.data.baselines import BaselineTrial, composed
from dualdiff.denoisers import Denoiser
from dualdiff.experiments import sizes, weighting
from dualdiff.experiments.members import RECIPES, Networks, Recipe
from dualdiff.experiments.methods import GROUP
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import BOOK, make_scenario
from dualdiff.experiments.second_order import SecondOrder
from dualdiff.experiments.study import ScenarioTrial
from dualdiff.experiments.trained import Asked
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample


def steps() -> list[Recipe]:
    """Recipe ``plain``, with one more part of ``tuned`` at a time; the last is ``tuned``."""
    goal, found = RECIPES["tuned"], [RECIPES["plain"]]

    def then(name: str, **changes: Any) -> None:
        last = found[-1]
        own = {k: v for k, v in changes.items() if hasattr(last.architecture, k)}
        rest = {k: v for k, v in changes.items() if k not in own}
        found.append(
            replace(last, name=name, architecture=replace(last.architecture, **own), **rest)
        )

    def of(*parts: str) -> dict[str, Any]:
        return {part: getattr(goal.architecture, part) for part in parts}

    then("standardised", standardised=True)
    then("frame of the object", object_frame=True)
    then("averaged, rate decayed", optimisation=goal.optimisation)
    then("log-SNR steps", schedule=goal.schedule, **of("activation", "time", "preconditioned"))
    then("tuned", **of("fourier", "init"))
    return found


@dataclass(frozen=True)
class Stopped(pairs.Networks):
    """Specialised networks trained to the epoch at which four folds' mean held-out loss is least;
    the rest as everywhere."""

    scenario: Any

    def __post_init__(self) -> None:
        """Keep the recipe's frame, which tables of others do not have."""

    def _folded(self, n: int) -> Tensor:
        return Networks._folded(self, n)

    def asked(self, name: str) -> Asked:
        """As everywhere, but for the epochs of ``specialised``."""
        return super().asked(name) if name == "specialised" else Networks.asked(self, name)


class StepTrial(ScenarioTrial):
    """A step beyond a recipe: ``stopped``, early, or ``ensemble_smc``, an ensemble with an eighth
    of the general model, corrected by SMC."""

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples ``[n, draws, dy]`` at the conditions."""
        assert networks is not None
        source, draws = stream(self.seed, "test samples"), self.profile.draws
        if self.configuration == "stopped":
            found = Stopped(**{k: v for k, v in vars(networks).items() if k != "general"})
            small = found.specialised()
            notes = {"epochs": float(len(small.losses))}
            return sample(small.network, conditions, source, draws=draws), notes
        rule = composed("ensemble_eighth", networks)
        assert isinstance(rule, Weighted)
        groups = Resampling(GROUP)
        run = product(rule, conditions, source, draws=GROUP, resampling=groups, keep=draws)
        return run.samples, {"unique": float(run.unique.mean())}


def improvement_trials(profile: Profile) -> list[ScenarioTrial]:
    """Every step of :func:`steps` in both worlds, then ensemble, composition and SMC."""
    size, found = sizes.sized("adaptation", profile.name), list[ScenarioTrial]()
    for world in map(make_scenario, BOOK):
        for seed in range(size.seeds):
            for recipe in steps():
                found.append(ScenarioTrial(world, recipe, size, seed, "specialised"))
                if recipe.name in ("frame of the object", "tuned"):
                    found.append(StepTrial(world, recipe, size, seed, "stopped"))
            for name in ("ensemble", "ensemble_eighth"):
                found.append(BaselineTrial(world, RECIPES["tuned"], size, seed, name))
            found.append(StepTrial(world, RECIPES["tuned"], size, seed, "ensemble_smc"))
    return found


class SecondOrderTrial(weighting.Composed):
    """The sum in the metric of the members' backward kernels: ``gauss`` with covariances of their
    samples at one condition, ``jac`` with derivatives of their predictions."""

    kind = "second order"
    SAMPLES = 2_000

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples ``[n, draws, dy]`` at the conditions."""
        own = weighting.members(self.scenario, networks)
        known = None if self.configuration == "jac" else self._covariances(own, conditions)
        rule = SecondOrder(own, dict.fromkeys(own, 1.0), known)
        source = stream(self.seed, "test samples")
        return sample(rule, conditions, source, draws=self.profile.draws), {}

    def _covariances(self, own: Mapping[str, Denoiser], conditions: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, member in own.items():
            source = stream(self.seed, "covariance", name)
            y = sample(member, conditions[:1], source, draws=self.SAMPLES)[0]
            x = member.process.encode_y(y).double()
            # A coordinate that does not vary has an edge, too: its process's least noise.
            least = float(1 - member.process.alpha_bar[0]) * torch.eye(x.shape[1])
            found[name] = torch.cov(x.T) + least
        return found


def second_order_trials(profile: Profile) -> list[ScenarioTrial]:
    """GAUSS and JAC beside sum and SMC, on exact members and on networks of recipe ``tuned``."""
    size, found = weighting.sized(profile.name), list[ScenarioTrial]()
    for world in map(make_scenario, BOOK):
        for recipe in ("exact", RECIPES["tuned"]):
            for seed in range(1 if recipe == "exact" else size.seeds):
                one = world, recipe, size, seed
                found += [weighting.MethodTrial(*one, name) for name in ("sum", "smc")]  # type: ignore[arg-type]
                found += [SecondOrderTrial(*one, name) for name in ("gauss", "jac")]  # type: ignore[arg-type]
    return found
