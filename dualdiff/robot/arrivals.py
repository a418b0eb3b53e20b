"""Type after type: objects that the general model lacks arrive, as homes do elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff.compose import Weighted, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.continual import FOLDED, REMEMBERED, Folding
from dualdiff.experiments.continual_study import KEPT
from dualdiff.experiments.members import Rows
from dualdiff.experiments.store import Store
from dualdiff.experiments.trained import Trained
from dualdiff.experiments.trial import SAMPLES_PER_SECOND, Scores, Trial
from dualdiff.metrics import Estimate
from dualdiff.networks import MLP
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.robot.dataset import generate
from dualdiff.robot.kinds import TYPES, environment_of
from dualdiff.robot.members import DATA_SEED, Networks, OfType
from dualdiff.robot.settings import Scale, Setting
from dualdiff.robot.study import GROUP, Unseen, judged, unseen, untrained
from dualdiff.samplers import sample

ORDER = ("Ball", "Cup", "Stick")
"""Types that arrive; the general model lacks all three."""
WATCHED = "Book"
"""A type of the general set that shows what becomes of the rest."""
TOLD = Setting("metric, told", "metric", told=True)
"""A network that is folded is asked for every type by name."""


@lru_cache(maxsize=1)  # one after the other, trials ask for the same
def _lived(scale: Scale, seed: int, store: Store, order: tuple[str, ...]) -> list[Networks]:
    plain = Networks(TOLD, scale, seed, store, lacking=order)
    return [replace(plain, kind=kind) for kind in order]


@lru_cache(maxsize=1)
def _mixed(networks: Networks) -> Rows:
    y, c = networks.rows("general")
    # Rows stand task by task: those in front would be of one environment.
    order = torch.randperm(len(y), generator=stream(networks.seed, "robot order"))
    return y[order], c[order]


@dataclass(frozen=True)
class Types(Folding):
    """The networks of a sequence of types: trained, or loaded from the store."""

    scale: Scale
    seed: int
    store: Store
    quiet: bool = True
    order: tuple[str, ...] = ORDER

    @property
    def lived(self) -> list[Networks]:
        """Rows and networks of every arrival."""
        return _lived(self.scale, self.seed, self.store, self.order)

    def networks(self, number: int) -> Networks:
        """What is learned from at an arrival, from 0."""
        return self.lived[number]

    def specialist(self, number: int) -> Trained:
        """The network of an arrival's rows alone."""
        return self.lived[number].specialised

    def described(self, number: int) -> dict[str, Any]:
        """What an arrival's rows depend on beside the sizes, as JSON."""
        return {"type": self.order[number]}

    def general_rows(self, number: int) -> Rows:
        """The rows of the large set, in a random order; half are told their type."""
        return _mixed(self.lived[0])

    def remembered(self, number: int) -> list[Tensor]:
        """Conditions of general rows, and those of former types, again and again."""
        former = (self._shown(k) for k in range(number))
        return [self.general_rows(number)[1][:REMEMBERED], *former]

    def _shown(self, number: int) -> Tensor:
        c = self.lived[number].rows("specialised")[1]
        return c[torch.arange(REMEMBERED) % len(c)]

    def teacher(self, network: MLP, number: int) -> tuple[Weighted, Tensor]:
        """The network so far, told nothing, with the type's specialist."""
        small = self.specialist(number).network
        return joint(OfType(network, None), small), self._shown(number)

    def test(self, kind: str) -> Unseen:
        """Test conditions of a type; of :data:`WATCHED` from tasks of another data set."""
        if kind in self.order:
            return unseen(self.lived[self.order.index(kind)])
        tasks = -(-self.scale.tasks // 10)
        where = [environment_of(kind).name]
        rows = generate(tasks, DATA_SEED + 1, store=self.store, environments=where)
        rows = rows[rows["type"] == TYPES.index(kind)]
        return untrained(rows[: self.scale.conditions], self.scale)


@dataclass(frozen=True)
class TypesTrial(Trial):
    """One way after some arrivals: its moves to every type, executed and compared.

    Parameters
    ----------
    profile : Scale
    seed : int
    way : str
        ``general``, or of FOLDED of :mod:`~dualdiff.experiments.continual` and KEPT of
        :mod:`~dualdiff.experiments.continual_study`.
    arrivals : int
        From 1 (``general``: 0) to as many as there are types.
    order : tuple of str
        Types of different environments.
    """

    profile: Scale
    seed: int
    way: str
    arrivals: int
    order: tuple[str, ...] = ORDER

    store_kind: ClassVar[str] = "robot_types"
    scenario_name: ClassVar[str] = "robot, types"
    recipe_name: ClassVar[str] = TOLD.name

    def __post_init__(self) -> None:
        allowed = ("general", *FOLDED, *KEPT)
        if self.way not in allowed:
            raise ValueError(f"way must be one of {', '.join(allowed)}, not {self.way!r}")
        places = [environment_of(kind).name for kind in self.order]
        if len({*places}) < len(places) or WATCHED in self.order or not places:
            raise ValueError(
                f"order must have types of different environments, and not {WATCHED}, "
                f"not {', '.join(self.order) or 'none'}"
            )
        least = int(self.way != "general")
        most = len(self.order) * least
        if not least <= self.arrivals <= most:
            raise ValueError(f"arrivals must be from {least} to {most}, not {self.arrivals}")

    @property
    def configuration(self) -> str:  # type: ignore[override]
        """The way, and after how many arrivals."""
        return f"{self.way} after {self.arrivals}"

    @property
    def cost(self) -> float:
        """Relative work, in samples of the synthetic study."""
        return SAMPLES_PER_SECOND * (300 if self.way == "general" else 30)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        names = ("tasks", "n_specialised", "conditions", "general_steps", "batch")
        more = ("specialised_epochs", "finetune_epochs", "law_conditions", "draws")
        return {
            "scale": {name: getattr(self.profile, name) for name in (*names, *more)},
            "recipe": TOLD.described(),
            "order": [*self.order],
            "seed": self.seed,
            "way": self.way,
            "arrivals": self.arrivals,
        }

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """Success and law of every type that arrives, and of one that was always known."""
        loop = Types(self.profile, self.seed, store, quiet, self.order)
        found: dict[tuple[str, str], Estimate] = {}
        for kind in (*self.order, WATCHED):
            test = loop.test(kind)
            drawn = [
                self.drawn(loop, kind, features, draws)
                for features, draws in (
                    (test.features, 1),
                    (test.features[test.law], self.profile.draws),
                )
            ]
            scores = judged(kind, loop.lived[0], test, *drawn)
            found |= {(kind, name): score for (_, name), score in scores.items()}
        return found

    def member(self, loop: Types, kind: str) -> Denoiser:
        """What is sampled for a type."""
        seen = loop.order[: self.arrivals]
        if self.way in FOLDED or kind not in loop.order:
            network = loop.folded(self.way, self.arrivals) if self.way in FOLDED else None
            folded = (network or loop.lived[0].general).network
            return OfType(folded, kind if kind in (*seen, WATCHED) else None)
        unknown = OfType(loop.lived[0].general.network, None)
        if self.way == "general" or kind not in seen:
            return unknown
        small = OfType(loop.specialist(loop.order.index(kind)).network, kind)
        return small if self.way == "specialists" else joint(unknown, small)

    def drawn(self, loop: Types, kind: str, features: Tensor, draws: int) -> Tensor:
        """World positions ``[n, draws, 2]`` at features ``[n, 10]`` of a type."""
        rule, own = self.member(loop, kind), loop.lived[0]
        c, source = own.conditions(features), stream(self.seed, "robot samples", kind, draws)
        if self.way == "joint_smc" and isinstance(rule, Weighted):
            groups = Resampling(GROUP)
            y = product(rule, c, source, draws=GROUP * -(-draws // GROUP), resampling=groups)
            return own.places(features, y.samples[:, :draws])
        return own.places(features, sample(rule, c, source, draws=draws))


def sized(scale: Scale) -> Scale:
    """How large this study is: a network is trained on for as long as a specialist is trained."""
    size = replace(scale, finetune_epochs=scale.specialised_epochs)
    if scale.tasks < 1_000:
        return replace(size, n_specialised=64, conditions=60)
    conditions, law = min(scale.conditions, 2_000), min(scale.law_conditions, 100)
    return replace(size, conditions=conditions, law_conditions=law)


def types_trials(scale: Scale, seed: int) -> list[TypesTrial]:
    """Every way after every arrival."""
    size, found = sized(scale), []
    for s in range(seed, seed + size.seeds):
        found.append(TypesTrial(size, s, "general", 0))
        ways = (*FOLDED, *KEPT)
        found += [TypesTrial(size, s, way, k) for k in range(1, 1 + len(ORDER)) for way in ways]
    return found
