"""Laws of composition rules, and of samplers of several members."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dualdiff.checks import denoisers
from dualdiff.checks.report import Law, Report, close, refused, report
from dualdiff.denoisers import Denoiser, check_denoiser
from dualdiff.exact import ExactMixture
from dualdiff.process import Process

Members = Mapping[str, Denoiser]
Make = Callable[..., Any]
"""``make(members) -> Denoiser``, or ``(members, conditions, generator, *, draws) -> samples``."""
MEANS, PRECISIONS = (0.6, -0.9), (2.0, 3.0)
CONDITIONS, DRAWS = 40, 100
BIAS = 0.25
"""In spreads of the product, how far a sampler's mean and spread may be off: a plain sum is at
0.17. The error of a mean of groups of 50 dependent draws is a tenth of that."""
WHAT = (
    "a rule must be a function make(members) -> Denoiser of a mapping of names to denoisers, or a "
    "sampler (members, conditions, generator, *, draws) -> samples [n, draws, dy]"
)


def kind_of(make: Make) -> Literal["rule", "sampler"]:
    """Whether it makes a denoiser of members or samples them itself, by its arguments.

    Raises
    ------
    ValueError
        If it is neither.
    """
    try:
        known = [*inspect.signature(make).parameters.values()]
    except (TypeError, ValueError):
        raise ValueError(f"{WHAT}; it is {make!r}") from None
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    asked = [p.name for p in known if p.kind in places and p.default is p.empty]
    if len(asked) == 1:
        return "rule"
    takes = "draws" in {p.name for p in known} or any(p.kind is p.VAR_KEYWORD for p in known)
    if len(asked) in (3, 4) and takes:
        return "sampler"
    raise ValueError(f"{WHAT}; {make!r} takes ({', '.join(p.name for p in known)})")


def check_rule(make: Make, generator: torch.Generator, *, product: bool = True) -> Report:
    r"""The laws of a composition rule.

    What it makes keeps the laws of a denoiser; the order of the members does not matter; one member
    alone is that member, up to a power; members of different processes are refused; and of two
    Gaussians it makes their product :math:`p_1 p_2`. That law looks at t = 0 alone: at more noise
    not even the sum is the noise of the product, so whatever weights do there is not seen (from 1
    at t = 0 to 1.3 at T - 1 they pass). What samples are worth is for :func:`dualdiff.judge`. A
    sampler gives finite samples of the right shape, the same for the same seed, of the product of
    two Gaussians. Report and errors: :mod:`dualdiff.checks`.

    Parameters
    ----------
    make : callable
        ``make(members) -> Denoiser`` with a mapping of names to denoisers, or a sampler
        ``(members, conditions, generator, *, draws) -> samples [n, draws, dy]``.
    product : bool
        False for a rule that aims at something else than the product.
    """
    process = Process.linear(100, dy=1, dc=1)
    members = {
        name: ExactMixture(process, [1.0], [[mean]], [[[1 / precision]]])
        for name, mean, precision in zip(("general", "specialised"), MEANS, PRECISIONS, strict=True)
    }
    kind = kind_of(make)
    laws = (_rule if kind == "rule" else _sampler)(make, members, generator)
    aim = laws.pop("two Gaussians give their product")
    return report(make, laws | ({"two Gaussians give their product": aim} if product else {}))


def _product() -> tuple[float, float]:
    """Mean and precision of the product of the two Gaussians."""
    precision = sum(PRECISIONS)
    return sum(m * p for m, p in zip(MEANS, PRECISIONS, strict=True)) / precision, precision


def _backwards(members: Members) -> dict[str, Denoiser]:
    return dict([*members.items()][::-1])


def _mixed(members: Members) -> dict[str, Denoiser]:
    (a, one), (b, _) = members.items()
    return {a: one, b: ExactMixture(Process.linear(90, dy=1, dc=1), [1.0], [[0.0]], [[[1.0]]])}


def _rule(make: Make, members: Members, generator: torch.Generator) -> dict[str, Law]:
    y = torch.randn(200, 1, generator=generator, dtype=torch.float64)
    c = torch.zeros(200, 1, dtype=torch.float64)
    made = make(dict(members))
    check_denoiser("what the rule makes", made)

    def order() -> tuple[bool, str]:
        other = make(_backwards(members))
        one, two = (torch.cat([rule(y, t, c) for t in (0, 50, 99)]) for rule in (made, other))
        return close(one, two, 1e-5)

    def alone() -> tuple[bool, str]:
        (name, member), *_ = members.items()
        try:
            rule = make({name: member})
        except (ValueError, KeyError, TypeError) as error:  # some take members as arguments
            return True, f"it wants others, too: {type(error).__name__}: {str(error)[:60]}"
        worst, powers = 0.0, []
        for t in (0, 50, 99):
            found, expected = rule(y, t, c), member(y, t, c)
            powers.append(float((found * expected).sum() / (expected**2).sum()))
            gap = (found - powers[-1] * expected).abs() / expected.abs().clamp(min=1)
            worst = max(worst, float(gap.max()))
        seen = f"powers {', '.join(f'{p:.3g}' for p in powers)} up to {worst:.1e}"
        return worst < 1e-4 and min(powers) > 0, seen

    def processes() -> tuple[bool, str]:
        return refused(lambda: make(_mixed(members))(y, 0, c), "a pair with 100 and 90 steps")

    def aim() -> tuple[bool, str]:
        mean, precision = _product()
        process = made.process
        variance = process.signal(0) ** 2 / precision + process.noise(0) ** 2
        expected = process.noise(0) * (y - process.signal(0) * mean) / variance
        # The sum of two noised Gaussians is no noised product: at this noise by a few percent.
        gap = (made(y, 0, c) - expected).abs() / expected.abs().clamp(min=process.noise(0))
        worst = float(gap.max())
        return worst < 0.05, f"at t = 0 off by at most {worst:.1%} of the noise"

    return {
        **denoisers.laws(made, generator),
        "the order of the members does not matter": order,
        "one member alone is that member, up to a power": alone,
        "members of different processes are refused": processes,
        "two Gaussians give their product": aim,
    }


def _sampler(draw: Make, members: Members, generator: torch.Generator) -> dict[str, Law]:
    c = torch.zeros(CONDITIONS, 1, dtype=torch.float32)
    seed = int(torch.randint(2**31, (1,), generator=generator))

    def drawn(some: Members = members, k: int = 0) -> Tensor:
        found: Tensor = draw(some, c, torch.Generator().manual_seed(seed + k), draws=DRAWS)
        return found

    def form() -> tuple[bool, str]:
        found, wanted = drawn(), [CONDITIONS, DRAWS, 1]
        if not isinstance(found, Tensor):
            return False, f"a {type(found).__name__} in place of a tensor {wanted}"
        return list(found.shape) == wanted and bool(found.isfinite().all()), f"{list(found.shape)}"

    def repeats() -> tuple[bool, str]:
        first = drawn()
        same, other = torch.equal(drawn(), first), torch.equal(drawn(k=1), first)
        return same and not other, f"the same again: {same}, with another seed: {other}"

    def gap(found: Tensor, mean: float, std: float) -> tuple[float, float]:
        """How far mean and spread are off, in spreads."""
        y = found.double()
        return abs(float(y.mean()) - mean) / std, abs(float(y.std()) / std - 1)

    def order() -> tuple[bool, str]:
        here, there = drawn().double(), drawn(_backwards(members), 1).double()
        off = gap(there, float(here.mean()), float(here.std()))
        return max(off) < BIAS / 2, f"mean off by {off[0]:.3f}, spread by {off[1]:.3f} spreads"

    def aim() -> tuple[bool, str]:
        mean, precision = _product()
        off = gap(drawn(), mean, precision**-0.5)
        return max(off) < BIAS, f"mean off by {off[0]:.3f}, spread by {off[1]:.3f} spreads"

    return {
        "samples are finite and [conditions, draws, dy]": form,
        "the same seed gives the same samples, another one others": repeats,
        "the order of the members does not matter": order,
        "members of different processes are refused": lambda: refused(
            lambda: drawn(_mixed(members)), "a pair with 100 and 90 steps"
        ),
        "two Gaussians give their product": aim,
    }
