"""A composition as a teacher: round after round a specialist learns what it helped to draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.experiments.continual import REMEMBERED, lesson
from dualdiff.experiments.continual_study import sized
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.scenarios import BOOK, make_scenario
from dualdiff.experiments.study import ScenarioTrial
from dualdiff.experiments.trained import Trained, kept
from dualdiff.networks import MLP
from dualdiff.randomness import stream
from dualdiff.samplers import sample

TEACHERS = {"alone": 0.0, "sum": 1.0, "eighth": 0.125, "smc": 1.0}
"""Weight of the general model beside the specialist; ``smc`` is corrected towards the product."""
ROUNDS = 4


@dataclass(frozen=True)
class RoundsTrial(ScenarioTrial):
    """A specialist after some rounds, alone: its configuration is ``"TEACHER in round R"``.

    In round 0 it learned from the pairs of the home. In every later one a fresh network learns from
    :data:`~dualdiff.experiments.continual.REMEMBERED` pairs that the general network and the
    specialist of the round before draw together.
    """

    kind: ClassVar[str] = "rounds"

    def __post_init__(self) -> None:
        super().__post_init__()
        teacher, _, number = self.configuration.partition(" in round ")
        if teacher not in TEACHERS or not number.isdecimal() or isinstance(self.recipe, str):
            raise ValueError(
                f"configuration must be one of {', '.join(TEACHERS)} in round 0, 1, ..., with a "
                f"recipe, not {self.configuration!r} with {self.recipe_name!r}"
            )

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        return {**super().config(device), "kind": self.kind}

    def sampled(
        self, networks: Networks | None, conditions: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples of the specialist of this round."""
        assert networks is not None
        teacher, _, number = self.configuration.partition(" in round ")
        small = specialist(networks, teacher, int(number)).network
        return sample(
            small, conditions, stream(self.seed, "test samples"), draws=self.profile.draws
        ), {}


def specialist(networks: Networks, teacher: str, number: int) -> Trained:
    """The network of a round, trained or loaded."""
    if number == 0:
        return networks.specialised()
    plain = networks.asked("specialised")
    own = {"teacher": teacher, "round": number, "weight": TEACHERS[teacher]}
    config = plain.config | own | {"network": "taught", "rounds": version_of(specialist)}

    def options() -> dict[str, Any]:
        found = plain.options()
        source = stream(networks.seed, "lesson", teacher, number)
        _, c = networks.scenario.pairs("specialised", REMEMBERED, source)
        small = specialist(networks, teacher, number - 1).network
        weights = {"general": TEACHERS[teacher], "specialised": 1.0}
        rule = Weighted({"general": networks.general.network, "specialised": small}, weights)
        found["y"], found["c"] = lesson(rule, c, source, teacher == "smc")
        found["generator"] = stream(networks.seed, "training", teacher, number)
        return found

    def start() -> MLP:
        return networks._new(f"{teacher} {number}")

    return kept(networks.store, replace(plain, config=config, start=start, options=options))


def rounds_trials(profile: str, seed: int) -> list[RoundsTrial]:
    """Every teacher over :data:`ROUNDS` rounds, both scenarios, recipe ``tuned``."""
    size = sized(profile)
    return [
        RoundsTrial(make_scenario(name), RECIPES["tuned"], size, s, f"{teacher} in round {k}")
        for name in BOOK
        for s in range(seed, seed + size.seeds)
        for teacher in TEACHERS
        for k in range(ROUNDS + 1)
    ]
