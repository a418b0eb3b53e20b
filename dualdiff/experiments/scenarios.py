"""The synthetic scenarios: a general and a specialised law, and how conditions are drawn."""

import inspect
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import torch
from torch import Tensor

from dualdiff.experiments.definitions import digest, ours, own
from dualdiff.experiments.profiles import BOOK, SCENARIOS, maker_of
from dualdiff.regions import Box, Disc, Region, count, ordered, point, uniform

__all__ = ["BOOK", "SCENARIOS", "Scenario", "cabinet", "law", "make_scenario", "round_table"]


def law(region: Region) -> dict[str, Any]:
    """A region as JSON: its fields, or its definition if it or a part of it is the user's own."""
    kind = {"type": type(region).__name__}
    if is_dataclass(region) and ours(region, *getattr(region, "__dict__", {}).values()):
        return {**kind, **asdict(region)}
    return {**kind, "definition": digest(region)}


def _plain(region: Region) -> dict[str, Any]:
    """What training rows depend on: a region of ours without its tolerance and its cells."""
    evaluation = ("height_tolerance", "divisions", "rings", "sectors")
    return {name: value for name, value in law(region).items() if name not in evaluation}


@dataclass(frozen=True)
class Scenario:
    """A general and a specialised law of targets under one uniform law of conditions.

    Parameters
    ----------
    name : str
    general, specialised : Region
    condition_low, condition_high : tuple of float
        Corners of the box of conditions.

    Raises
    ------
    ValueError
        Corners not finite or not in order, regions of another dimension.
    """

    name: str
    general: Region
    specialised: Region
    condition_low: tuple[float, ...] = (-4.0, -4.0, 0.0)
    condition_high: tuple[float, ...] = (6.0, 6.0, 3.0)

    def __post_init__(self) -> None:
        for corner in ("condition_low", "condition_high"):
            value = point(corner, getattr(self, corner), self.general.dc)
            object.__setattr__(self, corner, value)
        ordered("condition_low", self.condition_low, "condition_high", self.condition_high)
        for size, what in (("dim", "dimensions"), ("dc", "numbers in a condition")):
            wanted, found = getattr(self.general, size), getattr(self.specialised, size)
            if found != wanted:
                raise ValueError(
                    f"specialised must have the {wanted} {what} of general, got {found}"
                )

    def region(self, which: str) -> Region:
        """The 'general' or the 'specialised' region; another name raises ValueError."""
        if which not in ("general", "specialised"):
            raise ValueError(f"which must be 'general' or 'specialised', got {which!r}")
        return self.general if which == "general" else self.specialised

    def conditions(
        self, n: int, generator: torch.Generator, device: str | torch.device = "cpu"
    ) -> Tensor:
        """n uniform conditions, float32 [n, dc]."""
        count("n", n)
        return uniform(n, self.condition_low, self.condition_high, generator).to(device)

    def pairs(
        self,
        which: str,
        n: int,
        generator: torch.Generator,
        device: str | torch.device = "cpu",
    ) -> tuple[Tensor, Tensor]:
        """n training pairs (y, c) of the 'general' or 'specialised' law, float32."""
        region = self.region(which)
        c = self.conditions(n, generator, device)
        return region.draw(c, generator), c

    @property
    def roots(self) -> tuple[type, ...]:
        """Classes whose code decides the pairs."""
        return type(self.general), type(self.specialised)

    def described(self, which: str) -> dict[str, Any]:
        """What the pairs depend on, as JSON: the law, the corners of the conditions, code of the
        user's own."""
        corners = [self.condition_low, self.condition_high]
        return {which: _plain(self.region(which)), "conditions": corners, **own(self)}


def cabinet() -> Scenario:
    """The cabinet: a box around the condition, of which the home uses one eighth."""
    return Scenario(
        "cabinet",
        general=Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
        specialised=Box((-1.0, -1.0, 0.0), (0.0, 0.0, 0.5)),
    )


def round_table(height_tolerance: float = 0.25) -> Scenario:
    """The round table: a disc 10 above the condition, of which the home uses the middle ninth."""
    return Scenario(
        "round_table",
        general=Disc(3.0, height_tolerance=height_tolerance),
        specialised=Disc(1.0, height_tolerance=height_tolerance),
    )


def make_scenario(name: str, **options: float) -> Scenario:
    """Build a scenario by its name, of :func:`dualdiff.experiments.profiles.scenarios`.

    Raises
    ------
    ValueError
        For an unknown name or option, and if what the name stands for cannot be loaded.
    """
    make = maker_of(name)
    taken = list(inspect.signature(make).parameters)
    for option in options:
        if option not in taken:
            raise ValueError(
                f"scenario {name!r} has no option {option!r}; it takes {', '.join(taken) or 'none'}"
            )
    found: Scenario = make(**options)
    return found
