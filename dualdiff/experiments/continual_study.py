"""The study of home after home: every way after every arrival, judged on every home."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from dualdiff import metrics
from dualdiff.compose import Weighted, joint
from dualdiff.correct import product
from dualdiff.denoisers import Denoiser
from dualdiff.experiments.continual import FOLDED, GROUP, Loop
from dualdiff.experiments.homes import Homes, cabinets
from dualdiff.experiments.members import RECIPES, Recipe
from dualdiff.experiments.profiles import PROFILES, Profile
from dualdiff.experiments.scenarios import law
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import UNUSED
from dualdiff.experiments.trial import Scores, Trial, known
from dualdiff.metrics import Estimate
from dualdiff.randomness import stream
from dualdiff.resampling import Resampling
from dualdiff.samplers import sample

KEPT = ("specialists", "joint", "joint_smc")
"""One specialist per home, kept beside the general network: alone, in their plain sum, corrected by
SMC. At a home that has not been seen the general network alone."""
CHOSEN = ("chosen_density", "chosen_score")
"""The same sum where nobody says which home it is: the specialist, or none, that fits
:data:`EVIDENCE` pairs best, by :func:`log_ratio` or by the energy score of its samples."""
UNTOLD = ("finetuned", "replay", "joint", *CHOSEN)
"""What is run where the home is unknown: one network without a label can but mix what it knows."""
EVIDENCE, EPISODES = 8, 20
"""Pairs by which a home is recognised, and how often it is tried, with other pairs."""
SCORE_DRAWS = 32
REPEATS = 8  # noises per step and pair, of log_ratio
SIZES = {"smoke": (20, 10, 1), "quick": (200, 10, 1), "full": (500, 10, 3)}
"""Test conditions, draws at each, seeds, by profile."""


def log_ratio(
    member: Denoiser, base: Denoiser, y: Tensor, c: Tensor, generator: torch.Generator
) -> Tensor:
    r"""Log density ratio of two models at pairs in original units, ``[n]``, by what they err.

    .. math:: \log \frac{p(y \mid c)}{p_0(y \mid c)} = \tfrac12 \int E_\varepsilon \bigl[
              \lVert \varepsilon - \varepsilon_0 \rVert^2 - \lVert \varepsilon - \varepsilon_p
              \rVert^2 \bigr]\, d\lambda, \qquad \lambda = \log \mathrm{SNR}

    by the trapezoid rule over the steps of the process, with the same noises for both. Exact for
    exact models up to the ends of the schedule (Kingma et al. 2021, arXiv 2107.00630, equation 17;
    as a classifier Li et al. 2023, arXiv 2303.16203).
    """
    process = member.process
    log_snr = torch.logit(process.alpha_bar)
    gaps = -log_snr.diff()
    widths = torch.cat([gaps[:1], gaps[1:] + gaps[:-1], gaps[-1:]]) / 2
    x, condition = (
        part.repeat_interleave(REPEATS, 0) for part in (process.encode_y(y), process.encode_c(c))
    )
    first, second = member.bind(condition), base.bind(condition)
    total = torch.zeros(len(x), dtype=torch.float64)
    for t in range(process.steps):
        eps = torch.empty_like(x).normal_(generator=generator)
        noised = process.diffuse(x, t, eps)
        gain = ((eps - second(noised, t)) ** 2 - (eps - first(noised, t)) ** 2).sum(1)
        total += float(widths[t]) / 2 * gain.double()
    return total.view(-1, REPEATS).mean(1)


@dataclass(frozen=True)
class HomesTrial(Trial):
    """One way after some arrivals: its samples at every home, and of the general law, judged.

    Parameters
    ----------
    world : Homes
    recipe : Recipe
    profile : Profile
    seed : int
    way : str
        ``general``, or of FOLDED of :mod:`~dualdiff.experiments.continual`, :data:`KEPT` and, where
        the home is unknown, :data:`CHOSEN`.
    arrivals : int
        From 1 (``general``: 0) to as many as the world has.
    """

    world: Homes
    recipe: Recipe
    profile: Profile
    seed: int
    way: str
    arrivals: int

    store_kind: ClassVar[str] = "homes"

    def __post_init__(self) -> None:
        allowed = ("general", *FOLDED, *KEPT, *(() if self.world.known else CHOSEN))
        if self.way not in allowed:
            raise ValueError(f"way must be one of {', '.join(allowed)}, not {self.way!r}")
        least = int(self.way != "general")
        most = len(self.world.order) * least
        if not least <= self.arrivals <= most:
            raise ValueError(f"arrivals must be from {least} to {most}, not {self.arrivals}")

    @property
    def configuration(self) -> str:  # type: ignore[override]
        """The way, and after how many arrivals."""
        return f"{self.way} after {self.arrivals}"

    @property
    def scenario_name(self) -> str:
        """Name of the world."""
        return self.world.name

    @property
    def recipe_name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name

    @property
    def roots(self) -> tuple[type, ...]:
        """The definitions of which the result is made, with all that they reach."""
        regions = (self.world.general, *(region for _, region in self.world.homes))
        return (type(self), *dict.fromkeys(map(type, regions)))

    @property
    def cost(self) -> float:
        """Relative work, in samples of one network."""
        drawn = self.profile.conditions * self.profile.draws * (1 + len(self.world.homes))
        return 200_000 + drawn * (GROUP if self.way == "joint_smc" else 1)

    def config(self, device: torch.device | str = "cpu") -> dict[str, Any]:
        """All that the result depends on, as JSON."""
        world = self.world
        return {
            "world": {
                "general": law(world.general),
                "homes": {name: law(region) for name, region in world.homes},
                "order": [*world.order[: self.arrivals]],
                "known": world.known,
                "conditions": [world.condition_low, world.condition_high],
            },
            "recipe": self.recipe.described(),
            "profile": {k: v for k, v in asdict(self.profile).items() if k not in UNUSED},
            "seed": self.seed,
            "way": self.way,
            "arrivals": self.arrivals,
        }

    def scores(self, store: Store, device: torch.device | str, quiet: bool) -> Scores:
        """Accuracy and total variation on every home and on the general law; notes under run."""
        world, loop = self.world, self.loop(store, quiet)
        source = stream(self.seed, "test conditions")
        conditions = world.scenario(world.order[0]).conditions(self.profile.conditions, source)
        found: dict[tuple[str, str], Estimate] = {}
        laws = {**dict(world.homes), "general": world.general}
        for name, region in laws.items():
            home = None if name == "general" else name
            y, notes = self.sampled(loop, conditions, home)
            judge = stream(self.seed, "metrics")
            found[name, "accuracy"] = metrics.accuracy(y, conditions, region)
            found[name, "total_variation"] = metrics.total_variation(y, conditions, region, judge)
            found |= {(name, k): known(v) for k, v in notes.items()}
        return found | {("run", k): known(v) for k, v in self.kept(loop).items()}

    def loop(self, store: Store, quiet: bool = True) -> Loop:
        """Where its networks come from."""
        return Loop(self.world, self.recipe, self.profile, self.seed, store, quiet)

    def member(self, loop: Loop, home: str | None) -> Denoiser:
        """What is sampled at a home that is known, or of the general law."""
        if self.way in FOLDED:
            return loop.folded(self.way, self.arrivals).network
        if self.way == "general" or home not in self.world.seen(self.arrivals):
            return loop.general
        last = max(k for k in range(self.arrivals) if self.world.order[k] == home)
        small = loop.specialist(last).network
        return small if self.way == "specialists" else joint(loop.general, small)

    def sampled(
        self, loop: Loop, conditions: Tensor, home: str | None
    ) -> tuple[Tensor, dict[str, float]]:
        """Samples ``[n, draws, dy]`` in the world at its conditions, and what is to be said."""
        world, draws = self.world, self.profile.draws
        _, shown = world.shown(conditions, conditions, home)
        source = stream(self.seed, "test samples")
        if self.way in CHOSEN and home is not None:
            return self._recognised(loop, conditions, home)
        rule = self.member(loop, home)
        if self.way == "joint_smc" and isinstance(rule, Weighted):
            groups = Resampling(GROUP)
            y = product(rule, shown, source, draws=GROUP, resampling=groups, keep=draws).samples
        else:
            y = sample(rule, shown, source, draws=draws)
        return (y + conditions[:, None] if world.known else y), {}

    def _recognised(
        self, loop: Loop, conditions: Tensor, home: str
    ) -> tuple[Tensor, dict[str, float]]:
        """Every episode sees fresh pairs of the home, chooses, and samples its conditions."""
        names = self.world.seen(self.arrivals)
        pick = replace(self, way="joint")
        members = {name: pick.member(loop, name) for name in (*names, None)}
        source = stream(self.seed, "evidence", home)
        y, c = self.world.scenario(home).pairs("specialised", EVIDENCE * EPISODES, source)
        fits = torch.stack([self._fits(loop, name, rule, y, c) for name, rule in members.items()])
        choice = fits.view(len(members), EPISODES, EVIDENCE).sum(2).argmax(0)
        drawn = []
        for episode, rows in enumerate(conditions.tensor_split(EPISODES)):
            if len(rows):
                rule = [*members.values()][int(choice[episode])]
                source = stream(self.seed, "test samples", episode)
                drawn.append(sample(rule, rows, source, draws=self.profile.draws))
        own = [*members].index(home if home in names else None)
        return torch.cat(drawn), {"recognised": float((choice == own).float().mean())}

    def _fits(self, loop: Loop, name: str | None, rule: Denoiser, y: Tensor, c: Tensor) -> Tensor:
        """How well every pair fits a home's specialist, or none, ``[n]``: the larger the better."""
        source = stream(self.seed, "recognise")
        if self.way == "chosen_score":
            samples = sample(rule, c, source, draws=SCORE_DRAWS)
            each = zip(samples.split(1), y.split(1), strict=True)
            return torch.tensor([-metrics.energy_score(*pair).value for pair in each])
        small = replace(self, way="specialists").member(loop, name)
        return log_ratio(small, loop.general, y, c, source)

    def kept(self, loop: Loop) -> dict[str, float]:
        """Seconds of training at the last arrival, and numbers kept beside the general network."""
        world, pairs = self.world, self.profile.n_specialised
        columns = world.general.dim + world.general.dc
        weights = sum(p.numel() for p in loop.general.parameters())
        last, taught = self.arrivals - 1, self.way.startswith("taught")
        seconds = 0.0
        if self.way in FOLDED:
            seconds = loop.folded(self.way, self.arrivals).seconds
        if taught or self.way in (*KEPT, *CHOSEN):
            seconds += loop.specialist(last).seconds
        general = self.profile.n_general * columns
        stored = {
            "ewc": weights,
            "replay": general + self.arrivals * pairs * columns,
            "everything": general + self.arrivals * pairs * columns,
        } | dict.fromkeys((*KEPT, *CHOSEN), len(world.seen(self.arrivals)) * weights)
        return {"seconds": seconds, "stored": float(stored.get(self.way, 0))}


def sized(profile: str) -> Profile:
    """How large this study is: a network is trained on for as long as a specialist is trained.

    Raises
    ------
    ValueError
        For an unknown profile.
    """
    if profile not in SIZES:
        raise ValueError(f"profile must be one of {', '.join(SIZES)}, not {profile!r}")
    own, (conditions, draws, seeds) = PROFILES[profile], SIZES[profile]
    size = replace(own, conditions=conditions, draws=draws, seeds=seeds)
    return replace(size, finetune_epochs=own.specialised_epochs)


def homes_trials(profile: str, seed: int, worlds: Iterable[Homes] = ()) -> list[HomesTrial]:
    """Every way after every arrival, recipe ``tuned``; at the cabinets by default, known and not
    (:data:`UNTOLD`)."""
    size, found = sized(profile), []
    for world in worlds or (cabinets(known=True), cabinets()):
        ways = (*FOLDED, *KEPT) if world.known else UNTOLD
        for s in range(seed, seed + size.seeds):
            make = partial(HomesTrial, world, RECIPES["tuned"], size, s)
            found.append(make("general", 0))
            found += [make(way, k) for k in range(1, 1 + len(world.order)) for way in ways]
    return found
