"""Home after home: what each teaches is folded back into one network, or kept beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dualdiff.compose import Weighted, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.homes import Arrival, Homes
from dualdiff.experiments.members import EPOCH, Networks, Recipe, Rows
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.provenance import version_of
from dualdiff.experiments.store import Store
from dualdiff.experiments.trained import Asked, Seen, Trained, kept
from dualdiff.lora import clone
from dualdiff.networks import MLP
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample
from dualdiff.training import Prior, epoch_losses, fit

FOLDED = ("finetuned", "ewc", "replay", "generated", "taught", "taught_smc", "everything")
"""Ways with one network that changes at every home. It is trained on with the home's pairs: alone;
held by elastic weight consolidation; beside pairs of former homes and of the general law, kept, or
drawn by itself before. Or it is taught by pairs that the composition of itself with the home's
specialist draws, a plain sum or corrected by SMC, beside pairs drawn by itself. Or all homes so far
are learned at once, from the general network: the ceiling."""
REMEMBERED = 32 * EPOCH
"""Pairs that a network draws of every law, to be reminded of it or to be taught it."""
STRENGTH = 1e4
"""Of elastic weight consolidation: what former laws count beside the new one. Of 100, 10,000 and
1,000,000 the best in accuracy over all homes after four arrivals, in a run of one seed."""
NOISED = 1024
"""Noised rows that say how much every weight matters for a law."""
GROUP, KEEP = 50, 8  # particles of SMC, and those of a group that teach


class Lived(Protocol):
    """The rows and networks of one arrival."""

    @property
    def general(self) -> Trained: ...
    def rows(self, which: Literal["general", "specialised"], /) -> Rows: ...
    def asked(self, name: str, /) -> Asked: ...


class Folding(ABC):
    """One network that is changed from arrival to arrival, in ways of :data:`FOLDED`."""

    seed: int
    store: Store
    quiet: bool

    @property
    @abstractmethod
    def order(self) -> tuple[str, ...]:
        """Names of the arrivals."""

    @abstractmethod
    def networks(self, number: int) -> Lived:
        """What is learned from at an arrival, from 0."""

    @abstractmethod
    def specialist(self, number: int) -> Trained:
        """The network of an arrival's pairs alone."""

    @abstractmethod
    def described(self, number: int) -> dict[str, Any]:
        """What an arrival's rows depend on, as JSON."""

    @abstractmethod
    def general_rows(self, number: int) -> Rows:
        """The rows of the large set at an arrival, told nothing that has a law of its own."""

    @abstractmethod
    def remembered(self, number: int) -> list[Tensor]:
        """Conditions at which the network before an arrival draws what it is reminded of."""

    @abstractmethod
    def teacher(self, network: MLP, number: int) -> tuple[Weighted, Tensor]:
        """The network so far composed with an arrival's specialist, and conditions for it."""

    def folded(self, way: str, arrivals: int) -> Trained:
        """The one network after some arrivals, in a way of :data:`FOLDED`; none: the general.

        Raises
        ------
        ValueError
            For another way, or more arrivals than the order has.
        """
        if way not in FOLDED:
            raise ValueError(f"way must be one of {', '.join(FOLDED)}, not {way!r}")
        if not 0 <= arrivals <= len(self.order):
            raise ValueError(f"arrivals must be from 0 to {len(self.order)}, not {arrivals}")
        if arrivals == 0:
            return self.networks(0).general
        return kept(self.store, self.asked(way, arrivals - 1), self.quiet)

    def asked(self, way: str, number: int) -> Asked:
        """The network after an arrival, as it is asked of the store."""
        plain = self.networks(number).asked("finetuned")
        config = plain.config | {
            "network": f"home after home, {way}",
            "arrivals": [self.described(k) for k in range(number + 1)],
            "loop": version_of(type(self)),
            **({"strength": STRENGTH} if way == "ewc" else {}),
        }
        before = 0 if way == "everything" else number
        return replace(
            plain,
            config=config,
            label=f"{way} at {self.order[number]}",
            start=lambda: clone(self.folded(way, before).network),
            options=partial(self._options, way, number, plain.options),
            run=partial(self._consolidated, number, plain.options) if way == "ewc" else None,
        )

    def _options(
        self, way: str, number: int, plain: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What the network is trained with at an arrival."""
        options, later = plain(), [number] if number else []
        options["generator"] = stream(self.seed, "training", way, *later)
        if way == "everything":
            rows = [self.networks(k).rows("specialised") for k in range(number + 1)]
            options |= {"y": torch.cat([y for y, _ in rows]), "c": torch.cat([c for _, c in rows])}
            options["epochs"] *= number + 1
        if way in ("replay", "everything"):
            options["prior"] = self._replayed(number, way == "replay")
        if way in ("generated", "taught", "taught_smc"):
            options["prior"] = self._drawn(way, number)
        if way in ("taught", "taught_smc"):
            rule, c = self.teacher(self.folded(way, number).network, number)
            source = stream(self.seed, "taught pairs", number)
            taught = lesson(rule, c, source, way == "taught_smc")
            options["y"], options["c"] = taught
        return options

    def _replayed(self, number: int, homes: bool) -> Prior:
        """General rows; and those of former homes, each repeated until they are as many."""
        rows = [self.general_rows(number)]
        n = len(rows[0][0])
        for k in range(number * homes):
            y, c = self.networks(k).rows("specialised")
            again = torch.arange(n) % len(y)
            rows.append((y[again], c[again]))
        return Prior(torch.cat([y for y, _ in rows]), torch.cat([c for _, c in rows]))

    def _drawn(self, way: str, number: int) -> Prior:
        """What the network before this arrival draws of the general law and of former homes."""
        network, rows = self.folded(way, number).network, []
        for k, c in enumerate(self.remembered(number)):
            source = stream(self.seed, "generated pairs", *([number, k] if number or k else []))
            rows.append((sample(network, c, source).squeeze(1), c))
        return Prior(torch.cat([y for y, _ in rows]), torch.cat([c for _, c in rows]))

    def _consolidated(self, number: int, plain: Callable[[], dict[str, Any]], network: MLP) -> Seen:
        """Train on with the pull of elastic weight consolidation towards where it is."""
        options = self._options("ewc", number, plain)
        y, c = self.general_rows(number)
        general = self.networks(0).general.network
        mattered = importance(general, y[:NOISED], c[:NOISED], stream(self.seed, "importance", 0))
        for k in range(number):
            y, c = self.networks(k).rows("specialised")
            noise = stream(self.seed, "importance", k + 1)
            own = importance(self.folded("ewc", k + 1).network, y, c, noise)
            mattered = [a + b for a, b in zip(mattered, own, strict=True)]
        held = Held(network, [STRENGTH * weight for weight in mattered])
        try:
            return {"losses": torch.tensor([*epoch_losses(fit(held, **options))])}
        finally:
            held.release()


@dataclass(frozen=True)
class Loop(Folding):
    """The networks of a sequence of homes: trained, or loaded from the store.

    ``profile.finetune_epochs`` is what a network is trained on for at every home.
    """

    world: Homes
    recipe: Recipe
    profile: Profile
    seed: int
    store: Store
    quiet: bool = True

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the homes."""
        return self.world.order

    def networks(self, number: int) -> Networks:
        """General network and specialist of an arrival, from 0."""
        recipe = self.recipe.without_frame() if self.world.known else self.recipe
        same = recipe, self.profile, self.seed, self.store
        return Networks(Arrival(self.world, number), *same, quiet=self.quiet)

    @property
    def general(self) -> MLP:
        """The network of the large set."""
        return self.networks(0).general.network

    def specialist(self, number: int) -> Trained:
        """The network of an arrival's pairs alone."""
        return self.networks(number).specialised()

    def described(self, number: int) -> dict[str, Any]:
        """What an arrival's rows depend on, as JSON."""
        return Arrival(self.world, number).described("specialised")

    def general_rows(self, number: int) -> Rows:
        """The rows of the large set, told no home that has a law of its own from this arrival."""
        scenario = self.world.scenario(self.world.order[0])
        rows = scenario.pairs(
            "general", self.profile.n_general, stream(self.seed, "rows", "general")
        )
        return self.world.general_shown(*rows, number + 1)

    def remembered(self, number: int) -> list[Tensor]:
        """Those of general rows, and the codes of former homes where they are known."""
        asked = [self.general_rows(number)[1][:REMEMBERED]]
        if self.world.known:
            asked += [self.world.code(home, REMEMBERED) for home in self.world.seen(number)]
        return asked

    def teacher(self, network: MLP, number: int) -> tuple[Weighted, Tensor]:
        """The network so far composed with a home's specialist, and conditions for it."""
        if self.world.known:
            c = self.world.code(self.world.order[number], REMEMBERED)
        else:
            c = self.general_rows(number)[1][:REMEMBERED]
        return joint(network, self.specialist(number).network), c


def lesson(rule: Weighted, c: Tensor, generator: torch.Generator, corrected: bool) -> Rows:
    """What a composition draws to teach, one sample a condition; by SMC :data:`KEEP` of a group."""
    if not corrected:
        return sample(rule, c, generator).squeeze(1), c
    c, groups = c[::KEEP], Resampling(GROUP)
    y = product(rule, c, generator, draws=GROUP, resampling=groups, keep=KEEP).samples
    return y.flatten(0, 1), c.repeat_interleave(KEEP, 0)


def importance(network: MLP, y: Tensor, c: Tensor, generator: torch.Generator) -> list[Tensor]:
    r"""How much every weight matters for pairs: the diagonal of the empirical Fisher information.

    .. math:: F = E\bigl[(\nabla_\theta \tfrac12
              \lVert \varepsilon - \varepsilon_\theta(y_t, t, c) \rVert^2)^2\bigr]

    over pairs, steps and noise, :data:`NOISED` of them: the noise is taken for Gaussian of unit
    variance around the prediction. Kirkpatrick et al. (2017), arXiv 1612.00796.
    """
    process = network.process
    rows = torch.arange(NOISED) % len(y)
    x, condition = process.encode_y(y)[rows], process.encode_c(c)[rows]
    t = torch.randint(process.steps, (NOISED,), generator=generator)
    eps = torch.empty_like(x).normal_(generator=generator)
    weights = [*network.parameters()]
    total = [torch.zeros_like(p) for p in weights]
    noised = process.diffuse(x, t, eps)
    for row in range(NOISED):
        one = slice(row, row + 1)
        error = ((eps[one] - network(noised[one], t[one], condition[one])) ** 2).sum() / 2
        for mattered, found in zip(total, torch.autograd.grad(error, weights), strict=True):
            mattered += found**2 / NOISED
    return total


class Held(Denoiser):
    r"""A network in training whose weights are pulled back to where they are now.

    The loss of :func:`~dualdiff.training.fit`, of weight 2 / dy beside half a squared error, gains
    :math:`\sum_k F_k (\theta_k - \theta^*_k)^2 / d_y`. Until :meth:`release`.
    """

    def __init__(self, network: MLP, mattered: list[Tensor]) -> None:
        super().__init__()
        self.process, self.network = network.process, network
        weights = [*network.parameters()]
        anchors = [p.detach().clone() for p in weights]
        self._hooks = [
            p.register_hook(partial(self._pull, p, anchor, weight * 2 / network.process.dy))
            for p, anchor, weight in zip(weights, anchors, mattered, strict=True)
        ]

    @staticmethod
    def _pull(p: Tensor, anchor: Tensor, weight: Tensor, gradient: Tensor) -> Tensor:
        return gradient + weight * (p.detach() - anchor)

    def release(self) -> None:
        """Let the weights go."""
        for hook in self._hooks:
            hook.remove()

    def loss_weight(self, t: Tensor) -> Tensor | float:
        """The network's own."""
        return self.network.loss_weight(t)

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        return self.network(y, t, c)
