"""What is judged: ways to sample several members at once, all with the same number of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from dualdiff.checks.rules import Make, kind_of
from dualdiff.compose import common_process
from dualdiff.denoisers import Denoiser, Predict
from dualdiff.experiments.aggregate import amdm, superdiff
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.rules import RULES
from dualdiff.judging.problems import Problem
from dualdiff.samplers import sample

BUDGET = 200
"""Calls of every member for a sample. A sum has 200 steps for them, whoever asks four times a step
has 50: the same noise in coarser steps."""
FEWEST = 25
"""Steps with which a way to sample is tried, to see what it asks."""
DRAWS = 50
Members = Mapping[str, Denoiser]
Draw = Callable[..., Tensor]
"""``(members, conditions, generator, *, draws)`` to samples ``[n, draws, dy]``."""


def _corrected(
    members: Members, c: Tensor, g: torch.Generator, *, draws: int, method: str
) -> Tensor:
    return METHODS[method].make(members)(c, g, draws=draws).samples


def _amdm(members: Members, c: Tensor, g: torch.Generator, *, draws: int) -> Tensor:
    """With the book's share of aggregated steps, the specialised model first."""
    first = sorted(members, key=lambda name: name != "specialised")
    steps = round(0.4 * common_process(members).steps)
    ordered = {name: members[name] for name in first}
    return amdm(ordered, c, g, draws=draws, aggregated=steps).samples


def _superdiff(members: Members, c: Tensor, g: torch.Generator, **how: Any) -> Tensor:
    return superdiff(members, c, g, **how).samples


def _rule(name: str) -> Draw:
    """A rule of the book that asks for the two members alone."""

    def make(members: Members) -> Denoiser:
        return RULES[name].make(members)

    return as_draw(make)


def as_draw(make: Make) -> Draw:
    """A rule as a way to sample, by the thesis's ancestral steps; a sampler as it is."""
    if kind_of(make) == "sampler":
        return make

    def draw(members: Members, c: Tensor, g: torch.Generator, *, draws: int) -> Tensor:
        return sample(make(dict(members)), c, g, draws=draws)

    return draw


CORRECTED = ("sum", "narrow", "smc", "rne", "ula", "mala", "hmc", "smc_mala")
"""Methods that sample the product of any number of members."""
ENTRIES: dict[str, Draw] = {
    **{name: partial(_corrected, method=name) for name in CORRECTED},
    "amdm": _amdm,
    "superdiff_and": partial(_superdiff, mode="and"),
    "superdiff_or": partial(_superdiff, mode="or"),
    **{name: _rule(name) for name in ("average", "light", "ramp", "concept")},
}
"""The built-in ones, with the settings of :data:`dualdiff.experiments.methods.METHODS`."""
ONLY_TWO = ("superdiff_and", "average", "light", "ramp", "concept")
"""Those that cannot take a third member."""


class Counted(Denoiser):
    """A member that counts the rows it is asked for."""

    def __init__(self, member: Denoiser, tally: list[int]) -> None:
        super().__init__()
        self.process, self.member, self.tally = member.process, member, tally

    def forward(self, y: Tensor, t: int | Tensor, c: Tensor) -> Tensor:
        self.tally[0] += len(y)
        found: Tensor = self.member(y, t, c)
        return found

    def _bind(self, c: Tensor) -> Predict:
        inner = self.member.bind(c)

        def predict(y: Tensor, t: int) -> Tensor:
            self.tally[0] += len(y)
            return inner(y, t)

        return predict


def calls_of(draw: Draw, problem: Problem, steps: int) -> float:
    """Calls of all members together for a sample, with so many steps."""
    tally = [0]
    members = {name: Counted(m, tally) for name, m in problem.members(steps).items()}
    source = torch.Generator().manual_seed(0)
    draw(members, problem.conditions(1, source), source, draws=DRAWS)
    return tally[0] / DRAWS


@lru_cache
def affordable(draw: Draw, problem: Problem) -> tuple[int, float]:
    """The most steps within the budget, and the calls that they cost.

    Raises
    ------
    ValueError
        If it asks for more than the budget in the fewest steps, or asks no member at all.
    """
    allowed, steps = BUDGET * len(problem.laws), FEWEST
    calls = calls_of(draw, problem, steps)
    if not 0 < calls <= allowed:
        raise ValueError(
            f"a sample costs {calls:g} calls of the members in {FEWEST} steps on the problem "
            f"{problem.title!r}: it must be from 1 to {allowed}, so take fewer calls per step"
        )
    steps = int(steps * allowed / calls)
    while (calls := calls_of(draw, problem, steps)) > allowed:
        steps = min(steps - 1, int(steps * allowed / calls))
    return steps, calls
