"""Checks pass what is right, and catch what is wrong by the law that it breaks."""

import math
from dataclasses import dataclass

import pytest
import torch
from annulus import Ring, Standing
from conftest import generator

from dualdiff.checks import Report, check_denoiser, check_region, check_rule, check_sampler
from dualdiff.compose import Weighted
from dualdiff.denoisers import Denoiser
from dualdiff.exact import Exact, ExactBox
from dualdiff.experiments.densities import Cut, Union, by_points
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.samplers import DDIM, DDPM, Sampler, State, sample


def broken(report: Report) -> str:
    """The laws that do not hold; raising says them, too."""
    said = "; ".join(one.law for one in report.findings if not one.passed)
    with pytest.raises(ValueError) as error:
        report.raise_if_failed()
    assert all(law in str(error.value) for law in said.split("; "))
    return said


# ---- regions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "region",
    [
        Ring(1.0, 2.0),
        Ring(1.0, 2.0, turn=2.0),
        Standing((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
        Cut(Box((-1.0, -1.0), (1.0, 1.0)), ((1.0, 0.5), 0.3)),
    ],
    ids=str,
)
def test_regions_of_ones_own_keep_the_laws(region) -> None:  # type: ignore[no-untyped-def]
    check_region(region, generator()).raise_if_failed()


class Crowded(Ring):
    """Uniform in the radius, not in area."""

    def _draw(self, n, generator):  # type: ignore[no-untyped-def]
        u = super()._draw(n, generator)
        r = u.norm(dim=1, keepdim=True)
        return u / r * (1 + (r**2 - 1) / 3)


class Stretched(Ring):
    """Twice the distance."""

    def _distance(self, u):  # type: ignore[no-untyped-def]
        return 2 * super()._distance(u)


class Filled(Ring):
    """No hole, as far as the distance knows."""

    def _distance(self, u):  # type: ignore[no-untyped-def]
        return (u.norm(dim=-1) - 0.8 * self.outer).clamp(min=0)


class Global(Ring):
    """Draws without the generator."""

    def _draw(self, n, generator):  # type: ignore[no-untyped-def]
        return super()._draw(n, torch.Generator().manual_seed(int(torch.randint(2**31, ()))))


class Fixed(Box):
    """Stays where it is."""

    def anchor(self, c):  # type: ignore[no-untyped-def]
        return c.round()

    def distance(self, y, c):  # type: ignore[no-untyped-def]
        return self._measured(y)


class Off(Box):
    def moments(self):  # type: ignore[no-untyped-def]
        mean, covariance = super().moments()
        return mean + 0.05, covariance

    def frame(self):  # type: ignore[no-untyped-def]
        return tuple(v / 2 for v in self.low), self.high


class Tilted(Box):
    def moments(self):  # type: ignore[no-untyped-def]
        mean, covariance = super().moments()
        return mean, covariance + 0.05 * (1 - torch.eye(self.dim))


class Even(Ring):
    """Angles in steps: no independent draws."""

    def _draw(self, n, generator):  # type: ignore[no-untyped-def]
        area, angle = torch.arange(n) * 0.618034 % 1, 2 * math.pi * torch.arange(n) / n
        r = (1 + 3 * area).sqrt()
        return torch.stack([r * angle.cos(), r * angle.sin()], -1)


@pytest.mark.parametrize(
    "region, law",
    [
        (Tilted((-1.0,) * 2, (1.0,) * 2), "moments are those of the draws"),
        (Even(1.0, 2.0), "cells have equal mass"),
        (Crowded(1.0, 2.0), "cells have equal mass"),
        (Stretched(1.0, 2.0), "never more than that to the nearest draw"),
        (Stretched(1.0, 2.0), "changes no more than the point moves"),
        (Filled(1.0, 2.0), "what is drawn is inside"),
        (Fixed((-1.0,) * 2, (1.0,) * 2), "moves with its condition"),
        (Off((-1.0,) * 2, (1.0,) * 2), "moments are those of the draws"),
        (Off((-1.0,) * 2, (1.0,) * 2), "frame and outlines are those"),
    ],
)
def test_a_wrong_region_is_caught(region, law: str) -> None:  # type: ignore[no-untyped-def]
    assert law in broken(check_region(region, generator()))


def test_the_global_generator_is_missed() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        report = check_region(Global(1.0, 2.0), generator())
    assert "the same seed gives the same draws" in broken(report)
    assert "global random numbers" in broken(report)


# ---- denoisers -----------------------------------------------------------------------------------

PROCESS = Process.linear(40, dy=2, dc=2)
BOX = ExactBox(PROCESS, (-1.0, -0.5), (0.5, 1.0))


def test_members_of_ones_own_keep_the_laws() -> None:
    check_denoiser(by_points(Ring(1.0, 2.0), PROCESS, generator()), generator()).raise_if_failed()
    check_denoiser(Union([BOX, BOX], [1.0, 2.0]), generator()).raise_if_failed()


class Own(Denoiser):
    """Says what it is told to."""

    def __init__(self, say) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.process, self.say, self.noise = PROCESS, say, generator()

    def forward(self, y, t, c):  # type: ignore[no-untyped-def]
        return self.say(self, y, t, c)


class Otherwise(Own):
    def _bind(self, c):  # type: ignore[no-untyped-def]
        return lambda y, t: 0.9 * y


class Wrong(ExactBox):
    def _log_density(self, x, signal, noise):  # type: ignore[no-untyped-def]
        return 1.1 * super()._log_density(x, signal, noise)


@pytest.mark.parametrize(
    "denoiser, law",
    [
        (Own(lambda d, y, t, c: y / t), "finite and has the shape"),
        (Own(lambda d, y, t, c: y[:, :1]), "finite and has the shape"),
        (Own(lambda d, y, t, c: y.double()), "has the type of y"),
        (Otherwise(lambda d, y, t, c: y), "bound to its conditions"),
        (Own(lambda d, y, t, c: y - y.mean(0)), "a batch is its rows"),
        (Own(lambda d, y, t, c: y * torch.as_tensor(t).view(-1, 1).sort(0)[0]), "its rows"),
        (Own(lambda d, y, t, c: y + torch.randn(1, generator=d.noise)), "the same call"),
        (Wrong(PROCESS, BOX.low, BOX.high), "gradient of the log density"),
    ],
)
def test_a_wrong_denoiser_is_caught(denoiser: Denoiser, law: str) -> None:
    assert law in broken(check_denoiser(denoiser, generator()))


def test_what_is_no_denoiser_is_refused() -> None:
    with pytest.raises(ValueError, match="is a str, not a Denoiser"):
        check_denoiser("net", generator())  # type: ignore[arg-type]


# ---- samplers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backwards(DDPM):
    def timesteps(self, process):  # type: ignore[no-untyped-def]
        return super().timesteps(process)[:-1]


@dataclass(frozen=True)
class InPlace(DDIM):
    def step(self, process, predict, state, following, noise):  # type: ignore[no-untyped-def]
        found = super().step(process, predict, state, following, noise)
        return found._replace(y=state.y.copy_(found.y))


@dataclass(frozen=True)
class Narrow(DDPM):
    def step(self, process, predict, state, following, noise):  # type: ignore[no-untyped-def]
        return super().step(process, predict, state, following, lambda: 0.8 * noise())


@dataclass(frozen=True)
class Coupled(DDIM):
    def step(self, process, predict, state, following, noise):  # type: ignore[no-untyped-def]
        found = super().step(process, predict, state, following, noise)
        return State(found.y + 1e-3 * found.y.mean(), found.t)


@dataclass(frozen=True)
class Liar(DDPM):
    deterministic = True


@pytest.mark.parametrize(
    "sampler, law",
    [
        (Backwards(50), "from T - 1 down to 0"),
        (InPlace(50), "changes nothing that it is given"),
        (Narrow(50), "a Gaussian has its mean and its spread"),
        (Coupled(50), "a batch is its rows"),
        (Coupled(50), "in chunks of any size"),
        (Liar(50), "deterministic exactly if it says so"),
    ],
)
def test_a_wrong_sampler_is_caught(sampler: Sampler, law: str) -> None:
    assert law in broken(check_sampler(sampler, generator()))


def test_a_class_is_no_sampler() -> None:
    with pytest.raises(ValueError, match="with its settings, such as DDPM"):
        check_sampler(DDPM, generator())  # type: ignore[arg-type]


# ---- rules ---------------------------------------------------------------------------------------


def total(members):  # type: ignore[no-untyped-def]
    return Weighted(members, dict.fromkeys(members, 1.0))


def half(members):  # type: ignore[no-untyped-def]
    return Weighted(members, dict.fromkeys(members, 0.5))


def drawn(members, conditions, generator, *, draws):  # type: ignore[no-untyped-def]
    return sample(total(members), conditions, generator, draws=draws)


def test_right_rules_keep_the_laws() -> None:
    check_rule(total, generator()).raise_if_failed()
    check_rule(drawn, generator()).raise_if_failed()
    check_rule(half, generator(), product=False).raise_if_failed()


@pytest.mark.parametrize("first, last, holds", [(1.0, 1.3, True), (1.3, 1.0, False)])
def test_the_product_is_looked_for_at_the_lowest_noise(first, last, holds: bool) -> None:  # type: ignore[no-untyped-def]
    """At more noise the sum itself is not the noise of the product."""

    def ramp(members):  # type: ignore[no-untyped-def]
        return Weighted(members, dict.fromkeys(members, torch.linspace(first, last, 100)))

    assert check_rule(ramp, generator()).passed == holds


def by_place(members):  # type: ignore[no-untyped-def]
    (first, _), *rest = members.items()
    return Weighted(members, {first: 2.0, **{name: 1.0 for name, _ in rest}})


def blind(members):  # type: ignore[no-untyped-def]
    """Takes the units of the first member for those of all."""

    class Summed(Denoiser):
        process = next(iter(members.values())).process

        def forward(self, y, t, c):  # type: ignore[no-untyped-def]
            t = min(int(t), 89) if not isinstance(t, torch.Tensor) else t.clamp(max=89)
            return sum(member(y, t, c) for member in members.values())

    return Summed()


def shifted(members):  # type: ignore[no-untyped-def]
    class Shifted(Denoiser):
        process = next(iter(members.values())).process

        def forward(self, y, t, c):  # type: ignore[no-untyped-def]
            return total(members)(y, t, c) + 0.1

    return Shifted()


def same(members, conditions, generator, *, draws):  # type: ignore[no-untyped-def]
    return drawn(members, conditions, torch.Generator().manual_seed(0), draws=draws)


def flat(members, conditions, generator, *, draws):  # type: ignore[no-untyped-def]
    return drawn(members, conditions, generator, draws=draws).flatten(0, 1)


@pytest.mark.parametrize(
    "make, law",
    [
        (half, "two Gaussians give their product"),
        (by_place, "the order of the members does not matter"),
        (blind, "members of different processes are refused"),
        (shifted, "one member alone is that member"),
        (same, "the same seed gives the same samples, another one others"),
        (flat, "samples are finite and [conditions, draws, dy]"),
    ],
)
def test_a_wrong_rule_is_caught(make, law: str) -> None:  # type: ignore[no-untyped-def]
    assert law in broken(check_rule(make, generator()))


@pytest.mark.parametrize("what", ["sum", lambda a, b: a, lambda m, c, g: c, lambda: 0])
def test_what_is_no_rule_is_refused(what) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="a rule must be a function make"):
        check_rule(what, generator())


def test_a_report_says_what_was_seen() -> None:
    report = check_sampler(Liar(50), generator())
    assert "says deterministic; other noise, same samples: False" in str(report)
    assert not report.passed and isinstance(BOX, Exact)
