"""Worlds of several homes: their laws, the order of arrivals, what models are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dualdiff.experiments.members import Rows
from dualdiff.experiments.scenarios import Scenario
from dualdiff.randomness import stream
from dualdiff.regions import Box, Region


@dataclass(frozen=True)
class Homes:
    """Homes in one world, and the order in which they are lived in.

    Parameters
    ----------
    name : str
    general : Region
        The law of the large set.
    homes : tuple of (str, Region)
        Distinct names.
    order : tuple of str
        Arrivals; a name that comes again is a return, with fresh pairs.
    known : bool
        Whether the models are told the home: their targets are then in the frame of the object,
        ``y - c``, and the condition is a one at the home's place among zeros. General rows carry
        every home or none in turn, since before anything is known of it its law is the general one.
    condition_low, condition_high : tuple of float
        Corners of the box of conditions of the world.

    Raises
    ------
    ValueError
        For no home or arrival, a name that is there twice or not at all, and what
        :class:`~dualdiff.experiments.scenarios.Scenario` refuses.
    """

    name: str
    general: Region
    homes: tuple[tuple[str, Region], ...]
    order: tuple[str, ...]
    known: bool = False
    condition_low: tuple[float, ...] = Scenario.condition_low
    condition_high: tuple[float, ...] = Scenario.condition_high

    def __post_init__(self) -> None:
        if not self.homes or not self.order:
            raise ValueError(
                f"homes and order must have at least one home, not {len(self.homes)} and "
                f"{len(self.order)}"
            )
        names = [name for name, _ in self.homes]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two homes are called {name!r}; a return belongs in order")
        for name in self.order:
            if name not in names:
                raise ValueError(f"order has {name!r}, but the homes are {', '.join(names)}")
        for name in names:
            self.scenario(name)  # raises where it does not fit

    def scenario(self, home: str) -> Scenario:
        """A home as the scenario of the other chapters."""
        corners = self.condition_low, self.condition_high
        return Scenario(f"{self.name}, {home}", self.general, dict(self.homes)[home], *corners)

    def code(self, home: str | None, n: int) -> Tensor:
        """The condition that tells a home, or none, ``[n, homes]``."""
        code = torch.zeros(n, len(self.homes))
        if home is not None:
            code[:, [name for name, _ in self.homes].index(home)] = 1
        return code

    def seen(self, arrivals: int) -> list[str]:
        """The different homes of the first arrivals, in order."""
        return [*dict.fromkeys(self.order[:arrivals])]

    def shown(self, y: Tensor, c: Tensor, home: str | None) -> Rows:
        """Pairs of the world as the models see them."""
        return (y - c, self.code(home, len(c))) if self.known else (y, c)

    def general_shown(self, y: Tensor, c: Tensor, arrivals: int) -> Rows:
        """General pairs as the models see them when some homes have a law of their own."""
        if not self.known:
            return y, c
        free = [name for name, _ in self.homes if name not in self.seen(arrivals)]
        codes = torch.cat([self.code(home, 1) for home in (None, *free)])
        return y - c, codes[torch.arange(len(y)) % len(codes)]


def cabinets(
    overlap: float = 0.5,
    distance: float = 3.0,
    order: Sequence[str] = ("corner", "beside", "opposite", "far", "above", "corner"),
    known: bool = False,
) -> Homes:
    """Five homes of the cabinet, each an eighth of the general box or of that volume.

    ``corner`` is the cabinet's own; ``beside`` shares a fraction ``overlap`` of it; ``opposite``
    and ``above`` are disjoint from both; ``far`` has its near corner ``distance`` from the general
    box in two coordinates, where no general row is.

    Raises
    ------
    ValueError
        For an overlap outside [0, 1], a distance that is negative or not finite, and an order that
        :class:`Homes` refuses.
    """
    if not 0 <= overlap <= 1:
        raise ValueError(f"overlap must be from 0 to 1, not {overlap}")
    if not 0 <= distance < float("inf"):
        raise ValueError(f"distance must be at least 0 and finite, not {distance}")
    shift, far = 1 - overlap, 1 + distance
    homes = (
        ("corner", Box((-1.0, -1.0, 0.0), (0.0, 0.0, 0.5))),
        ("beside", Box((-1.0 + shift, -1.0, 0.0), (shift, 0.0, 0.5))),
        ("opposite", Box((0.0, 0.0, 0.5), (1.0, 1.0, 1.0))),
        ("far", Box((far, far, 0.0), (far + 1, far + 1, 0.5))),
        ("above", Box((-1.0, 0.0, 0.5), (0.0, 1.0, 1.0))),
    )
    name = f"cabinets, {'known' if known else 'unknown'}"
    return Homes(name, Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)), homes, tuple(order), known)


@dataclass(frozen=True)
class Arrival:
    """One arrival, from 0, as what networks are trained on (a
    :class:`~dualdiff.experiments.members.Source`)."""

    world: Homes
    number: int = 0

    @property
    def home(self) -> str:
        """Name of the home."""
        return self.world.order[self.number]

    @property
    def name(self) -> str:
        """What progress bars call it."""
        return f"{self.world.name}, {self.home}"

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the rows; the first unknown home is just a scenario."""
        plain = self.world.scenario(self.home).roots
        return (*plain, Arrival) if self.world.known or self.number else plain

    def pairs(self, which: str, n: int, generator: torch.Generator) -> Rows:
        """Rows of the 'general' law or, fresh for every arrival, of the home's."""
        if which == "specialised" and self.number:
            generator = stream(generator.initial_seed(), "arrival", self.number)
        y, c = self.world.scenario(self.home).pairs(which, n, generator)
        if which == "general":
            return self.world.general_shown(y, c, 0)
        return self.world.shown(y, c, self.home)

    def described(self, which: str) -> dict[str, Any]:
        """What these rows depend on, as JSON."""
        world = self.world
        found = world.scenario(self.home).described(which)
        if world.known:
            found["codes"] = len(world.homes)
        if which == "specialised" and (world.known or self.number):
            place = world.code(self.home, 1).argmax() if world.known else None
            found |= {"home": place if place is None else int(place), "arrival": self.number}
        return found
