"""The region that two discs share, and how large it is."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dualdiff.regions import ATOL, Disc, Region, count, to_bin, uniform


@dataclass(frozen=True)
class Lens(Region):
    r"""The intersection of two flat discs of the same height, at that height and tolerance.

    Along the line of the centres it has half-width :math:`h(a) = \min(h_1(a), h_2(a))`, so with
    :math:`F(a) = \int^a h / \int h` the pair :math:`(F(a),\, \tfrac12 (1 + b / h(a)))` is uniform
    on the unit square: a grid there gives cells of equal mass, and its inverse draws.

    Parameters
    ----------
    first, second : Disc
    divisions : int
        Cells along the line of the centres, and across.

    Raises
    ------
    ValueError
        If the discs lie at different heights or have no area in common.
    """

    first: Disc
    second: Disc
    divisions: int = 6

    def __post_init__(self) -> None:
        count("divisions", self.divisions)
        one, two = self.first, self.second
        if (one.height, one.height_tolerance) != (two.height, two.height_tolerance):
            raise ValueError(f"the discs must have one height and tolerance, got {one} and {two}")
        if lens_area(one.radius, two.radius, self._gap) <= 0:
            raise ValueError(f"the discs have no area in common: {one} and {two}")

    @property
    def dim(self) -> int:
        return 3

    @property
    def n_cells(self) -> int:
        return self.divisions**2

    @property
    def _gap(self) -> float:
        """Distance of the centres."""
        return math.dist(self.first.centre, self.second.centre)

    @property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """First centre [2]; rows [2, 2]: unit vectors along the centres and across, float64."""
        start = torch.tensor(self.first.centre, dtype=torch.float64)
        step = torch.tensor(self.second.centre, dtype=torch.float64) - start
        along = step / self._gap if self._gap > 0 else torch.tensor([1.0, 0.0]).double()
        return start, torch.stack([along, torch.stack([-along[1], along[0]])])

    def _half_width(self, a: Tensor) -> Tensor:
        one = self.first.radius**2 - a**2
        two = self.second.radius**2 - (a - self._gap) ** 2
        return torch.minimum(one, two).clamp(min=0).sqrt()

    @cached_property
    def _profile(self) -> tuple[np.ndarray, np.ndarray]:
        """Places along the axis and the mass F up to them; dense at both ends, where h is steep."""
        low = max(-self.first.radius, self._gap - self.second.radius)
        high = min(self.first.radius, self._gap + self.second.radius)
        turn = torch.linspace(0, math.pi, 8193, dtype=torch.float64)
        a = (low + high) / 2 - (high - low) / 2 * turn.cos()
        mass = torch.cumulative_trapezoid(self._half_width(a) * turn.sin(), turn)
        return a.numpy(), np.concatenate([[0.0], (mass / mass[-1]).numpy()])

    @property
    def middle(self) -> tuple[float, ...]:
        a, mass = self._profile
        start, axes = self._axes
        centre = start + axes[0] * float(np.trapezoid(1 - mass, a) + a[0])  # E a = a_0 + int 1 - F
        return (*centre.tolist(), self.first.height)

    @property
    def slack(self) -> tuple[float, ...]:
        return self.first.slack

    def frame(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        (rim,), height = self.outlines(), self.first.height
        return (*rim.amin(0).tolist(), height), (*rim.amax(0).tolist(), height)

    def outlines(self, axes: tuple[int, int] = (0, 1)) -> list[Tensor]:
        if axes != (0, 1):
            return [torch.tensor([[end[k] for k in axes] for end in self.frame()]).double()]
        start, turn = self._axes
        a = torch.from_numpy(self._profile[0][::64])
        half = torch.stack([a, -self._half_width(a)], -1)
        other = half[1:-1].flip(0) * half.new_tensor([1, -1])
        return [start + torch.cat([half, other]) @ turn]

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        unit = uniform(n, (0.0, -1.0), (1.0, 1.0), generator).double().cpu()
        places, mass = self._profile
        a = torch.from_numpy(np.interp(unit[:, 0].numpy(), mass, places))
        b = unit[:, 1] * self._half_width(a)
        start, axes = self._axes
        planar = start + torch.stack([a, b], -1) @ axes
        height = torch.full((n, 1), self.first.height, dtype=torch.float64)
        return torch.cat([planar, height], -1).float().to(generator.device)

    def _along(self, u: Tensor) -> Tensor:
        """Planar offsets in the axes of the lens, float64 [..., 2]."""
        start, axes = (x.to(u.device) for x in self._axes)
        return (u[..., :2].double() - start) @ axes.T

    def _distance(self, u: Tensor) -> Tensor:
        x = self._along(u)
        gap, radii = self._gap, (self.first.radius, self.second.radius)
        centres = [x.new_tensor([0.0, 0.0]), x.new_tensor([gap, 0.0])]
        # Nearest point of the first disc, of the second, or one of the two corners.
        nearest = []
        for centre, radius in zip(centres, radii, strict=True):
            away = x - centre
            length = torch.linalg.vector_norm(away, dim=-1, keepdim=True)
            nearest.append(centre + away * (radius / length.clamp(min=radius)))
        if abs(radii[0] - radii[1]) < gap:
            a = (gap**2 + radii[0] ** 2 - radii[1] ** 2) / (2 * gap)
            corner = x.new_tensor([a, math.sqrt(max(radii[0] ** 2 - a**2, 0.0))])
            nearest += [corner.expand_as(x), (corner * corner.new_tensor([1, -1])).expand_as(x)]
        best = torch.full_like(x[..., 0], math.inf)
        for point in nearest:
            reach = [torch.linalg.vector_norm(point - centre, dim=-1) for centre in centres]
            inside = (reach[0] <= radii[0] + ATOL) & (reach[1] <= radii[1] + ATOL)
            far = torch.linalg.vector_norm(x - point, dim=-1)
            best = torch.where(inside, torch.minimum(best, far), best)
        above = (u[..., 2] - self.first.height).abs() - self.first.height_tolerance
        return torch.hypot(best.to(u), above.clamp(min=0))

    def _cells(self, u: Tensor) -> Tensor:
        a, b = self._along(u).unbind(-1)
        places, mass = self._profile
        share = torch.from_numpy(np.interp(a.cpu().numpy(), places, mass)).to(a.device)
        across = (1 + b / self._half_width(a).clamp(min=1e-12)) / 2
        return to_bin(share, self.divisions) * self.divisions + to_bin(across, self.divisions)


def lens_area(r: float, s: float, gap: float) -> float:
    r"""Area that two discs of radii r and s share when their centres are ``gap`` apart.

    .. math:: r^2 \arccos\frac{g^2 + r^2 - s^2}{2 g r} + s^2 \arccos\frac{g^2 + s^2 - r^2}{2 g s}
              - \tfrac12 \sqrt{(r+s-g)(g+r-s)(g-r+s)(g+r+s)}
    """
    if gap >= r + s:
        return 0.0
    if gap <= abs(r - s):
        return math.pi * min(r, s) ** 2
    first = r**2 * math.acos((gap**2 + r**2 - s**2) / (2 * gap * r))
    second = s**2 * math.acos((gap**2 + s**2 - r**2) / (2 * gap * s))
    kite = (r + s - gap) * (gap + r - s) * (gap - r + s) * (gap + r + s)
    return first + second - math.sqrt(kite) / 2
