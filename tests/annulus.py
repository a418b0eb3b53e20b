"""Scenarios of one's own, as somebody would write them who has nothing but the package.

A ring in the plane around the condition, of which this home uses the half behind the condition.
And a shelf on the floor: its condition says where it stands in two numbers, its targets have three.
"""

import math
from dataclasses import dataclass

import torch

from dualdiff.experiments.scenarios import Scenario
from dualdiff.regions import Box, Region


@dataclass(frozen=True)
class Ring(Region):
    """Uniform between two circles, from angle 0 to ``turn``."""

    inner: float
    outer: float
    turn: float = 2 * math.pi
    rings: int = 4
    sectors: int = 8

    dim = 2

    @property
    def n_cells(self):
        return self.rings * self.sectors

    def _draw(self, n, generator):
        area, angle = torch.rand(2, n, generator=generator, device=generator.device)
        r = (self.inner**2 + (self.outer**2 - self.inner**2) * area).sqrt()
        return torch.stack([r * (self.turn * angle).cos(), r * (self.turn * angle).sin()], -1)

    def _polar(self, u):
        angle = torch.atan2(u[..., 1], u[..., 0])
        return u.norm(dim=-1), torch.where(angle < 0, angle + 2 * math.pi, angle)

    def _distance(self, u):
        r, angle = self._polar(u)
        beside = (self.inner - r).clamp(min=0) + (r - self.outer).clamp(min=0)
        edges = []
        for end in (0.0, self.turn):  # where the ring is cut
            along = u.new_tensor([math.cos(end), math.sin(end)])
            nearest = (u @ along).clamp(self.inner, self.outer)
            edges.append((u - nearest[..., None] * along).norm(dim=-1))
        return torch.where(angle <= self.turn, beside, torch.minimum(*edges))

    def _cells(self, u):
        r, angle = self._polar(u)
        area = (r**2 - self.inner**2) / (self.outer**2 - self.inner**2)
        ring = (area * self.rings).long().clamp(0, self.rings - 1)
        sector = (angle / self.turn * self.sectors).long().clamp(0, self.sectors - 1)
        return ring * self.sectors + sector


def annulus():
    """The ring, and its half."""
    return Scenario(
        "annulus", Ring(1.0, 2.0), Ring(1.0, 2.0, turn=math.pi), (-3.0, -3.0), (3.0, 3.0)
    )


class Standing(Box):
    """A box on the floor: the condition has no height."""

    dc = 2

    def anchor(self, c):
        return torch.cat([c, torch.zeros_like(c[..., :1])], -1)


def shelf():
    """The shelf, and one corner of it."""
    return Scenario(
        "shelf",
        Standing((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
        Standing((-1.0, -1.0, 0.0), (0.0, 0.0, 0.5)),
        (-3.0, -3.0),
        (3.0, 3.0),
    )
